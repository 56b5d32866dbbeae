"""SUN RGB-D: what the preprocessing wrote comes back, boxes turned and whole, every damage has its reason."""

import zipfile

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import array_file, sunrgbd
from pointlift.geometry.clouds import check
from scene_layouts import sunrgbd_picture, write_sunrgbd

IDS = ("000001", "000002", "005051", "005052", "010335")


@pytest.fixture
def pictures(tmp_path, settings_of):
    """Write the layout; give the folder of the train pictures and how to open it."""
    folder = write_sunrgbd(tmp_path)

    def opened(**changes):
        return sunrgbd.build(settings_of("sunrgbd", **changes), tmp_path)

    return folder / "sunrgbd_pc_bbox_votes_50k_v1_train", opened


def corners_of_the_file(row):
    """Corners as the preprocessing means them, drawn on paper: half edges l along the box's x and w along its y; the
    box's x is the scene's x, led towards the scene's -y by the heading."""
    x, y, z, half_l, half_w, half_h, heading, _ = row
    along = np.array([np.cos(heading), -np.sin(heading), 0.0])
    across = np.array([np.sin(heading), np.cos(heading), 0.0])  # a quarter turn counterclockwise of it
    signs = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    return {
        tuple(np.round([x, y, z] + a * half_l * along + b * half_w * across + c * half_h * np.array([0, 0, 1.0]), 9))
        for a, b, c in signs
    }


def corners_of_ours(centre, size, heading):
    """Corners as the contract has them, in complex numbers: a left turn is a product with exp(i heading)."""
    found = set()
    for x in (-0.5, 0.5):
        for y in (-0.5, 0.5):
            turned = complex(x * size[0], y * size[1]) * np.exp(1j * heading)
            for z in (-0.5, 0.5):
                place = centre + np.array([turned.real, turned.imag, z * size[2]])
                found.add(tuple(np.round(place, 9)))
    return found


def test_boxes_have_the_corners_of_the_file(tmp_path, settings_of):
    folder = write_sunrgbd(tmp_path)
    rng = np.random.default_rng(3)
    rows = np.concatenate(
        [rng.normal(size=(60, 3)), rng.uniform(0.1, 1.5, size=(60, 3)), rng.uniform(-7, 7, size=(60, 1)),
         rng.integers(10, size=(60, 1))], axis=1,
    )  # fmt: skip
    np.save(folder / "sunrgbd_pc_bbox_votes_50k_v1_train" / "005051_bbox.npy", rows)
    boxes = check(sunrgbd.build(settings_of("sunrgbd"), tmp_path).load_points("005051")).boxes
    for row, centre, size, heading in zip(rows, boxes.centre, boxes.size, boxes.heading, strict=True):
        assert corners_of_the_file(row) == corners_of_ours(centre, size, heading)
        assert corners_of_the_file(row) != corners_of_ours(centre, size, -heading)  # the check can fail


def test_a_picture_comes_back_as_it_was_written(open_dataset):
    dataset = open_dataset("sunrgbd")
    assert dataset.ids == IDS
    for shape_id in IDS:
        found, (table, boxes) = dataset.load_points(shape_id), sunrgbd_picture(int(shape_id))
        np.testing.assert_array_equal(found.points, table[:, :3])
        np.testing.assert_array_equal(found.colour / 255.0, table[:, 3:])
        np.testing.assert_array_equal(found.boxes.centre, boxes[:, :3])
        np.testing.assert_array_equal(found.boxes.size / 2, boxes[:, 3:6])
        assert [dataset.box_names[label] for label in found.boxes.label] == ["sofa", "bathtub"][: len(boxes)]
    assert [len(dataset.load_points(shape_id).boxes.label) for shape_id in IDS] == [0, 2, 0, 2, 0]


def test_classes_are_the_ten_in_their_order():
    assert sunrgbd.BOX_CLASSES == (
        "bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand", "bookshelf", "bathtub",
    )  # fmt: skip


def test_the_official_val_pictures_are_the_test_split(open_dataset):
    dataset = open_dataset("sunrgbd")
    assert [dataset.entry(shape_id).split for shape_id in IDS] == ["test"] * 2 + ["train"] * 3
    assert dataset.entry("000002").source_path == "sunrgbd_pc_bbox_votes_50k_v1_val/000002_pc.npz"
    assert dataset.entry("000002").class_name == ""
    shared = open_dataset("sunrgbd", val_share=0.999)
    assert [shared.entry(shape_id).split for shape_id in IDS] == ["test"] * 2 + ["val"] * 3


def test_the_checksum_tells_both_files(pictures):
    folder, opened = pictures
    seen = {opened().entry("005051").sha256}
    np.save(folder / "005051_bbox.npy", sunrgbd_picture(2)[1])
    seen.add(opened().entry("005051").sha256)
    np.savez(folder / "005051_pc.npz", pc=sunrgbd_picture(3)[0])
    seen.add(opened().entry("005051").sha256)
    assert len(seen) == 3


def test_labels_are_read_from_their_own_folder(tmp_path, settings_of):
    write_sunrgbd(tmp_path, "v1")
    write_sunrgbd(tmp_path, "v2", {"train": (9, 11), "val": (4,)})
    assert sunrgbd.list_ids(settings_of("sunrgbd", labels="v2"), tmp_path) == ("000004", "000009", "000011")
    assert sunrgbd.list_ids(settings_of("sunrgbd", labels="v1"), tmp_path) == IDS
    protocols = {labels: settings_of("sunrgbd", labels=labels).required_protocol() for labels in ("v1", "v2")}
    assert protocols == {"v1": "sunrgbd/v1-all-partial", "v2": "sunrgbd/v2-all-partial"}
    with pytest.raises(ConfigError, match="labels"):
        settings_of("sunrgbd", labels="v3")


@pytest.mark.parametrize(
    ("cloud", "boxes", "reason"),
    [
        (np.zeros((9, 4)), None, r"005052_pc\.npz, pc: has the shape \(9, 4\), must be \(n, 3 or 6\)"),
        (np.zeros((9, 6), int), None, "must be floats"),
        (np.zeros((0, 6)), None, r"shape \(0, 3\)"),
        (np.array([[None] * 6]), None, "type object"),
        (np.random.default_rng(0).random((50, 6)) * 255, None, "a colour is not within 0 to 1"),
        (np.random.default_rng(0).random((50, 3)), None, "has no colours"),
        (np.full((50, 6), 0.5), None, "no extent"),
        (None, np.zeros(8), r"005052_bbox\.npy: has the shape \(8,\), must be \(n, 8\)"),
        (None, np.zeros((2, 7)), r"must be \(n, 8\)"),
        (None, np.array([[0, 0, 0, 1, 1, 1, 0, 10.0]]), "class 10, which is none of 0 to 9"),
        (None, np.array([[0, 0, 0, 1, 1, 1, 0, -1.0]]), "class -1"),
        (None, np.array([[0, 0, 0, 1, 1, 1, 0, 1.5]]), "class 1.5"),
        (None, np.array([[0, 0, 0, 1, 1, 1, 0, np.nan]]), "class nan"),
        (None, np.array([[0, 0, 0, 1, 0, 1, 0, 1.0]]), "a box has no size"),
        (None, np.array([[0, 0, 0, 1, 1, 1, np.inf, 1.0]]), "not finite"),
        (None, np.array([["a"] * 8]), "must be floats"),
    ],
)
def test_a_damaged_file_has_its_reason(cloud, boxes, reason, pictures):
    folder, opened = pictures
    if cloud is not None:
        np.savez(folder / "005052_pc.npz", pc=cloud)
    if boxes is not None:
        np.save(folder / "005052_bbox.npy", boxes)
    with pytest.raises(UnusableShapeError, match=reason):
        check(opened().load_points("005052"))


def test_a_missing_cut_or_exploding_file_is_named(pictures, monkeypatch):
    folder, opened = pictures
    (folder / "005051_bbox.npy").unlink()
    with pytest.raises(UnusableShapeError, match=r"005051_bbox\.npy: cannot be read"):
        opened().load_points("005051")
    path = folder / "005052_pc.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    with pytest.raises(UnusableShapeError, match=r"005052_pc\.npz: not a readable \.npz file"):
        opened().load_points("005052")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", b"")
    with pytest.raises(UnusableShapeError, match=r"005052_pc\.npz: holds no array pc"):
        opened().load_points("005052")
    path.write_bytes(content)
    monkeypatch.setattr(array_file, "LARGEST_MEMBER", 1000)
    with pytest.raises(UnusableShapeError, match=r"005052_pc\.npz: pc\.npy would unpack to"):
        opened().load_points("005052")


def test_colours_may_be_left_out_or_absent(pictures):
    folder, opened = pictures
    for columns in (6, 3):
        np.savez(folder / "005051_pc.npz", pc=sunrgbd_picture(5051)[0][:, :columns].astype(np.float32))
        dataset = opened(colour=False)
        assert dataset.point_attributes == ()
        assert dataset.load_points("005051").colour is None


def test_folders_are_needed_counted_and_share_no_picture(tmp_path, settings_of):
    folder = write_sunrgbd(tmp_path)
    with pytest.raises(
        ArtifactError, match=r"3 train \(official 5285\), 2 test \(official 5050\).*not checked.*partial: true"
    ):
        sunrgbd.list_ids(settings_of("sunrgbd", partial=False), tmp_path)
    (folder / "sunrgbd_pc_bbox_votes_50k_v1_val" / "notes.txt").write_text("not a picture")
    assert sunrgbd.list_ids(settings_of("sunrgbd"), folder) == IDS  # the inner folder will do
    (folder / "sunrgbd_pc_bbox_votes_50k_v1_val" / "005051_bbox.npy").write_bytes(b"")
    with pytest.raises(ArtifactError, match="picture 005051 is one of the other split too"):
        sunrgbd.list_ids(settings_of("sunrgbd"), tmp_path)
    for path in folder.glob("*/*"):
        path.unlink()
    with pytest.raises(ArtifactError, match=r"hold no <number>_pc\.npz"):
        sunrgbd.list_ids(settings_of("sunrgbd"), tmp_path)
    (folder / "sunrgbd_pc_bbox_votes_50k_v1_val").rmdir()
    with pytest.raises(ArtifactError, match="get the files of this split too"):
        sunrgbd.list_ids(settings_of("sunrgbd"), tmp_path)


def test_a_whole_set_need_not_say_partial(tmp_path, settings_of):
    for split, numbers in (("val", range(1, 5051)), ("train", range(5051, 10336))):
        folder = tmp_path / f"sunrgbd_pc_bbox_votes_50k_v1_{split}"
        folder.mkdir()
        for number in numbers:
            (folder / f"{number:06d}_pc.npz").touch()
    settings = settings_of("sunrgbd", partial=False)
    assert len(sunrgbd.list_ids(settings, tmp_path)) == 10335
    assert settings.required_protocol() == "sunrgbd/v1-all"
    assert settings_of("sunrgbd", colour=False).required_protocol() == "sunrgbd/v1-all-colourless-partial"


def test_files_that_decide_a_rerun_are_those_that_are_read(raw_folders, settings_of, open_dataset):
    named = [raw_folders["sunrgbd"] / name for name in settings_of("sunrgbd").source_files(["000002"])]
    assert sorted(path.name for path in named if path.is_file()) == ["000002_bbox.npy", "000002_pc.npz"]
    with pytest.raises(ConfigError, match="no picture"):
        open_dataset("sunrgbd").entry("000003")
