import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointlift.contracts.rig_blocks import Cameras
from pointlift.geometry.cameras import (
    camera_positions,
    intrinsics,
    look_at_origin,
    num_views,
    pixel_rays,
    project,
    world_to_camera,
)

LAYOUTS = ("ring", "sphere", "pointmcd12", "pointmcd16")


def cameras(layout="ring", views=6, **keys):
    return Cameras(layout=layout, num_views=views, **keys)


def test_position_of_the_specification():
    transform = look_at_origin(np.deg2rad([45.0]), np.deg2rad([30.0]), 2.0)
    np.testing.assert_allclose(camera_positions(transform), [[1.224745, 1.224745, 1.0]], atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_camera_is_a_rotation_that_looks_at_the_origin_from_its_distance(layout):
    settings = cameras(layout, distance=3.5)
    transform = world_to_camera(settings)
    rotation = transform[:, :3, :3]
    assert transform.shape == (num_views(settings), 4, 4) and transform.dtype == np.float64
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (len(rotation), 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1)
    np.testing.assert_allclose(np.linalg.norm(camera_positions(transform), axis=1), 3.5)
    np.testing.assert_allclose(transform @ [0, 0, 0, 1], np.tile([0, 0, 3.5, 1], (len(transform), 1)), atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_stand_upright(layout):
    settings = cameras(layout)
    pixels, _ = project(np.array([[0.0, 0, -0.1], [0, 0, 0.1]]), world_to_camera(settings), intrinsics(settings, 96))
    assert (pixels[:, 1, 1] < pixels[:, 0, 1]).all()
    np.testing.assert_allclose(pixels[..., 0], 48)


def test_right_is_right_and_the_image_is_not_mirrored():
    # Seen from +x with z up, +y is to the right.
    settings = cameras(views=1, elevation_degrees=0.0)
    pixels, _ = project(np.array([[0.0, 0.2, 0]]), world_to_camera(settings), intrinsics(settings, 96))
    assert pixels[0, 0, 0] > 48 and np.isclose(pixels[0, 0, 1], 48)


def test_ring_steps_and_elevation():
    position = camera_positions(world_to_camera(cameras(views=5, elevation_degrees=-20.0, distance=2.0)))
    np.testing.assert_allclose(position[:, 2], 2 * np.sin(np.deg2rad(-20)))
    np.testing.assert_allclose(
        np.mod(np.rad2deg(np.arctan2(position[:, 1], position[:, 0])), 360), [0, 72, 144, 216, 288], atol=1e-9
    )


def test_pointmcd12_is_twelve_steps_of_thirty_degrees_at_thirty_whatever_the_settings_say():
    settings = cameras("pointmcd12", views=3, elevation_degrees=10.0)
    expected = world_to_camera(cameras("ring", views=12, elevation_degrees=30.0))
    assert num_views(settings) == 12
    np.testing.assert_array_equal(world_to_camera(settings), expected)


def test_pointmcd16_is_elevation_major():
    settings = cameras("pointmcd16", views=3)
    position = camera_positions(world_to_camera(settings)) / settings.distance
    assert num_views(settings) == 16
    np.testing.assert_allclose(position[:, 2], [0.5] * 8 + [-0.5] * 8)
    np.testing.assert_allclose(position[:8, :2], position[8:, :2], atol=1e-12)
    np.testing.assert_allclose(position[1, :2], np.sqrt(0.75) * np.sqrt(0.5) * np.ones(2))


def test_sphere_directions_spread_evenly():
    position = camera_positions(world_to_camera(cameras("sphere", views=40, distance=2.0)))
    assert np.abs(position.mean(axis=0)).max() < 0.05
    gram = position @ position.T / 4
    nearest = np.rad2deg(np.arccos(np.clip((gram - 2 * np.eye(40)).max(axis=1), -1, 1)))
    assert nearest.min() > 20  # a hexagonal packing of 40 directions would have 34 degrees


@pytest.mark.parametrize("elevation", [np.pi / 2, -np.pi / 2, np.pi / 2 - 1e-9])
def test_a_camera_above_the_pole_is_a_limit_of_its_neighbours(elevation):
    azimuth = np.linspace(0, 6, 7)
    exact = look_at_origin(azimuth, np.full(7, elevation), 2.7)
    near = look_at_origin(azimuth, np.full(7, elevation * (1 - 1e-6)), 2.7)
    np.testing.assert_allclose(exact, near, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(exact[:, :3, :3]), 1)


def test_rotating_the_shape_by_the_azimuth_step_rolls_the_views():
    settings = cameras("pointmcd12")
    points = np.random.default_rng(0).normal(size=(20, 3)) * 0.3
    turned = Rotation.from_euler("z", 30, degrees=True).apply(points)
    before = project(points, world_to_camera(settings), intrinsics(settings, 64))
    after = project(turned, world_to_camera(settings), intrinsics(settings, 64))
    for first, second in zip(before, after, strict=True):
        np.testing.assert_allclose(np.roll(first, 1, axis=0), second, atol=1e-9)


def test_field_of_view_spans_the_image():
    settings = cameras(views=1, elevation_degrees=0.0, distance=2.0, field_of_view_degrees=60.0)
    edge = 2 * np.tan(np.deg2rad(30))
    corners = np.array([[0, -edge, edge], [0, edge, -edge]])
    pixels, depth = project(corners, world_to_camera(settings), intrinsics(settings, 128))
    np.testing.assert_allclose(pixels[0], [[0, 0], [128, 128]], atol=1e-9)
    np.testing.assert_allclose(depth, 2)


def test_the_default_rig_sees_the_whole_unit_sphere():
    settings = cameras("sphere", views=8)
    points = np.random.default_rng(1).normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    pixels, _ = project(points, world_to_camera(settings), intrinsics(settings, 96))
    assert pixels.min() > 0 and pixels.max() < 96


def test_points_behind_a_camera_have_no_pixel():
    settings = cameras(views=1, elevation_degrees=0.0, distance=2.0)
    pixels, depth = project(np.array([[3.0, 0, 0], [1.0, 0, 0]]), world_to_camera(settings), intrinsics(settings, 32))
    np.testing.assert_allclose(depth, [[-1, 1]], atol=1e-12)
    assert np.isnan(pixels[0, 0]).all() and np.isfinite(pixels[0, 1]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixel_rays_pass_through_their_pixel_centres(layout):
    settings = cameras(layout, views=3)
    transform, matrix = world_to_camera(settings), intrinsics(settings, 5)
    rays = pixel_rays(transform, matrix, 5)
    view = len(transform) - 1
    points = camera_positions(transform)[view] + 2.25 * rays[view].reshape(-1, 3)
    pixels, depth = project(points, transform, matrix)
    x, y = np.meshgrid(np.arange(5) + 0.5, np.arange(5) + 0.5)
    np.testing.assert_allclose(pixels[view], np.stack([x.ravel(), y.ravel()], axis=1), atol=1e-9)
    np.testing.assert_allclose(depth[view], 2.25)
