import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.rig_blocks import Cameras, Visibility
from pointlift.contracts.settings import parse
from pointlift.geometry import visibility
from pointlift.geometry.cameras import camera_positions, intrinsics, look_at_origin, project, world_to_camera
from pointlift.geometry.meshes import Mesh, clean, normalise
from pointlift.geometry.sampling import sample_surface
from pointlift.geometry.visibility import (
    depth_by_rays,
    visible_by_hidden_points,
    visible_by_rays,
    visible_by_z_buffer,
)

RIG = Cameras(layout="sphere", num_views=6)
TOLERANCE = Visibility().tolerance


def fibonacci_sphere(count):
    index = np.arange(count)
    height, azimuth = 1 - (2 * index + 1) / count, np.pi * (1 + np.sqrt(5)) * (index + 0.5)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], axis=1)


def chair():
    boxes = [([1, 1, 0.04], [0, 0, 0]), ([1, 0.04, 1], [0, 0.48, 0.5])]
    boxes += [([0.06, 0.06, 0.8], [x, y, -0.4]) for x in (-0.45, 0.45) for y in (-0.45, 0.45)]
    parts = []
    for extents, shift in boxes:
        parts.append(trimesh.creation.box(extents))
        parts[-1].apply_translation(shift)
    return trimesh.util.concatenate(parts)


def sampled(other, count=1024):
    mesh, _, _ = normalise(clean(Mesh(np.asarray(other.vertices), np.asarray(other.faces))))
    points, _, normals = sample_surface(mesh, count, np.random.default_rng(0))
    return mesh, points, normals


SHAPES = {
    "torus": lambda: trimesh.creation.torus(0.7, 0.3, major_sections=96, minor_sections=64),
    "chair": chair,
    "sphere": lambda: trimesh.creation.icosphere(4),
}


# ---- rays


@pytest.mark.parametrize("distance", [1.5, 2.0, 5.0])
def test_rays_see_the_analytic_cap_of_a_sphere(distance):
    sphere = trimesh.creation.icosphere(6)
    points = fibonacci_sphere(4096) * 0.99995  # between the facets' inner and outer radius
    seen = visible_by_rays(sphere.vertices, sphere.faces, points, np.array([[distance, 0, 0]]), 0.01)[0]
    assert np.mean(seen == (points[:, 0] * distance > 1)) > 0.997
    assert np.isclose(seen.mean(), (1 - 1 / distance) / 2, atol=0.004)


def test_rays_see_a_sheet_without_thickness_from_both_sides():
    vertices, faces = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    points = np.column_stack([np.random.default_rng(0).uniform(-0.9, 0.9, (50, 2)), np.zeros(50)])
    assert visible_by_rays(vertices, faces, points, np.array([[0.3, 0, 2], [0.3, 0, -2]]), TOLERANCE).all()


@pytest.mark.parametrize(("thickness", "hidden"), [(0.02, True), (0.002, False)])
def test_a_plate_hides_its_back_when_it_is_thicker_than_the_tolerance(thickness, hidden):
    plate = trimesh.creation.box([1, 1, thickness])
    points = np.column_stack([np.random.default_rng(0).uniform(-0.4, 0.4, (50, 2)), np.full(50, -thickness / 2)])
    above, below = np.array([[0, 0, 2.7]]), np.array([[0, 0, -2.7]])
    assert visible_by_rays(plate.vertices, plate.faces, points, below, TOLERANCE).all()
    assert visible_by_rays(plate.vertices, plate.faces, points, above, TOLERANCE).any() != hidden


def test_a_screen_hides_what_is_behind_it_and_nothing_else():
    floor = trimesh.creation.box([2, 2, 0.1])
    screen = trimesh.creation.box([0.6, 0.6, 0.01])
    screen.apply_translation([0, 0, 1])
    both = trimesh.util.concatenate([floor, screen])
    points = np.column_stack([np.random.default_rng(0).uniform(-1, 1, (500, 2)), np.full(500, 0.05)])
    seen = visible_by_rays(both.vertices, both.faces, points, np.array([[0, 0, 3.0]]), TOLERANCE)[0]
    # Similar triangles: the shadow of the screen's lower rim (z = 0.995) and upper rim (1.005) on z = 0.05.
    inner, outer = (0.3 * (3 - 0.05) / (3 - z) for z in (0.995, 1.005))
    farthest = np.abs(points[:, :2]).max(axis=1)
    assert not seen[farthest < inner].any() and seen[farthest > outer].all()
    assert (farthest < inner).sum() > 50


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rays_do_not_depend_on_place_pose_and_unit(scale):
    mesh, points, _ = sampled(chair(), 512)
    positions = camera_positions(world_to_camera(RIG))
    before = visible_by_rays(mesh.vertices, mesh.faces, points, positions, TOLERANCE)
    rotation, shift = Rotation.from_euler("xyz", [1, 2, 3]), np.array([500.0, -300.0, 800.0]) * scale
    vertices, moved, cameras = (
        rotation.apply(np.asarray(array, np.float64)) * scale + shift for array in (mesh.vertices, points, positions)
    )
    after = visible_by_rays(vertices, mesh.faces, moved, cameras, TOLERANCE * scale)
    assert np.mean(before == after) > 0.999


def test_a_seen_point_projects_to_its_own_depth():
    mesh, points, _ = sampled(SHAPES["torus"](), 300)
    transform, matrix = world_to_camera(RIG), intrinsics(RIG, 256)
    seen = visible_by_rays(mesh.vertices, mesh.faces, points, camera_positions(transform), TOLERANCE)
    depth = depth_by_rays(mesh.vertices, mesh.faces, transform, matrix, 256)
    pixels, own = project(points, transform, matrix)
    view, index = np.nonzero(seen)
    column, row = pixels[view, index].astype(int).T
    around = [depth[view, row + down, column + right] for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert np.isfinite(around).any(axis=0).mean() > 0.99  # at the outline its own pixel's centre may be background
    clear = np.isfinite(around).all(axis=0)
    assert np.median(np.abs(around[4] - own[view, index])[clear]) < 0.003
    assert (np.min(around, axis=0) <= own[view, index] + TOLERANCE).mean() > 0.99


def test_depth_at_pixel_centres_of_a_sphere_is_exact():
    sphere = trimesh.creation.icosphere(6)
    transform, matrix = look_at_origin(np.array([0.4]), np.array([0.3]), 2.7), intrinsics(Cameras(), 65)
    depth = depth_by_rays(sphere.vertices, sphere.faces, transform, matrix, 65)
    assert depth.shape == (1, 65, 65) and depth.dtype == np.float32
    assert np.isclose(depth[0, 32, 32], 1.7, atol=1e-3)
    y, x = np.mgrid[:65, :65] + 0.5
    slope = ((x - 32.5) ** 2 + (y - 32.5) ** 2) / matrix[0, 0] ** 2  # |ray|^2 = 1 + slope at depth 1
    root = 2.7**2 - (1 + slope) * (2.7**2 - 1)
    expected = np.where(root > 0, (2.7 - np.sqrt(np.maximum(root, 0))) / (1 + slope), np.inf)
    clear = np.abs(root) > 0.05
    np.testing.assert_allclose(depth[0][clear], expected[clear], atol=2e-3)


def test_visibility_needs_neither_torch_nor_trimesh():
    code = (
        "import sys, numpy as np; from pointlift.geometry import duplicates, sampling, visibility;"
        "visibility.visible_by_rays(np.eye(3), np.array([[0, 1, 2]]), np.eye(3), np.ones((1, 3)) * 2, 0.01);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'trimesh')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(visibility.__file__).parents[2])


# ---- z-buffer


@pytest.mark.parametrize(("name", "size", "agreement"), [
    ("torus", 96, 0.98), ("torus", 224, 0.985),
    ("chair", 96, 0.97), ("chair", 224, 0.98),
    ("sphere", 96, 0.985), ("sphere", 224, 0.985),
])  # fmt: skip
def test_z_buffer_agrees_with_rays(name, size, agreement):
    mesh, points, normals = sampled(SHAPES[name]())
    transform, matrix = world_to_camera(RIG), intrinsics(RIG, size)
    rays = visible_by_rays(mesh.vertices, mesh.faces, points, camera_positions(transform), TOLERANCE)
    depth = depth_by_rays(mesh.vertices, mesh.faces, transform, matrix, size)
    found = visible_by_z_buffer(points, normals, depth, transform, matrix, TOLERANCE)
    assert np.mean(found == rays) > agreement
    np.testing.assert_array_equal(found, visible_by_z_buffer(points, -normals, depth, transform, matrix, TOLERANCE))


def test_the_tangent_plane_decides_on_slanted_surfaces():
    # A plane seen at 80 degrees off its normal: within one pixel its depth changes by far more than the tolerance.
    vertices, faces = np.array([[-9.0, -9, 0], [9, -9, 0], [9, 9, 0], [-9, 9, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    points = np.column_stack([np.random.default_rng(0).uniform(-0.5, 0.5, (400, 2)), np.zeros(400)])
    transform, matrix = look_at_origin(np.array([0.0]), np.deg2rad([10.0]), 2.7), intrinsics(RIG, 48)
    depth = depth_by_rays(vertices, faces, transform, matrix, 48)
    flat, facing = np.tile([0.0, 0, 1], (400, 1)), np.tile(camera_positions(transform), (400, 1))
    below = points - [0, 0, 0.01]  # 0.01 / sin(10 degrees) = 0.058 behind it
    assert visible_by_z_buffer(points, flat, depth, transform, matrix, 1e-4).all()
    assert not visible_by_z_buffer(below, flat, depth, transform, matrix, 0.005).any()
    assert visible_by_z_buffer(below, facing, depth, transform, matrix, 0.005).mean() > 0.3


def test_background_outside_and_behind_are_not_seen():
    transform, matrix = look_at_origin(np.zeros(1), np.zeros(1), 2.0), intrinsics(RIG, 16)
    depth = np.full((1, 16, 16), np.inf, np.float32)
    points = np.array([[0.0, 0, 0], [0, 5, 0], [3, 0, 0]])
    assert not visible_by_z_buffer(points, np.ones((3, 3)), depth, transform, matrix, 0.01).any()
    seen = visible_by_z_buffer(points, np.ones((3, 3)), np.full_like(depth, 2.0), transform, matrix, 0.5)
    np.testing.assert_array_equal(seen, [[True, False, False]])


# ---- hidden point removal


@pytest.mark.parametrize(
    ("count", "distance", "analytic", "expected"),
    [(1024, 2, 256, 288), (1024, 5, 411, 444), (2048, 2, 507, 558), (2048, 5, 817, 869)],
)
def test_hidden_points_of_the_specification(count, distance, analytic, expected):
    points = fibonacci_sphere(count)
    truth = points[:, 0] * distance > 1
    seen = visible_by_hidden_points(points, np.array([[distance, 0, 0]]), 10.0)[0]
    assert truth.sum() == analytic
    assert abs(int(seen.sum()) - expected) <= 3
    assert seen[truth].all()


@pytest.mark.parametrize("layout, analytic, expected", [("pointmcd12", 0.75, 0.785), ("pointmcd16", 1.0, 1.0)])
def test_share_of_the_sphere_a_layout_covers(layout, analytic, expected):
    points = fibonacci_sphere(1024)
    positions = camera_positions(world_to_camera(Cameras(layout=layout, distance=2.0)))
    assert np.isclose((points @ positions.T > 1).any(axis=1).mean(), analytic, atol=0.005)
    # The number of points behind the specification's .785 is not stated: 512 give .789, 1,024 give .777.
    assert np.isclose(visible_by_hidden_points(points, positions, 10.0).any(axis=0).mean(), expected, atol=0.01)


def test_a_flipping_radius_that_breaks_down_is_refused_by_the_settings():
    seen = visible_by_hidden_points(fibonacci_sphere(1024), np.array([[2.0, 0, 0]]), 1000.0).sum()
    assert abs(int(seen) - 995) <= 3  # of 256
    with pytest.raises(ConfigError, match=r"radius_factor.*1000"):
        parse(Visibility, {"method": "hidden_points", "radius_factor": 1000}, "rigs.r.visibility")
    assert parse(Visibility, {"radius_factor": 100}, "rigs.r.visibility").radius_factor == 100


# The radius is a factor of the farthest point's distance, so it scales with the points.
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_hidden_points_do_not_depend_on_place_pose_and_unit(scale):
    points, positions = fibonacci_sphere(700) * [1, 0.6, 0.3], camera_positions(world_to_camera(RIG))
    rotation, shift = Rotation.from_euler("xyz", [0.3, 2, 1]), np.array([5.0, -3, 8]) * scale
    before = visible_by_hidden_points(points, positions, 10.0)
    moved = visible_by_hidden_points(
        rotation.apply(points) * scale + shift, rotation.apply(positions) * scale + shift, 10.0
    )
    np.testing.assert_array_equal(before, moved)


def test_hidden_points_follow_the_order_of_the_points():
    points, position = fibonacci_sphere(400), np.array([[0, 3.0, 1]])
    order = np.random.default_rng(0).permutation(400)
    np.testing.assert_array_equal(
        visible_by_hidden_points(points, position, 10.0)[:, order],
        visible_by_hidden_points(points[order], position, 10.0),
    )


def test_points_at_one_place_share_one_answer():
    points, position = fibonacci_sphere(300), np.array([[3.0, 0, 0]])
    alone = visible_by_hidden_points(points, position, 10.0)
    np.testing.assert_array_equal(
        visible_by_hidden_points(np.vstack([points, points]), position, 10.0), np.hstack([alone, alone])
    )


@pytest.mark.parametrize("count", [1, 3, 4, 60])
def test_few_and_coplanar_points_are_no_error(count):
    points = np.random.default_rng(0).normal(size=(count, 3)) * [0.3, 0.3, 0]
    seen = visible_by_hidden_points(points, np.array([[3.0, 0, 0], [0, 0, 3.0]]), 10.0)
    assert seen[1].all()  # from above, nothing in a plane hides anything
    assert seen[0].any()


@pytest.mark.parametrize(("name", "agreement"), [("sphere", 0.96), ("torus", 0.87), ("chair", 0.78)])
def test_hidden_points_agree_with_rays_as_well_as_points_alone_can(name, agreement):
    mesh, points, _ = sampled(SHAPES[name](), 2048)
    positions = camera_positions(world_to_camera(RIG))
    rays = visible_by_rays(mesh.vertices, mesh.faces, points, positions, TOLERANCE)
    assert np.mean(visible_by_hidden_points(points, positions, 10.0) == rays) > agreement
