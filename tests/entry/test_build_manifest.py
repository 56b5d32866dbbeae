"""build_manifest: every shape in order, unusable ones listed, too many of them stop the run."""

from argparse import Namespace

import pytest

import build_manifest
import prepare_meshes
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.manifest import open_test_split, read_quarantine

TETRAHEDRON = "OFF\n4 4 0\n0 0 0\n2 0 0\n0 4 0\n0 0 6\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"
IDS = [f"{name}/{split}/{index}.off" for name in ("box", "cone") for split in ("test", "train") for index in range(2)]


@pytest.fixture
def shards(tmp_path):
    for shape_id in IDS:
        path = tmp_path / "raw" / shape_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TETRAHEDRON if shape_id != "box/train/1.off" else "OFF\n")
    paths = []
    for index in range(2):
        paths.append(tmp_path / f"{index:04d}.safetensors")
        settings = {"block": block(), "ids": IDS[4 * index : 4 * index + 4]}
        prepare_meshes.main(Namespace(settings=settings, folder=tmp_path / "raw", output=paths[-1]))
    return paths


def block(**changes):
    return {"kind": "folder", "protocol": "test/one", "folder": "raw", "val_share": 0.0, **changes}


def build(tmp_path, shards, **changes):
    output, quarantine = tmp_path / "made" / "boxes.csv", tmp_path / "made" / "boxes.quarantine.csv"
    arguments = Namespace(settings={"block": block(**changes)}, shards=shards, output=output, quarantine=quarantine)
    build_manifest.main(arguments)
    return open_test_split(output), read_quarantine(quarantine)


def test_every_shape_is_listed_in_order(tmp_path, shards):
    rows, quarantine = build(tmp_path, shards, max_quarantined=0.2)
    assert rows["shape_id"].tolist() == IDS
    assert rows["label"].tolist() == [0] * 4 + [1] * 4
    assert rows["class_name"].tolist() == ["box"] * 4 + ["cone"] * 4
    assert rows["split"].tolist() == ["test", "test", "train", "train"] * 2
    assert rows["shard"].tolist() == ["0000"] * 4 + ["0001"] * 4
    assert rows["source_path"].tolist() == IDS
    assert rows["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert quarantine.values.tolist() == [["box/train/1.off", "prepare_meshes", quarantine["reason"][0]]]
    assert "counts" in quarantine["reason"][0]


def test_unlabelled_shapes_have_label_minus_one(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.off").write_text(TETRAHEDRON)
    settings = {"block": block(layout="flat"), "ids": ["a.off"]}
    prepare_meshes.main(Namespace(settings=settings, folder=tmp_path / "raw", output=tmp_path / "0000.safetensors"))
    rows, quarantine = build(tmp_path, [tmp_path / "0000.safetensors"], layout="flat")
    assert rows["label"].tolist() == [-1] and rows["class_name"].tolist() == [""]
    assert quarantine.empty


def test_too_many_unusable_shapes_stop_the_run_and_say_why(tmp_path, shards):
    with pytest.raises(PointliftError, match=r"boxes: 1 of 8 .*0\.1 .*box/train/1\.off: .*max_quarantined"):
        build(tmp_path, shards, max_quarantined=0.1)
    assert not (tmp_path / "made" / "boxes.csv").exists()
    assert len(read_quarantine(tmp_path / "made" / "boxes.quarantine.csv")) == 1


def test_the_limit_itself_is_allowed(tmp_path, shards):
    rows, _ = build(tmp_path, shards, max_quarantined=0.125)
    assert len(rows) == 8
