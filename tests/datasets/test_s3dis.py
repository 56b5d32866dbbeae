"""S3DIS reads what its raw and its preprocessed layout hold, also where the published files are damaged."""

import logging
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import s3dis
from pointlift.graph import Graph
from scene_layouts import S3DIS_CLASSES, S3DIS_ROOMS, s3dis_room, write_s3dis, write_s3dis_arrays

CHAIR = "Area_1/office_2/Annotations/chair_1.txt"


@pytest.fixture
def opened(tmp_path, settings_of):
    """Open S3DIS below a fresh folder, made on the first call; its raw files lie in ``opened.folder``."""

    def opened(**changes):
        settings = settings_of("s3dis", **changes)
        write = write_s3dis_arrays if settings.format == "npy" else write_s3dis
        if not any(tmp_path.iterdir()):
            opened.folder = write(tmp_path)
        return s3dis.build(settings, tmp_path)

    return opened


def written(seed):
    """Points, colours, class names and object numbers of a room, in the order of its files."""
    made = s3dis_room(seed)
    names = [name.partition("_")[0] for name, points, _ in made for _ in points]
    numbers = [number for number, (_, points, _) in enumerate(made) for _ in points]
    return np.concatenate([points for _, points, _ in made]), np.concatenate([c for *_, c in made]), names, numbers


def test_every_object_comes_back_with_colour_class_and_number(opened):
    dataset = opened()
    assert dataset.ids == S3DIS_ROOMS
    assert dataset.point_attributes == ("colour", "semantic_label", "instance_label")
    assert list(dataset.semantic_names) == S3DIS_CLASSES
    for seed, shape_id in enumerate(dataset.ids):
        cloud, (points, colours, names, numbers) = dataset.load_points(shape_id), written(seed)
        np.testing.assert_array_equal(cloud.points, points)
        np.testing.assert_array_equal(cloud.colour, colours)
        assert cloud.colour.dtype == np.uint8 and cloud.semantic_label.dtype == np.int16
        told = [dataset.semantic_names[label] for label in cloud.semantic_label]
        assert told == [{"stairs": "clutter"}.get(name, name) for name in names]
        assert cloud.instance_label.tolist() == numbers


def test_arrays_come_back_and_are_the_raw_rooms_moved_to_their_corner(opened):
    dataset = opened(format="npy")
    assert dataset.ids == S3DIS_ROOMS and dataset.point_attributes == ("colour", "semantic_label")
    for seed, shape_id in enumerate(dataset.ids):
        cloud, (points, colours, names, _) = dataset.load_points(shape_id), written(seed)
        np.testing.assert_array_equal(cloud.points, points - points.min(axis=0))
        np.testing.assert_array_equal(cloud.colour, colours)
        told = [dataset.semantic_names[label] for label in cloud.semantic_label]
        assert told == [{"stairs": "clutter"}.get(name, name) for name in names]
        assert cloud.instance_label is None


def test_ignored_stairs_are_no_class_and_no_object(opened):
    cloud = opened(stairs="ignored").load_points("Area_1/office_2")
    *_, names, numbers = written(1)
    stairs = np.array(names) == "stairs"
    np.testing.assert_array_equal(cloud.semantic_label == -1, stairs)
    np.testing.assert_array_equal(cloud.instance_label == -1, stairs)
    assert cloud.instance_label[~stairs].tolist() == np.array(numbers)[~stairs].tolist()


def test_other_names_are_clutter_and_copies_are_left_out(opened, caplog):
    dataset = opened()
    content = (opened.folder / CHAIR).read_bytes()
    (opened.folder / CHAIR).with_name("wall_3 (1).txt").write_bytes(content)
    (opened.folder / CHAIR).with_name("window_seat_1.txt").write_bytes(content)
    (opened.folder / CHAIR).with_name("gate_1.txt").write_bytes(content)
    cloud = dataset.load_points("Area_1/office_2")
    counts = np.bincount(cloud.semantic_label, minlength=13)
    assert dict(zip(S3DIS_CLASSES, counts, strict=True)) == dict.fromkeys(S3DIS_CLASSES, 0) | {
        "ceiling": 60, "chair": 61 + 62, "clutter": 63 + 61, "window": 61,
    }  # fmt: skip
    assert "wall_3 (1).txt is left out: it is a copy" in caplog.text and "'gate' is none of the 13" in caplog.text


# ---- split and protocol ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", range(1, 7))
def test_one_area_is_test(area, opened):
    dataset = opened(test_area=area)
    splits = {shape_id: dataset.entry(shape_id).split for shape_id in dataset.ids}
    assert splits == {room: "test" if room.startswith(f"Area_{area}/") else "train" for room in S3DIS_ROOMS}


def test_val_is_a_share_of_the_other_rooms_by_their_id(opened):
    dataset = opened(val_share=0.5)
    splits = [dataset.entry(shape_id).split for shape_id in dataset.ids]
    assert splits[3:] == ["test", "test"] and "test" not in splits[:3]
    assert splits == [opened(val_share=0.5).entry(shape_id).split for shape_id in dataset.ids]
    assert {opened(val_share=0.999).entry(shape_id).split for shape_id in dataset.ids[:3]} == {"val"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "s3dis/txt-area5-all"),
        ({"format": "npy", "test_area": 3}, "s3dis/npy-area3-all"),
        ({"stairs": "ignored", "partial": True}, "s3dis/txt-area5-all-stairs-ignored-partial"),
        ({"repair": False}, "s3dis/txt-area5-all-unrepaired"),
        ({"aligned": False}, "s3dis/txt-unaligned-area5-all"),
        ({"keep_coordinates": False}, "s3dis/txt-area5-all-unit"),
        ({"subsample": "random", "num_points": 4096}, "s3dis/txt-area5-random4096"),
    ],
)
def test_the_protocol_names_what_makes_another_set(changes, name, settings_of):
    assert settings_of("s3dis", **{"partial": False, **changes}).required_protocol() == name


def test_arrays_have_no_choice_of_what_is_made_already(settings_of):
    for key, value in (("stairs", "ignored"), ("repair", False), ("aligned", False)):
        with pytest.raises(ConfigError, match=f"{key}: the arrays of format npy are made already"):
            settings_of("s3dis", format="npy", **{key: value})


def test_the_whole_set_has_272_rooms(tmp_path, settings_of):
    for area, count in s3dis.ROOMS.items():
        for number in range(count):
            (tmp_path / f"Area_{area}" / f"hallway_{number}" / "Annotations").mkdir(parents=True)
    whole = settings_of("s3dis", partial=False)
    assert len(s3dis.list_ids(whole, tmp_path)) == 272
    (tmp_path / "Area_5/hallway_6").rename(tmp_path / "kept")
    with pytest.raises(
        ArtifactError, match=r"271 rooms.*67 in area 5 \(official 68\).*recalled, not checked.*lacks Area_5/hallway_6"
    ):
        s3dis.list_ids(whole, tmp_path)
    (tmp_path / "kept").rename(tmp_path / "Area_5/hallway_6")
    (tmp_path / "Area_5/hallway_7").rename(tmp_path / "kept")
    with pytest.raises(ArtifactError, match="271 rooms") as caught:
        s3dis.list_ids(whole, tmp_path)
    assert "hallway_6" not in str(caught.value) and "partial: true" in str(caught.value)
    assert len(s3dis.list_ids(settings_of("s3dis"), tmp_path)) == 271


def test_the_set_that_is_not_aligned_is_told_by_its_files(opened, tmp_path):
    opened()
    opened.folder.rename(tmp_path / "Stanford3dDataset_v1.2")
    with pytest.raises(ArtifactError, match=r"rooms are aligned, for no file is called .*`aligned: true`"):
        opened(aligned=False)
    angles = tmp_path / "Stanford3dDataset_v1.2" / "Area_1" / "Area_1_alignmentAngle.txt"
    angles.write_text("## Global alignment angle per disjoint space in Area_1 ##\nhallway_1 180\n")
    assert opened(aligned=False).ids == S3DIS_ROOMS
    with pytest.raises(ArtifactError, match=r"holds no Area_\[1-6\]"):
        opened()
    (tmp_path / "Stanford3dDataset_v1.2").rename(opened.folder)
    with pytest.raises(ArtifactError, match=r"rooms are not aligned, for a file is called .*`aligned: false`"):
        opened()


# ---- damaged files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "right"),
    [  # three lines of the published files, as public projects report them, and a point
        (b"22.350 6.692 3.048 185\x00187 182", b"22.350 6.692 3.048 185 187 182"),
        (b"19.302 -9.1\x160 1.785 146 137 106", b"19.302 -9.160 1.785 146 137 106"),
        (b"0.577500 -12.407500 2.604000 167.\x1000000 175.000000 177.000000", b"0.5775 -12.4075 2.604 167 175 177"),
        (b"1\x0e5 2.5 3.5 1 2 3", b"1.5 2.5 3.5 1 2 3"),
    ],
)
def test_a_byte_that_lost_a_bit_is_read_as_what_it_was(line, right, opened, caplog):
    dataset = opened()
    lines = (opened.folder / CHAIR).read_bytes().splitlines()
    (opened.folder / CHAIR).write_bytes(b"\n".join([*lines[:30], right, *lines[30:]]) + b"\n")
    mended_by_hand = dataset.load_points("Area_1/office_2")
    assert not caplog.records
    (opened.folder / CHAIR).write_bytes(b"\n".join([*lines[:30], line, *lines[30:]]) + b"\n")
    found = dataset.load_points("Area_1/office_2")
    for name in ("points", "colour", "semantic_label", "instance_label"):
        np.testing.assert_array_equal(getattr(found, name), getattr(mended_by_hand, name))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search(r"Area_1/office_2/Annotations/chair_1\.txt, line 31: byte 0x\w\w is read as", record.getMessage())
    with pytest.raises(UnusableShapeError, match=r"chair_1\.txt, line 31: byte 0x.* `repair: true`"):
        opened(repair=False).load_points("Area_1/office_2")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1 2 3 4 5 6 7", r"chair_1\.txt: not a table of numbers \(line 31: "),
        (b"1 2 3 4 5", r"chair_1\.txt: not a table of numbers \(line 31: "),
        (b"1 2 3 4 5 \x01", r"chair_1\.txt: not a table of numbers \(line 31: "),
        (b"1 2 3 4\x0055 6 7", r"chair_1\.txt: not a table of numbers \(line 31: "),
        (b"1 2 3 \x10\x11\x12\x13\x14\x15\x16\x17\x18 5 6", r"line 31: .* more than 8 are damaged"),
        (b"1 2 3 " + b"\x00" * 100, r"line 31: .* more than 8 are damaged"),
        (b"1 2 3 4 5 256", r"chair_1\.txt: a colour is not within 0 to 255"),
        (b"1 2 3 4 5 -1", r"chair_1\.txt: a colour is not within 0 to 255"),
        (b"1 2 3 4 5 nan", r"chair_1\.txt: a colour is not within 0 to 255"),
        (b"1 2 3 4 5 0.5", r"chair_1\.txt: a colour is no whole number"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(line, reason, opened):
    dataset = opened()
    lines = (opened.folder / CHAIR).read_bytes().splitlines()
    (opened.folder / CHAIR).write_bytes(b"\n".join([*lines[:30], line, *lines[30:]]) + b"\n")
    with pytest.raises(UnusableShapeError, match=reason) as caught:
        dataset.load_points("Area_1/office_2")
    assert "\n" not in str(caught.value)


def test_a_room_without_its_files_says_so(opened):
    dataset = opened()
    (opened.folder / CHAIR).write_bytes(b"")
    with pytest.raises(UnusableShapeError, match=r"chair_1\.txt: the file is empty"):
        dataset.load_points("Area_1/office_2")
    (opened.folder / "Area_1/office_2/Annotations").rename(opened.folder / "kept")
    with pytest.raises(UnusableShapeError, match="Annotations of office_2: no such folder"):
        opened().load_points("Area_1/office_2")
    assert opened().entry("Area_1/office_2").sha256 == ""
    (opened.folder / "Area_1/office 2" / "Annotations").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="office 2: not called like a room"):
        opened()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.zeros((5, 6)), r"has the shape \(5, 6\), must be \(n, 7\)"),
        (np.zeros((5, 7), np.int64), "must be floats"),
        (np.array([[None] * 7]), "must be floats"),
        (np.full((5, 7), 13.0), "a label is no whole number from 0 to 12"),
        (np.full((5, 7), 0.5), "a label is no whole number"),
        (np.full((5, 7), np.nan), "a label is no whole number"),
        (np.array([[0.0, 0, 0, 0, 0, 256, 1]]), "a colour is not within 0 to 255"),
    ],
)
def test_an_array_of_something_else_says_what_it_is(table, reason, opened):
    dataset = opened(format="npy")
    np.save(opened.folder / "Area_1_office_2.npy", table, allow_pickle=True)
    with pytest.raises(UnusableShapeError, match=rf"Area_1_office_2\.npy: .*{reason}"):
        dataset.load_points("Area_1/office_2")


def test_any_bytes_are_a_room_or_a_reason(opened):
    dataset, rng, told = opened(), np.random.default_rng(2), 0
    content = (opened.folder / CHAIR).read_bytes()
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        (opened.folder / CHAIR).write_bytes(damaged)
        try:
            assert dataset.load_points("Area_1/office_2").points.shape[1] == 3
        except UnusableShapeError:
            told += 1
    assert told > 200


def test_a_folder_without_areas_says_what_is_wanted(tmp_path, settings_of):
    with pytest.raises(ArtifactError, match=r"holds no Area_\[1-6\], nor does Stanford3dDataset_v1\.2_Aligned_Version"):
        s3dis.list_ids(settings_of("s3dis"), tmp_path)
    write_s3dis(tmp_path)
    with pytest.raises(ArtifactError, match=r"holds no Area_\[1-6\]_\*\.npy, nor does stanford_indoor3d"):
        s3dis.list_ids(settings_of("s3dis", format="npy"), tmp_path)


# ---- cost ------------------------------------------------------------------------------------------------------------


def test_a_room_takes_a_few_times_its_size(opened):
    dataset, count = opened(), 100_000
    points = np.random.default_rng(0).random((count, 3)) * 30
    table = np.concatenate([points, np.full((count, 3), 128)], axis=1)
    np.savetxt(opened.folder / CHAIR, table, fmt="%.3f %.3f %.3f %d %d %d")
    tracemalloc.start()
    dataset.load_points("Area_1/office_2")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * (opened.folder / CHAIR).stat().st_size


def test_an_object_that_was_mended_is_read_again(tmp_path):
    values = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
    values["paths"] = {"data": str(tmp_path)}
    graph = Graph(read_config(values))
    for name, write in (("s3dis_area5", write_s3dis), ("s3dis_area5_npy", write_s3dis_arrays)):
        write(tmp_path / values["datasets"][name]["folder"])
    before = graph.file_sizes("s3dis_area5", S3DIS_ROOMS)
    assert sum(size > 0 for size in before) == len(S3DIS_ROOMS)
    place = tmp_path / "s3dis/Stanford3dDataset_v1.2_Aligned_Version" / CHAIR
    place.write_bytes(place.read_bytes() + b"1 2 3 4 5 6\n")
    after = graph.file_sizes("s3dis_area5", S3DIS_ROOMS)
    assert [later - sooner for sooner, later in zip(before, after, strict=True) if later != sooner] == [12]
    assert all(graph.file_sizes("s3dis_area5_npy", S3DIS_ROOMS)[len(S3DIS_ROOMS) :])
