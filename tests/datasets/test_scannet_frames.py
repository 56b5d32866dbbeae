"""ScanNet's frames: clouds that lie on their own depth, scans on one side of a split, a reason for every bad frame."""

import numpy as np
import pytest
from PIL import Image

from frame_layouts import ALIGNMENT, DEPTH_SIZE, frame, write_matrix, write_scannet_frames
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import image_file, scannet, scannet_frames
from pointlift.geometry.cameras import project
from pointlift.geometry.clouds import check
from pointlift.geometry.posed_views import check as check_views
from pointlift.geometry.posed_views import visible_on_depth
from scene_layouts import SCANNET_LISTS, write_scannet

SCANS = ("scene0000_00", "scene0000_01", "scene0007_00", "scene0011_00", "scene0011_01")
FIRST = "scene0000_00-25"  # frame(2)


@pytest.fixture
def frames(tmp_path, settings_of):
    """Write the layout; give the folder of its scans and how to open it."""
    place = write_scannet_frames(tmp_path)

    def opened(**changes):
        return scannet_frames.build(settings_of("scannet_frames", **changes), tmp_path)

    return place, opened


def test_frames_whose_number_the_step_divides_are_taken_in_order(frames):
    _, opened = frames
    assert opened().ids == tuple(f"{scan}-{number}" for scan in SCANS for number in (0, 25, 50))
    assert opened(frame_step=50).ids[:3] == ("scene0000_00-0", "scene0000_00-50", "scene0000_01-0")
    assert opened(frame_step=7).ids[:2] == ("scene0000_00-0", "scene0000_00-7")


def test_scans_may_lie_beside_the_lists_and_numbers_keep_their_zeros(tmp_path, settings_of):
    write_scannet_frames(tmp_path, numbers=("000000", "000100"), inside=".")
    dataset = scannet_frames.build(settings_of("scannet_frames"), tmp_path)
    assert dataset.ids[:3] == ("scene0000_00-000000", "scene0000_00-000100", "scene0000_01-000000")
    files = scannet_frames.Settings.source_files(settings_of("scannet_frames"), dataset.ids[1:2])
    held = [file for file in files if (tmp_path / file).is_file()]
    wanted = ["color/000100.jpg", "depth/000100.png", "pose/000100.txt"]
    wanted += ["intrinsic/intrinsic_color.txt", "intrinsic/intrinsic_depth.txt", "scene0000_00.txt"]
    assert held == [f"scannet_frames/scene0000_00/{name}" for name in wanted]
    assert dataset.entry(dataset.ids[1]).source_path == "scene0000_00/color/000100.jpg"


def test_a_cloud_lies_on_the_surfaces_it_was_seen_on(frames):
    cloud = check(frames[1]().load_points(FIRST))
    assert 0.9 * np.prod(DEPTH_SIZE) < len(cloud.points) < np.prod(DEPTH_SIZE)
    x, y, z = cloud.points.T
    planes = [x - 5, y, y - 4, z, x - 2.2, x - 3.4, y - 1.5, y - 2.3, z - 0.9]  # walls, floor, sides of the block
    assert np.abs(planes).min(axis=0).max() < 0.002  # depth is told in millimetres
    for plane in (x - 5, z, x - 2.2):
        assert (np.abs(plane) < 0.002).sum() > 20


def test_a_cloud_projected_with_its_own_pose_lands_on_its_own_depth(frames):
    dataset = frames[1]()
    for shape_id in dataset.ids[:4]:
        cloud, views = dataset.load_points(shape_id), check_views(dataset.load_views(shape_id))
        assert visible_on_depth(cloud.points, views, 0.001).all()
        pixels, depth = project(cloud.points, views.world_to_camera, views.intrinsics[0])
        made = frame(10 * SCANS.index(shape_id.split("-")[0]) + {"0": 0, "25": 2, "50": 3}[shape_id.split("-")[1]])
        local = (cloud.points - made.pose[:3, 3]) @ made.pose[:3, :3]
        np.testing.assert_allclose(depth[0], local[:, 2], atol=1e-4)
        measured = np.argwhere(made.depth > 0)
        own = views.depth[0][tuple(np.floor(pixels[0]).astype(int).T[::-1])]
        assert len(cloud.points) <= len(measured) and np.abs(own - depth[0]).max() < 0.001
        colour = views.images[0][tuple(np.floor(pixels[0]).astype(int).T[::-1])]
        np.testing.assert_array_equal(colour, cloud.colour)


def test_what_was_not_measured_is_infinitely_far(frames):
    views = frames[1]().load_views(FIRST)
    assert np.isinf(views.depth[0, :8, :15]).all() and np.isfinite(views.depth[0, 12:-2, 20:-2]).all()
    assert views.images.shape == (1, 97, 130, 3) and views.depth.dtype == np.float32
    np.testing.assert_allclose(views.world_to_camera[0] @ frame(2).pose, np.eye(4), atol=1e-5)


def test_the_world_is_turned_as_the_scan_says(frames):
    plain, turned = (frames[1](axis_aligned=aligned) for aligned in (False, True))
    moved = plain.load_points(FIRST).points @ ALIGNMENT[:3, :3].T + ALIGNMENT[:3, 3]
    np.testing.assert_allclose(turned.load_points(FIRST).points, moved, atol=1e-6)
    assert visible_on_depth(turned.load_points(FIRST).points, turned.load_views(FIRST), 0.001).all()
    np.testing.assert_array_equal(turned.load_views(FIRST).depth, plain.load_views(FIRST).depth)


def test_a_room_is_in_the_split_it_has_for_kind_scannet(tmp_path, settings_of):
    rooms = [f"scene{room:04d}" for room in range(60)]
    lists = {"train": tuple(f"{room}_00" for room in rooms[:50]), "val": tuple(f"{room}_00" for room in rooms[50:])}
    write_scannet(tmp_path, lists, skipped=lists["train"] + lists["val"])
    place = tmp_path / "scannet_frames"
    (tmp_path / "scannet" / "meta_data").rename(tmp_path / "meta_data")
    for scan in (*lists["train"], *lists["val"]):
        (place / scan / "color").mkdir(parents=True)
        (place / scan / "color" / "25.jpg").write_bytes(b"")
    (tmp_path / "meta_data").rename(place / "meta_data")
    dataset = scannet_frames.build(settings_of("scannet_frames", val_share=0.3), tmp_path)
    (place / "meta_data").rename(tmp_path / "scannet" / "meta_data")
    whole = scannet.build(settings_of("scannet", val_share=0.3), tmp_path)
    split_of = {shape_id.split("-")[0]: dataset.entry(shape_id).split for shape_id in dataset.ids}
    assert split_of == {scan: whole.entry(scan).split for scan in whole.ids}
    assert set(split_of.values()) == {"train", "val", "test"}


def test_a_scan_that_was_not_exported_is_an_error_unless_the_set_is_partial(tmp_path, settings_of):
    place = write_scannet_frames(tmp_path, {**SCANNET_LISTS, "val": ()})
    (place.parent / "meta_data" / "scannetv2_val.txt").write_text("scene0011_00\n")
    assert len(scannet_frames.build(settings_of("scannet_frames"), tmp_path).ids) == 9
    with pytest.raises(ArtifactError, match="3 train"):
        scannet_frames.build(settings_of("scannet_frames", partial=False), tmp_path)
    rest = tuple(f"scene{room:04d}_00" for room in range(100, 100 + 1198))
    (place.parent / "meta_data" / "scannetv2_train.txt").write_text("\n".join([*SCANNET_LISTS["train"], *rest]))
    tests = tuple(f"scene{room:04d}_00" for room in range(2000, 2312))
    (place.parent / "meta_data" / "scannetv2_val.txt").write_text("\n".join(tests))
    with pytest.raises(ArtifactError, match="scene0100_00 of the lists has no folder scene0100_00/color"):
        scannet_frames.build(settings_of("scannet_frames", partial=False), tmp_path)


def picture(mode, size=(64, 48), value=1000):
    return Image.new(mode, size, value)


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("pose/25.txt", None, r"pose/25\.txt: the file cannot be read"),
        ("pose/25.txt", "-inf -inf -inf -inf\n" * 4, "pose is not finite: the camera was lost"),
        ("pose/25.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n", r"25\.txt: must be a matrix of 4 rows of 4"),
        ("pose/25.txt", "1 0 0 x\n" * 4, r"25\.txt: a word is no number"),
        ("pose/25.txt", "2 0 0 0\n0 2 0 0\n0 0 2 0\n0 0 0 1\n", "no rotation and translation"),
        ("pose/25.txt", "-1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "no rotation and translation"),
        ("depth/25.png", None, r"depth/25\.png: the file cannot be read"),
        ("depth/25.png", "half", r"25\.png: not a whole PNG picture"),
        ("depth/25.png", picture("L", value=9), r"25\.png: a depth map must be a 16-bit grey PNG, this is L"),
        ("depth/25.png", picture("I;16", value=0), "nothing was measured in this frame"),
        ("color/25.jpg", "half", r"25\.jpg: not a whole JPEG or PNG picture"),
        ("color/25.jpg", "no picture", r"25\.jpg: not a whole JPEG or PNG picture"),
        ("intrinsic/intrinsic_depth.txt", "0 0 3 0\n" * 4, r"intrinsic_depth\.txt: intrinsics are no pinhole camera"),
        ("intrinsic/intrinsic_color.txt", "9 9 3 0\n9 9 3 0\n0 0 1 0\n0 0 0 1\n", "are no pinhole camera"),
        ("intrinsic/intrinsic_color.txt", "9 0 131 0\n0 9 3 0\n0 0 1 0\n0 0 0 1\n", "of the color picture of 130 x 97"),
        (
            "intrinsic/intrinsic_depth.txt",
            "9 0 3 0\n0 9 -1 0\n0 0 1 0\n0 0 0 1\n",
            "outside of the depth picture of 64",
        ),
        ("intrinsic/intrinsic_color.txt", None, r"intrinsic/intrinsic_color\.txt: the file cannot be read"),
    ],
)
def test_a_bad_frame_has_its_reason(file, damage, reason, frames):
    place, opened = frames
    path = place / "scene0000_00" / file
    if damage is None:
        path.unlink()
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif isinstance(damage, str):
        path.write_text(damage)
    else:
        damage.save(path)
    dataset = opened()
    with pytest.raises(UnusableShapeError, match=reason):
        dataset.load_points(FIRST)
    assert len(opened().load_points("scene0000_01-25").points) > 100


def test_an_alignment_that_is_not_there_is_told(frames):
    place, opened = frames
    path = place / "scene0000_00" / "scene0000_00.txt"
    path.write_text("sceneType = Office\n")
    with pytest.raises(UnusableShapeError, match="has no axisAlignment of 16 numbers; say `axis_aligned: false`"):
        opened(axis_aligned=True).load_points(FIRST)
    assert len(opened().load_points(FIRST).points) > 100


def test_pictures_that_are_too_large_are_not_decoded(frames, monkeypatch):
    place, opened = frames
    monkeypatch.setattr(image_file, "LARGEST_PICTURE", 97 * 130 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(UnusableShapeError, match=r"25\.jpg: has 130 x 97 pixels, at most 12609 are read"):
        image_file.read_picture(place / "scene0000_00" / "color" / "25.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnusableShapeError, match="has far more than"):
        image_file.read_picture(place / "scene0000_00" / "color" / "25.jpg")
    monkeypatch.setattr(image_file, "LARGEST_PACKED", 100)
    with pytest.raises(UnusableShapeError, match="more than 100 bytes"):
        opened().load_views(FIRST)


def test_the_checksum_tells_picture_depth_and_pose(frames):
    place, opened = frames
    seen = {opened().entry(FIRST).sha256}
    write_matrix(place / "scene0000_00" / "pose" / "25.txt", np.eye(4))
    seen.add(opened().entry(FIRST).sha256)
    for name in ("color/25.jpg", "depth/25.png"):
        (place / "scene0000_00" / name).write_bytes(b"other")
        seen.add(opened().entry(FIRST).sha256)
    assert len(seen) == 4


def test_names_that_are_no_frames_are_refused(frames):
    for wrong in ("scene0000_00", "scene0000_00-7", "scene0000_00-../25", "scene9999_00-25"):
        with pytest.raises(ConfigError, match="is no frame of this folder"):
            frames[1]().load_views(wrong)
