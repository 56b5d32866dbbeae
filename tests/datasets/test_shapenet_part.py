"""ShapeNetPart's second layout (v0): the same shapes and parts as in the first, without normals, and never mixed up."""

import json

import numpy as np
import pytest

from point_layouts import write_shapenet_part
from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.datasets import shapenet_part

V0 = {"layout": "v0"}


@pytest.fixture
def both(tmp_path, settings_of):
    """The small set in both layouts, opened: (v0_normal, v0)."""
    opened = []
    for layout in ("v0_normal", "v0"):
        write_shapenet_part(tmp_path / layout, layout)
        opened.append(shapenet_part.build(settings_of("shapenet_part", layout=layout), tmp_path / layout))
    return opened


def test_both_layouts_hold_the_same_shapes_points_and_parts(both):
    normal, plain = both
    assert plain.ids == normal.ids and len(plain.ids) == 6
    for shape_id in plain.ids:
        first, second = normal.load_points(shape_id), plain.load_points(shape_id)
        np.testing.assert_array_equal(second.points, first.points)
        np.testing.assert_array_equal(second.part_label, first.part_label)
        assert second.part_label.dtype == np.int16 and second.normals is None
        told, other = plain.entry(shape_id), normal.entry(shape_id)
        assert (told.class_name, told.split) == (other.class_name, other.split)
    assert (normal.point_attributes, plain.point_attributes) == (("normals", "part_label"), ("part_label",))
    assert plain.entry("03001627/a1").source_path == "03001627/points/a1.pts"
    assert plain.source.endswith("v0") and normal.source.endswith("v0_normal")


def test_parts_count_from_1_in_every_category(tmp_path, settings_of):
    """As the published table says: [synset, 1..parts] for all synsets in their order are the labels 0..49."""
    folder = write_shapenet_part(tmp_path, "v0")
    tokens, found = {}, []
    for synset, parts in shapenet_part.CATEGORIES.values():
        for name in ("points", "points_label"):
            (folder / synset / name).mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / synset / "points" / "x.pts", np.arange(parts * 3).reshape(parts, 3))
        np.savetxt(folder / synset / "points_label" / "x.seg", np.arange(parts) + 1, fmt="%d")
        tokens[synset] = f"shape_data/{synset}/x"
    path = folder / "train_test_split" / "shuffled_train_file_list.json"
    path.write_text(json.dumps(list(tokens.values())))
    dataset = shapenet_part.build(settings_of("shapenet_part", **V0), tmp_path)
    for synset in sorted(tokens):
        found += dataset.load_points(f"{synset}/x").part_label.tolist()
    assert found == list(range(50))


def test_the_published_numbers_of_parts():
    published = [4, 2, 2, 4, 4, 3, 3, 2, 4, 2, 6, 2, 3, 3, 3, 3]
    names = [name.split("/")[0] for name in shapenet_part.PART_NAMES]
    assert [names.count(category) for category in shapenet_part.CATEGORIES] == published
    assert len(names) == 50 and list(shapenet_part.CATEGORIES) == sorted(set(names))


def test_the_published_numbers_of_shapes(tmp_path, settings_of):
    """14,007 train (with val) and 2,874 test shapes; no file of a shape is opened for that."""
    folder = write_shapenet_part(tmp_path, "v0")
    for split, count in (("train", 12137), ("val", 1870), ("test", 2874)):
        path = folder / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps([f"shape_data/03001627/{split}{number}" for number in range(count)]))
    dataset = shapenet_part.build(settings_of("shapenet_part", partial=False, trainval=True, **V0), tmp_path)
    splits = [dataset.entry(shape_id).split for shape_id in dataset.ids]
    assert (splits.count("train"), splits.count("test"), len(splits)) == (14007, 2874, 16881)


def test_the_protocol_names_the_layout(settings_of):
    names = {layout: settings_of("shapenet_part", layout=layout, partial=False) for layout in ("v0", "v0_normal")}
    assert names["v0"].required_protocol() == "shapenetpart/v0-random2048"
    assert names["v0_normal"].required_protocol() == "shapenetpart/v0-normal-random2048"


@pytest.mark.parametrize(("said", "there"), [("v0", "v0_normal"), ("v0_normal", "v0")])
@pytest.mark.parametrize("unpacked", ["below", "itself"])
def test_the_other_layout_is_an_error_that_names_both(said, there, unpacked, tmp_path, settings_of):
    folder = write_shapenet_part(tmp_path, there)
    settings, place = settings_of("shapenet_part", layout=said), tmp_path if unpacked == "below" else folder
    for call in (shapenet_part.list_ids, shapenet_part.build):
        with pytest.raises(ArtifactError, match=rf"are of layout {there} .* says layout {said} .*`layout: {there}`"):
            call(settings, place)
    assert len(shapenet_part.list_ids(settings_of("shapenet_part", layout=there), place)) == 6


def test_two_archives_in_one_folder_are_told_apart(tmp_path, settings_of):
    for layout in ("v0", "v0_normal"):
        write_shapenet_part(tmp_path, layout)
    for layout in ("v0", "v0_normal"):
        dataset = shapenet_part.build(settings_of("shapenet_part", layout=layout), tmp_path)
        assert (dataset.load_points("03001627/a1").normals is None) == (layout == "v0")


def test_files_that_decide_a_rerun_are_points_and_parts(tmp_path, settings_of):
    write_shapenet_part(tmp_path, "v0")
    names = settings_of("shapenet_part", **V0).source_files(["03001627/a1"])
    there = sorted(name for name in names if (tmp_path / name).is_file())
    folder = "shapenetcore_partanno_segmentation_benchmark_v0/03001627"
    assert there == [f"{folder}/points/a1.pts", f"{folder}/points_label/a1.seg"]


def test_a_part_of_the_set_must_say_so(tmp_path, settings_of):
    write_shapenet_part(tmp_path, "v0")
    with pytest.raises(ArtifactError, match=r"3 train \(official 12137\).*1870.*2874.*not checked.*partial: true"):
        shapenet_part.list_ids(settings_of("shapenet_part", partial=False, **V0), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("points_label/a1.seg", "0\n" * 100, r"a1\.seg: a part label is none of Chair's, 1 to 4"),
        ("points_label/a1.seg", "1\n" * 99 + "5\n", "1 to 4"),
        ("points_label/a1.seg", "1\n" * 99 + "2.5\n", "1 to 4"),
        ("points_label/a1.seg", "1\n" * 99 + "nan\n", "1 to 4"),
        ("points_label/a1.seg", "1\n" * 99, "99 part labels of 100 points"),
        ("points_label/a1.seg", "1 1\n" * 100, "lines have 2 numbers, must have 1"),
        ("points_label/a1.seg", "", "empty"),
        ("points_label/a1.seg", "one\n", "not a table of numbers"),
        ("points_label/a1.seg", None, "cannot be read"),
        ("points/a1.pts", "0 0 0 1\n" * 100, "lines have 4 numbers, must have 3"),
        ("points/a1.pts", "<html>\n", "not a table of numbers"),
        ("points/a1.pts", None, "cannot be read"),
    ],
)
def test_a_damaged_file_says_why(name, content, reason, tmp_path, settings_of):
    path = write_shapenet_part(tmp_path, "v0") / "03001627" / name
    path.unlink() if content is None else path.write_text(content)
    dataset = shapenet_part.build(settings_of("shapenet_part", **V0), tmp_path)
    with pytest.raises(UnusableShapeError, match=reason):
        dataset.load_points("03001627/a1")
