"""ScanNet: what the preprocessing wrote comes back, rooms stay on one side of a split, every damage has its reason."""

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import scannet
from pointlift.geometry.clouds import check
from scene_layouts import SCANNET_LISTS, scannet_scan, write_scannet

#: The 20 classes of the benchmark in its own order, as its pages list them.
BENCHMARK = [
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "desk", "curtain", "refrigerator", "shower_curtain", "toilet", "sink", "bathtub", "otherfurniture",
]  # fmt: skip
IDS = ("scene0000_00", "scene0000_01", "scene0007_00", "scene0011_00", "scene0011_01")


@pytest.fixture
def scans(tmp_path, settings_of):
    """Write the layout; give the folder of its arrays and how to open it."""
    folder = write_scannet(tmp_path)

    def opened(**changes):
        return scannet.build(settings_of("scannet", **changes), tmp_path)

    return folder / "scannet_train_detection_data", opened


def test_classes_are_those_of_the_benchmark():
    assert list(scannet.ScanNet.semantic_names) == BENCHMARK
    assert list(scannet.ScanNet.box_names) == [*BENCHMARK[2:-1], "garbagebin"]
    assert list(scannet.BOX_CLASSES.values()) == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39]


@pytest.mark.parametrize(("number", "scan"), enumerate(IDS))
def test_a_scan_comes_back_as_it_was_written(number, scan, open_dataset):
    dataset = open_dataset("scannet")
    assert dataset.ids == IDS
    cloud, (vert, nyu40, instance, boxes) = dataset.load_points(scan), scannet_scan(number)
    np.testing.assert_array_equal(cloud.points, vert[:, :3])
    np.testing.assert_array_equal(cloud.colour, vert[:, 3:])
    np.testing.assert_array_equal(cloud.instance_label, instance.astype(int) - 1)
    named = {2: "floor", 1: "wall", 5: "chair", 39: "otherfurniture"}
    told = [dataset.semantic_names[label] if label >= 0 else None for label in cloud.semantic_label]
    assert told == [named.get(number) for number in nyu40.tolist()]
    np.testing.assert_array_equal(np.concatenate([cloud.boxes.centre, cloud.boxes.size], axis=1), boxes[:, :6])
    assert [dataset.box_names[label] for label in cloud.boxes.label] == ["chair", "garbagebin"]
    assert not cloud.boxes.heading.any()


def test_boxes_are_whole_and_hold_their_instance(open_dataset):
    cloud = check(open_dataset("scannet").load_points("scene0007_00"))
    for index, instance in enumerate((3, 4)):  # objects 4 and 5 of the file
        own = cloud.points[cloud.instance_label == instance]
        np.testing.assert_allclose(cloud.boxes.centre[index] - cloud.boxes.size[index] / 2, own.min(axis=0), atol=1e-6)
        np.testing.assert_allclose(cloud.boxes.centre[index] + cloud.boxes.size[index] / 2, own.max(axis=0), atol=1e-6)


def test_the_official_val_scans_are_the_test_split(open_dataset):
    dataset = open_dataset("scannet", val_share=0.0)
    assert [dataset.entry(scan).split for scan in IDS] == ["train"] * 3 + ["test"] * 2
    entry = dataset.entry(IDS[0])
    assert (entry.class_name, entry.source_path) == ("", "scannet_train_detection_data/scene0000_00_vert.npy")


def test_val_takes_whole_rooms_of_train_alone(tmp_path, settings_of):
    rooms = [f"scene{room:04d}" for room in range(200)]
    train = tuple(f"{room}_{scan:02d}" for room in rooms[:150] for scan in range(3))
    write_scannet(tmp_path, {"train": train, "val": tuple(f"{room}_00" for room in rooms[150:])}, skipped=train)
    dataset = scannet.build(settings_of("scannet", val_share=0.3), tmp_path)
    split_of = {scan: dataset.entry(scan).split for scan in dataset.ids}
    by_room = {room: {split for scan, split in split_of.items() if scan.startswith(room)} for room in rooms}
    assert all(len(splits) == 1 for splits in by_room.values())
    assert 25 < sum(splits == {"val"} for splits in by_room.values()) < 65  # 45 of 150 are expected
    assert {split_of[f"{room}_00"] for room in rooms[150:]} == {"test"}


def test_the_checksum_tells_each_of_the_four_files(scans):
    folder, opened = scans
    seen = {opened().entry("scene0000_00").sha256}
    for part in scannet.FILES:
        path = folder / f"scene0000_00_{part}.npy"
        np.save(path, np.load(path)[:-1])
        seen.add(opened().entry("scene0000_00").sha256)
    assert len(seen) == 5
    path.unlink()
    assert opened().entry("scene0000_00").sha256 == ""


@pytest.mark.parametrize(
    ("part", "array", "reason"),
    [
        ("vert", np.zeros((9, 4)), r"shape \(9, 4\), must be \(n, 3 or 6\)"),
        ("vert", np.zeros((0, 6)), r"shape \(0, 3\)"),
        ("vert", np.full((400, 6), np.nan), "a colour is not within 0 to 255"),
        ("vert", np.column_stack([np.full((400, 3), np.inf), np.zeros((400, 3))]), "400 points are not finite"),
        ("vert", np.random.default_rng(0).random((400, 6)), "no whole number"),
        ("vert", np.random.default_rng(0).random((400, 3)), "has no colours; if no file has, say `colour: false`"),
        ("vert", np.array([[None] * 6]), "type object"),
        ("vert", np.ones((400, 6), int), "type int64, must be floats"),
        ("sem_label", np.zeros(399, "u4"), r"semantic label of the shape \(399,\)"),
        ("sem_label", np.zeros((400, 1), "u4"), r"must be \(n,\)"),
        ("sem_label", np.zeros(400), "must be integers"),
        ("ins_label", np.zeros(401, "u4"), r"instance label of the shape \(401,\)"),
        ("ins_label", np.full(400, -1), "an instance is below 0"),
        ("ins_label", np.full(400, 1 << 40), "instance label: a value is not within"),
        ("bbox", np.zeros(7), r"must be \(n, 7\)"),
        ("bbox", np.zeros((2, 8)), r"must be \(n, 7\)"),
        ("bbox", np.array([[0, 0, 0, 1, 1, 1, 13.0]]), "class 13, which is none of the 18"),
        ("bbox", np.array([[0, 0, 0, 1, 1, 1, 5.5]]), "class 5.5"),
        ("bbox", np.array([[0, 0, 0, 1, 1, 1, np.nan]]), "class nan"),
        ("bbox", np.array([[0, 0, 0, 1, -1, 1, 5.0]]), "a box has no size"),
        ("bbox", np.array([[0, np.nan, 0, 1, 1, 1, 5.0]]), "not finite"),
    ],
)
def test_a_damaged_file_has_its_reason(part, array, reason, scans):
    folder, opened = scans
    np.save(folder / f"scene0000_00_{part}.npy", array, allow_pickle=True)
    with pytest.raises(UnusableShapeError, match=reason):
        check(opened().load_points("scene0000_00"))
    check(opened().load_points("scene0000_01"))  # no other scan is harmed


@pytest.mark.parametrize("part", scannet.FILES)
def test_a_missing_or_cut_file_is_named(part, scans):
    folder, opened = scans
    path = folder / f"scene0007_00_{part}.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UnusableShapeError, match=rf"scene0007_00_{part}\.npy: is damaged"):
        opened().load_points("scene0007_00")
    path.unlink()
    with pytest.raises(UnusableShapeError, match=rf"scene0007_00_{part}\.npy: cannot be read: No such file"):
        opened().load_points("scene0007_00")


def test_a_scan_may_have_no_box(scans):
    folder, opened = scans
    np.save(folder / "scene0000_00_bbox.npy", np.zeros((0, 7)))
    boxes = check(opened().load_points("scene0000_00")).boxes
    assert boxes.centre.shape == (0, 3) and boxes.label.shape == (0,)


def test_colours_may_be_left_out_or_absent(scans):
    folder, opened = scans
    path = folder / "scene0000_00_vert.npy"
    for columns in (6, 3):
        np.save(path, np.load(path)[:, :columns])
        dataset = opened(colour=False)
        assert "colour" not in dataset.point_attributes
        assert dataset.load_points("scene0000_00").colour is None


@pytest.mark.parametrize(
    ("split", "lines", "reason"),
    [
        ("val", ["scene0000_00"], "stands twice, here or in the other list"),
        ("train", ["scene0001_00", "scene0001_00"], "stands twice"),
        ("val", ["scene0007_01"], "a scan of a room that the other list holds"),
        ("train", ["scene1_00"], "is no scan's name"),
        ("train", ["../../etc/passwd"], "is no scan's name"),
        ("train", ["scene0001_00.txt"], "is no scan's name"),
    ],
)
def test_lists_that_leak_or_are_none_are_refused(split, lines, reason, tmp_path, settings_of):
    folder = write_scannet(tmp_path)
    (folder / "meta_data" / f"scannetv2_{split}.txt").write_text("\n".join(lines))
    with pytest.raises(ArtifactError, match=rf"scannetv2_(train|val)\.txt: .*{reason}"):
        scannet.list_ids(settings_of("scannet"), tmp_path)


def test_lists_are_needed_and_counted(tmp_path, settings_of):
    folder = write_scannet(tmp_path)
    with pytest.raises(
        ArtifactError, match=r"3 train \(official 1201\), 2 test \(official 312\).*not checked.*partial: true"
    ):
        scannet.list_ids(settings_of("scannet", partial=False), tmp_path)
    assert scannet.list_ids(settings_of("scannet"), folder) == IDS  # the inner folder will do
    for split in SCANNET_LISTS:
        (folder / "meta_data" / f"scannetv2_{split}.txt").write_text("\n")
    with pytest.raises(ArtifactError, match="name no scan"):
        scannet.list_ids(settings_of("scannet"), tmp_path)
    (folder / "meta_data" / "scannetv2_val.txt").unlink()
    with pytest.raises(ArtifactError, match=r"scannetv2_val\.txt: the list cannot be read"):
        scannet.list_ids(settings_of("scannet"), tmp_path)


def test_whole_lists_need_not_say_partial(tmp_path, settings_of):
    rooms = [f"scene{room:04d}_00" for room in range(1513)]
    write_scannet(tmp_path, {"train": tuple(rooms[:1201]), "val": tuple(rooms[1201:])}, skipped=rooms)
    settings = settings_of("scannet", partial=False)
    assert len(scannet.list_ids(settings, tmp_path)) == 1513
    assert settings.required_protocol() == "scannet/votenet18-all"


def test_the_protocol_says_what_is_taken(settings_of):
    settings = settings_of("scannet", subsample="random", num_points=40000, keep_coordinates=False)
    assert settings.required_protocol() == "scannet/votenet18-random40000-unit-partial"
    colourless = settings_of("scannet", colour=False, partial=False)
    assert colourless.required_protocol() == "scannet/votenet18-all-colourless"


def test_files_that_decide_a_rerun_are_those_that_are_read(raw_folders, settings_of, open_dataset):
    named = [raw_folders["scannet"] / name for name in settings_of("scannet").source_files(["scene0000_01"])]
    there = sorted(path.name for path in named if path.is_file())
    assert there == sorted(f"scene0000_01_{part}.npy" for part in scannet.FILES)
    with pytest.raises(ConfigError, match="no scan"):
        open_dataset("scannet").entry("scene0000_02")
