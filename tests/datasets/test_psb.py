import collections
import tarfile

import layouts
import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.datasets import psb

ARCHIVE = "princeton_shape_benchmark_1809_off.tar.xz"


def opened(root, **changes):
    return psb.build(psb.Settings(kind="psb", protocol="psb/own", **changes), root)


@pytest.fixture
def root(tmp_path):
    layouts.write_psb(tmp_path)
    return tmp_path


def test_a_label_needs_a_class_in_both_halves(root):
    dataset = opened(root, val_share=0.0)
    assert dataset.class_names == ("head", "vase")
    entries = {shape_id: dataset.entry(shape_id) for shape_id in dataset.ids[:9]}
    assert (entries["m0"].class_name, entries["m0"].split) == ("vase", "train")
    assert (entries["m4"].class_name, entries["m8"].class_name) == ("only", "alone")
    assert [entries[f"m{k}"].split for k in range(9)] == ["train"] * 5 + ["test"] * 4


def test_a_level_takes_the_classes_that_high_in_the_tree(root):
    (root / "psb" / "train.cla").write_text(
        "PSB 1\n4 4\n\nthing 0 1\n0\n\nbox thing 1\n1\n\ncrate box 1\n2\n\nbeast 0 1\n3\n"
    )
    (root / "psb" / "test.cla").write_text("PSB 1\n3 2\n\nthing 0 0\n\nbox thing 1\n5\n\ncarton box 1\n6\n")
    for level, shared, first in (
        (None, ("box",), ["thing", "box", "crate", "beast"]),
        (1, ("thing",), ["thing", "thing", "thing", "beast"]),
        (2, ("thing/box",), ["thing", "thing/box", "thing/box", "beast"]),
        (3, ("thing/box",), ["thing", "thing/box", "thing/box/crate", "beast"]),
    ):
        dataset = opened(root, level=level)
        assert dataset.class_names == shared
        assert [dataset.entry(f"m{number}").class_name for number in range(4)] == first


def test_the_protocol_says_which_classes():
    told = {"psb/leaf": {}, "psb/level1": {"level": 1}, "psb/unlabelled": {"unlabelled": True}}
    for name, changes in told.items():
        assert psb.Settings(kind="psb", **changes).required_protocol() == name


def test_unlabelled_has_no_class_and_no_test(root):
    dataset = opened(root, unlabelled=True, val_share=0.2)
    entries = [dataset.entry(shape_id) for shape_id in dataset.ids]
    assert dataset.class_names == () and {entry.class_name for entry in entries} == {""}
    counts = collections.Counter(entry.split for entry in entries)
    assert set(counts) == {"train", "val"} and 280 < counts["val"] < 450


def test_y_comes_up(root):
    vertices = opened(root).load("m0").vertices
    np.testing.assert_allclose(np.ptp(vertices, axis=0), [1.0, 3.0, 2.0])


def test_a_shape_that_is_not_there_is_its_own_problem(root):
    with pytest.raises(UnusableShapeError, match="cannot be read"):
        opened(root).load("m1000")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PSB 1\n",
        "OFF\n1 2 3",
        "PSB 1\n1 5\nvase 0 2\n1 2\n",
        "PSB 1\n1 2\nvase 0 two\n",
        "PSB 1\n1 1\nvase thing 1\n1\n",
        "PSB 1\n2 2\nvase 0 1\n1\nvase 0 1\n2\n",
    ],
)
def test_a_damaged_class_file_is_told(tmp_path, text):
    (tmp_path / "train.cla").write_text(text)
    with pytest.raises(ArtifactError, match="class file"):
        psb.read_classes(tmp_path / "train.cla")


@pytest.mark.realdata
def test_the_real_class_files(realdata):
    halves = [psb.read_classes(realdata / "splits" / f"{split}.cla") for split in ("train", "test")]
    assert [len(half) for half in halves] == [907, 907]
    assert not set(halves[0]) & set(halves[1])
    assert len(set(halves[0].values()) & set(halves[1].values())) == 21
    assert halves[0]["m1298"] == ("aircraft", "airplane", "F117")
    assert {len(path) for half in halves for path in half.values()} == {1, 2, 3, 4}
    ids = set(psb.list_ids(psb.Settings(kind="psb", protocol="psb/own")))
    assert set(halves[0]) | set(halves[1]) == ids | {f"m{number}" for number in psb.MISSING - {762}}


@pytest.mark.realdata
def test_classes_and_shapes_of_every_level(realdata, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.cla").write_bytes((realdata / "splits" / f"{split}.cla").read_bytes())
    found = {}
    for level in (None, 1, 2):
        dataset = opened(tmp_path, level=level)
        counts = collections.Counter(dataset.entry(shape_id).class_name for shape_id in dataset.ids)
        found[level] = len(dataset.class_names), sum(counts[name] for name in dataset.class_names)
    assert found == {None: (21, 737), 1: (21, 1630), 2: (29, 1171)}  # as the key says


@pytest.mark.realdata
def test_the_real_archive_holds_exactly_these_ids(realdata):
    with tarfile.open(realdata / ARCHIVE) as archive:
        found = {name for name in archive.getnames() if name.endswith(".off")}
    ids = psb.list_ids(psb.Settings(kind="psb", protocol="psb/own"))
    assert found == {f"psb/{shape_id}.off" for shape_id in ids}
