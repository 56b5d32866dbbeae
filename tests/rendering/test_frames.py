"""The rig that draws nothing: pictures cut square and scaled, what they show, and whose pictures cannot be used."""

from dataclasses import replace

import numpy as np
import pytest

from frame_layouts import COLOUR_PINHOLE, DEPTH_PINHOLE, DEPTH_SIZE, frame
from pointlift.contracts.dataset import PosedViews
from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.contracts.images import images_of
from pointlift.contracts.shards import Shard
from pointlift.contracts.stages import read_stage, read_stages, write_stage
from pointlift.geometry.cameras import pixel_rays, project
from pointlift.rendering.frames import Settings, build

IDS = ("a", "b", "c")
NUM_POINTS = 101  # not a multiple of 8


def views_of(seed):
    """The picture of a frame at the size of its depth map."""
    made = frame(seed)
    depth = np.where(made.depth > 0, made.depth, np.inf).astype(np.float32)
    colour = made.colour[::2, ::2][: DEPTH_SIZE[0], : DEPTH_SIZE[1]]
    return PosedViews(colour[None], depth[None], np.linalg.inv(made.pose)[None], DEPTH_PINHOLE[None])


def cloud_of(seed, count=NUM_POINTS):
    """Some points of that frame, in the world."""
    made = frame(seed)
    rays = pixel_rays(np.linalg.inv(made.pose)[None], DEPTH_PINHOLE, DEPTH_SIZE)[0]
    points = (made.pose[:3, 3] + made.depth[..., None] * rays)[made.depth > 0]
    return points[np.random.default_rng(seed).choice(len(points), count, replace=False)].astype(np.float32)


def shard(valid=(True, True, True)):
    clouds = [cloud_of(seed) if usable else np.zeros((0, 3), np.float32) for seed, usable in enumerate(valid)]
    offsets = np.concatenate([[0], np.cumsum([len(cloud) for cloud in clouds])]).astype(np.int64)
    return Shard(IDS, {"points": np.concatenate(clouds), "point_offsets": offsets, "valid": np.array(valid)})


def reader(**changes):
    return build(Settings(kind="frames", **{"image_size": 24, **changes}))


def by_id(shape_id):
    return views_of(IDS.index(shape_id))


def test_a_shard_of_pictures_and_of_what_they_show(tmp_path):
    found = reader().read(by_id, shard())
    write_stage(tmp_path / "v", "views", IDS, found.views, quarantine=found.quarantine)
    write_stage(tmp_path / "s", "visibility", IDS, found.visibility)
    views, seen = read_stage(tmp_path / "v", "views"), read_stage(tmp_path / "s", "visibility")
    assert found.quarantine == {} and views["valid"].all() and seen["valid"].all()
    assert images_of(views, 2).shape == (1, 24, 24, 3)
    assert seen["num_points"].tolist() == [NUM_POINTS] * 3 and seen["visible"].shape == (3, 1, 13)
    for index in range(3):
        pixels, _ = project(cloud_of(index), views["posed_world_to_camera"][index], views["posed_intrinsics"][index, 0])
        inside = ((pixels[0] >= 0) & (pixels[0] < 24)).all(axis=1)
        visible = np.unpackbits(seen["visible"][index, 0], count=NUM_POINTS).astype(bool)
        assert 20 < inside.sum() < NUM_POINTS  # the square leaves some out
        np.testing.assert_array_equal(visible, inside)  # its own points: nothing stands before them
    measured = [np.isfinite(views_of(index).depth[0, :, 8:56]).mean() for index in range(3)]
    np.testing.assert_allclose(views["foreground"][:, 0], measured, rtol=1e-6)


def test_a_picture_of_the_right_size_stays_as_it_is_and_a_smaller_one_keeps_its_means():
    whole, views = reader(image_size=48).take(views_of(0), cloud_of(0)), views_of(0)
    np.testing.assert_array_equal(whole.images[0], views.images[0, :, 8:56])
    small = reader(image_size=16).take(views_of(0), cloud_of(0)).images[0]
    means = views.images[0, :, 8:56].reshape(16, 3, 16, 3, 3).mean(axis=(1, 3))
    assert np.abs(small[1:-1, 1:-1] - means[1:-1, 1:-1]).mean() < 3.0


def test_points_off_the_depth_map_are_not_seen():
    views, cloud = views_of(0), cloud_of(0)
    before = reader().take(views, cloud).visible[0]
    eye = np.linalg.inv(views.world_to_camera[0])[:3, 3]
    moved = cloud.copy()
    moved[::2] = eye + (cloud[::2] - eye) * 1.2  # the same pixels, deeper by more than a fifth of a metre
    after = reader().take(views, moved).visible[0]
    np.testing.assert_array_equal(after[1::2], before[1::2])
    assert before[::2].sum() > 10 and not after[::2].any()
    assert reader(tolerance=1.0).take(views, moved).visible[0][::2].sum() == before[::2].sum()


def test_what_cannot_be_used_is_quarantined_and_what_was_not_valid_stays_so():
    def load(shape_id):
        if shape_id == "b":
            raise UnusableShapeError("25.jpg: not a whole JPEG or PNG picture")
        assert shape_id == "a"
        return by_id(shape_id)

    found = reader().read(load, shard((True, True, False)))
    assert found.quarantine == {"b": "25.jpg: not a whole JPEG or PNG picture"}
    assert found.views["valid"].tolist() == found.visibility["valid"].tolist() == [True, False, False]
    assert found.visibility["num_points"].tolist() == [NUM_POINTS, 0, 0]
    assert not found.views["posed_world_to_camera"][1:].any() and not found.visibility["visible"][1:].any()
    assert found.views["image_offsets"].tolist()[1:] == [len(found.views["image_bytes"])] * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"world_to_camera": lambda a: a * -np.inf}, "its pose is not finite"),
        ({"world_to_camera": lambda a: a @ np.diag([1.0, -1, -1, 1])}, "shows none of its points"),
        ({"images": lambda a: a * 0}, "view 0 is flat"),
        ({"depth": lambda a: a * np.inf}, "view 0 is blank"),
        ({"depth": lambda a: a[:, 1:]}, "depth has the shape"),
    ],
)
def test_a_bad_picture_has_its_reason(changes, reason):
    with np.errstate(invalid="ignore"):
        broken = replace(views_of(0), **{name: change(getattr(views_of(0), name)) for name, change in changes.items()})
    with pytest.raises(UnusableShapeError, match=reason):
        reader().take(broken, cloud_of(0))


def test_shards_without_a_usable_picture_join_the_others(tmp_path):
    def none(_):
        raise UnusableShapeError("nothing")

    write_stage(tmp_path / "0", "visibility", IDS, reader().read(by_id, shard()).visibility)
    empty = reader().read(none, shard())
    names = ("d", "e", "f")
    write_stage(tmp_path / "1", "visibility", names, empty.visibility)
    write_stage(tmp_path / "v", "views", names, empty.views, quarantine=empty.quarantine)
    joined = read_stages([tmp_path / "0", tmp_path / "1"], "visibility")
    assert joined["valid"].tolist() == [True] * 3 + [False] * 3 and joined["visible"].shape == (6, 1, 13)
    assert not read_stage(tmp_path / "v", "views")["valid"].any()


def test_clouds_come_with_as_many_pictures_and_points():
    def load(shape_id):
        views = by_id(shape_id)
        twice = {name: np.concatenate([getattr(views, name)] * 2) for name in vars(views)}
        return views if shape_id == "a" else PosedViews(**twice)

    with pytest.raises(ArtifactError, match="the same number of pictures, not a 1, c 2"):
        reader().read(load, shard())
    uneven = shard()
    uneven.arrays["point_offsets"] = np.array([0, 100, 202, 303])
    with pytest.raises(ArtifactError, match="the same number of points"):
        reader().read(by_id, uneven)


def test_views_have_the_cameras_of_one_rig_or_their_own(tmp_path):
    arrays = reader().read(by_id, shard()).views
    rig = {"world_to_camera": np.zeros((1, 4, 4), np.float32), "intrinsics": COLOUR_PINHOLE.astype(np.float32)}
    bare = {name: array for name, array in arrays.items() if not name.startswith("posed")}
    write_stage(tmp_path / "rig", "views", IDS, bare | rig)
    for wrong in (bare, arrays | rig, bare | {"intrinsics": rig["intrinsics"]}):
        with pytest.raises(ArtifactError, match="views: they hold the cameras"):
            write_stage(tmp_path / "wrong", "views", IDS, wrong)
    assert not (tmp_path / "wrong").exists()
