import numpy as np
import pytest
from made_rooms import opened, room_of

from pointlift import rooms
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.contracts.shards import Shard
from pointlift.datasets.ingest import load_points_shard
from pointlift.geometry.cameras import camera_positions, project
from pointlift.geometry.visibility import depth_by_rays


def frames(**changes):
    return opened("procedural_frames", **{"num_rooms": 3, "num_frames": 3, "image_size": 96, **changes})


def test_the_frames_of_a_room_together_are_the_scene():
    dataset, scenes = frames(), opened(num_frames=3)
    for room_id in scenes.ids[:3]:
        parts = [dataset.load_points(f"{room_id}-{number:02d}") for number in range(3)]
        whole = scenes.load_points(room_id)
        np.testing.assert_array_equal(np.concatenate([part.points for part in parts]), whole.points)
        np.testing.assert_array_equal(np.concatenate([part.colour for part in parts]), whole.colour)


def test_every_point_lies_in_its_picture_with_its_depth_and_colour():
    dataset = frames()
    for shape_id in dataset.ids:
        cloud, views = dataset.load_points(shape_id), dataset.load_views(shape_id)
        pixels, depth = project(cloud.points, views.world_to_camera, views.intrinsics[0])
        assert ((pixels > 0) & (pixels < 96)).all()
        column, row = np.floor(pixels[0]).astype(int).T
        error = np.abs(views.depth[0, row, column] - depth[0])
        assert np.mean(error < 0.15) > 0.9  # but for the borders of objects
        same = (views.images[0, row, column] == cloud.colour).all(axis=1)
        assert same.mean() > 0.85


def test_a_sensor_that_sees_more_than_the_picture_is_refused():
    assert len(frames(sensor={"width": 40, "height": 40}).ids) == 9
    with pytest.raises(ConfigError, match="its height must be at most its width"):
        frames(sensor={"width": 40, "height": 41})


def test_views_are_posed_pictures_in_the_metres_of_the_room():
    dataset = frames()
    for number, shape_id in enumerate(dataset.ids):
        views, room = dataset.load_views(shape_id), room_of(dataset, number // 3)
        assert views.images.shape == (1, 96, 96, 3) and views.images.dtype == np.uint8
        assert views.depth.shape == (1, 96, 96) and views.depth.dtype == np.float32
        assert views.world_to_camera.shape == (1, 4, 4) and views.intrinsics.shape == (1, 3, 3)
        rotation = views.world_to_camera[0, :3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        position = camera_positions(views.world_to_camera)[0]
        assert 1.3 < position[2] < 1.8 and (np.abs(position[:2]) < room.plan.size / 2).all()
        exact = depth_by_rays(room.vertices, room.faces, views.world_to_camera, views.intrinsics[0], 96)
        hit = np.isfinite(exact)
        assert (hit == np.isfinite(views.depth)).mean() > 0.999
        both = hit & np.isfinite(views.depth)
        assert np.mean(np.abs(exact[both] - views.depth[both]) < 1e-3) > 0.999


def test_all_frames_of_a_room_are_in_one_split():
    dataset = frames(num_rooms=10, splits={"train": 1, "val": 1, "test": 0})
    splits = [dataset.entry(shape_id).split for shape_id in dataset.ids]
    assert splits == [name for name in ["train", "val"] * 5 for _ in range(3)]
    assert frames(num_rooms=12).ids[: len(dataset.ids)] == dataset.ids


def test_a_frame_of_another_room_or_number_is_refused():
    dataset = frames()
    for wrong in ("room-a-00000", "room-a-00000-03", "room-a-00000-0", "room-b-00000-00", "room-a-00000-0x"):
        with pytest.raises(ConfigError, match=r"no (room|frame) of this dataset"):
            dataset.load_views(wrong)


def test_shards_have_clouds_of_one_length():
    dataset = frames(num_points=500)
    arrays, _ = load_points_shard(dataset, dataset.ids[:3], dataset._settings)
    assert np.diff(arrays["point_offsets"]).tolist() == [500] * 3


def test_the_rig_that_reads_frames_takes_them():
    dataset = frames(num_points=500)
    arrays, attributes = load_points_shard(dataset, dataset.ids, dataset._settings)
    settings = parse(rooms.settings_class("rendering", "frames"), {"kind": "frames", "image_size": 48}, "rig")
    reader = rooms.load("rendering", "frames").build(settings)
    taken = reader.read(dataset.load_views, Shard(dataset.ids, arrays, attributes))
    assert not taken.quarantine
    seen = np.unpackbits(taken.visibility["visible"], axis=-1)[..., :500]
    assert seen.mean() > 0.85  # but for noise and the borders of objects
