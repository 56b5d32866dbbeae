import dataclasses

import numpy as np
import pytest
from made_rooms import depth_in_closed_form, empty_room, opened, room_of

from pointlift.contracts.procedural_blocks import SensorSettings
from pointlift.datasets.depth_sensor import BACKGROUND, pinhole, returned, see
from pointlift.datasets.made_room import look_at, stand
from pointlift.geometry.cameras import camera_positions, project

SIZE = (48, 80)
TALL = (120, 80)  # sees over the walls
EXACT = {"noise": 0.0, "missing": 0.0, "grazing_degrees": 0.0, "farthest": 100.0}


def sensor(**changes):
    return SensorSettings(**EXACT | changes)


def picture(room, frame=0, size=SIZE):
    return see(room, stand(room, frame), pinhole(size, 70.0), size)


@pytest.mark.parametrize("ceiling", [False, True])
def test_depth_between_bare_walls_is_the_closed_form(monkeypatch, ceiling):
    room = empty_room(monkeypatch, ceiling=ceiling)
    found = set()
    for frame in range(6):
        seen = picture(room, frame, TALL)
        depth, which = depth_in_closed_form(room, seen, ceiling)
        clear = seen.surface == which  # a ray into an edge may go either way
        assert clear.mean() > 0.99
        np.testing.assert_allclose(seen.depth[clear], depth[clear], rtol=1e-4)
        found |= set(np.unique(seen.surface))
    assert found == ({0, 1, 2} if ceiling else {-1, 0, 1})


def test_slant_on_the_floor_is_that_of_the_ray_to_the_horizontal(monkeypatch):
    seen = picture(empty_room(monkeypatch))
    floor = seen.surface == 0
    fall = -seen.rays[..., 2] / np.linalg.norm(seen.rays, axis=-1)
    assert floor.any()
    np.testing.assert_allclose(np.sin(seen.slant[floor]), fall[floor], atol=1e-6)


def test_points_lie_behind_the_centres_of_their_pixels():
    room = room_of(opened(), 1)
    seen, pose, matrix = picture(room), stand(room, 0), pinhole(SIZE, 70.0)
    pixels, depth = project(seen.points, pose[None], matrix)
    row, column = np.nonzero(np.isfinite(seen.depth))
    np.testing.assert_allclose(pixels[0], np.column_stack([column, row]) + 0.5, atol=1e-6)
    np.testing.assert_allclose(depth[0], seen.depth[row, column])


def test_the_field_of_view_spans_the_width():
    matrix = pinhole((60, 80), 90.0)
    np.testing.assert_allclose(np.linalg.solve(matrix, [0.0, 30.0, 1.0]), [-1.0, 0.0, 1.0], atol=1e-12)


def test_a_camera_looks_from_its_place_at_its_target():
    rng = np.random.default_rng(0)
    for _ in range(20):
        position, target = rng.normal(size=3), rng.normal(size=3)
        pose = look_at(position, target)
        np.testing.assert_allclose(camera_positions(pose[None])[0], position, atol=1e-12)
        local = pose[:3, :3] @ target + pose[:3, 3]
        np.testing.assert_allclose(local, [0, 0, np.linalg.norm(target - position)], atol=1e-12)
        assert (pose[:3, :3] @ [0, 0, 1])[1] < 0, "up in the room is up in the picture"
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)


def test_noise_is_gaussian_along_the_axis_and_grows_with_the_square_of_depth():
    seen = picture(room_of(opened(), 0), size=(200, 200))
    noisy = returned(seen, sensor(noise=0.002), np.random.default_rng(0))
    hit = np.isfinite(seen.depth)
    error = (noisy.depth[hit] - seen.depth[hit]) / (0.002 * seen.depth[hit] ** 2)
    count = hit.sum()
    assert count > 10000
    assert abs(error.mean()) < 4 / np.sqrt(count) and abs(error.std() - 1) < 4 / np.sqrt(2 * count)
    assert abs((error**4).mean() - 3) < 4 * np.sqrt(96 / count)
    near = seen.depth[hit] < np.median(seen.depth[hit])
    assert abs(error[near].std() / error[~near].std() - 1) < 0.05
    off_the_ray = np.cross(noisy.points - seen.position, seen.rays[hit])
    np.testing.assert_allclose(off_the_ray, 0.0, atol=1e-9)


def test_returns_are_lost_at_random_at_grazing_angles_and_far_away(monkeypatch):
    seen = picture(empty_room(monkeypatch), size=(200, 200))
    hit = np.isfinite(seen.depth)
    lost = hit & ~np.isfinite(returned(seen, sensor(missing=0.1), np.random.default_rng(0)).depth)
    assert abs(lost.sum() / hit.sum() - 0.1) < 4 * np.sqrt(0.09 / hit.sum())
    kept = np.isfinite(returned(seen, sensor(grazing_degrees=25.0), np.random.default_rng(0)).depth)
    np.testing.assert_array_equal(kept, hit & (seen.slant >= np.deg2rad(25.0)))
    assert 0 < kept.sum() < hit.sum()
    far = returned(seen, sensor(farthest=3.0), np.random.default_rng(0))
    np.testing.assert_array_equal(np.isfinite(far.depth), seen.depth <= 3.0)
    np.testing.assert_array_equal(far.surface >= 0, np.isfinite(far.depth))


def test_no_return_comes_from_behind_the_sensor():
    """However large its errors are: the largest noise, in a room ten times as deep."""
    seen = picture(room_of(opened(), 0), size=(200, 200))
    deep = dataclasses.replace(seen, depth=10 * seen.depth)
    noisy = returned(deep, sensor(noise=0.05), np.random.default_rng(0))
    lost = np.isfinite(deep.depth) & np.isinf(noisy.depth)
    assert 0 < lost.sum() < 0.5 * lost.size
    assert (noisy.depth > 0).all() and (noisy.surface[lost] == -1).all()


def test_a_sensor_without_errors_returns_what_is_there():
    seen = picture(room_of(opened(), 2))
    same = returned(seen, sensor(), np.random.default_rng(0))
    for field in dataclasses.fields(seen):
        np.testing.assert_array_equal(getattr(same, field.name), getattr(seen, field.name))


def test_colours_are_paint_under_one_light_and_white_where_nothing_is(monkeypatch):
    room = empty_room(monkeypatch)
    shown = [picture(room, frame, TALL) for frame in range(6)]
    colour = np.concatenate([seen.colour.reshape(-1, 3) for seen in shown])
    surface = np.concatenate([seen.surface.reshape(-1) for seen in shown])
    assert (colour[surface < 0] == BACKGROUND).all() and (surface < 0).any()
    assert len(np.unique(colour[surface == 0], axis=0)) == 1  # one plane, one shade
    assert 2 <= len(np.unique(colour[surface == 1], axis=0)) <= 4
    floor = colour[surface == 0][0] / (255 * room.paint[0])
    np.testing.assert_allclose(floor, floor[0], atol=0.01)  # the paint, darker alike in all channels
