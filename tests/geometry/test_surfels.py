"""Discs of points against closed forms: how much of a plane they cover, where they lie, which way they look."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.meshes import face_areas, face_normals
from pointlift.geometry.surfels import cloud_normals, discs, distinct, nearest, spacing

CORNERS, FACES = 6, 4


def plane(count, seed=0):
    """Points at random on the square [-1, 1]^2, z = 0."""
    return np.column_stack([np.random.default_rng(seed).uniform(-1, 1, (count, 2)), np.zeros(count)])


def sphere(count, seed=0):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def covered(mesh, places):
    """Whether each place of the plane z = 0 lies within a disc, by the half-planes of its six edges."""
    corners = mesh.vertices.reshape(-1, CORNERS, 3)[..., :2]
    found = np.zeros(len(places), dtype=bool)
    for ring in corners:
        edges = np.roll(ring, -1, axis=0) - ring
        towards = places[:, None] - ring
        side = edges[:, 0] * towards[..., 1] - edges[:, 1] * towards[..., 0]
        found |= (side >= 0).all(axis=1) | (side <= 0).all(axis=1)
    return found


@pytest.mark.parametrize("size", [0.4, 0.8, 1.2])
def test_discs_cover_the_share_of_a_plane_that_their_area_says(size):
    # Boolean model of random discs of one size (Hall 1988): 1 - exp(-density * area). These are larger where points are
    # sparse, and so leave fewer holes.
    points = plane(3000)
    inside = np.random.default_rng(1).uniform(-0.8, 0.8, (2000, 2))
    share = covered(discs(points, None, size, 8), inside).mean()
    assert -0.01 < share - (1 - np.exp(-np.pi * size**2)) < 0.08


def test_the_spacing_of_a_square_grid_is_its_pitch():
    x, y = np.meshgrid(np.arange(40) * 0.25, np.arange(40) * 0.25)
    grid = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    inner = ((grid > 1) & (grid < 8.75))[:, :2].all(axis=1)
    # The 8th neighbour of a grid point lies at sqrt(2) pitches: sqrt(2) * sqrt(pi / 8) = 0.886.
    assert np.allclose(spacing(nearest(grid, 8)[1])[inner], 0.25 * np.sqrt(np.pi / 4))
    random = spacing(nearest(plane(4000), 8)[1])
    assert np.isclose(np.mean(random), np.sqrt(4 / 4000), rtol=0.06)  # 4000 points on an area of 4


def test_a_disc_is_a_hexagon_around_its_point_across_its_normal():
    points, directions = sphere(200), sphere(200, seed=5)
    mesh = discs(points, 3.0 * directions, 0.8, 8)
    assert mesh.vertices.shape == (200 * CORNERS, 3) and mesh.faces.shape == (200 * FACES, 3)
    rings = mesh.vertices.reshape(200, CORNERS, 3)
    assert np.allclose(rings.mean(axis=1), points)
    radius = np.linalg.norm(rings - points[:, None], axis=2)
    assert np.allclose(radius, radius[:, :1])
    assert np.allclose(np.einsum("ncd,nd->nc", rings - points[:, None], directions), 0)
    facing = np.einsum("nfd,nd->nf", face_normals(mesh).reshape(200, FACES, 3), directions)
    assert np.allclose(np.abs(facing), 1)
    # A hexagon as large as the circle of radius 0.8 spacings.
    area = face_areas(mesh).reshape(200, FACES).sum(axis=1)
    assert np.allclose(area, np.pi * (0.8 * spacing(nearest(points, 8)[1])) ** 2)


def test_normals_of_the_points_are_those_of_the_sphere_and_of_the_plane():
    points = sphere(4000)
    agreement = np.abs((cloud_normals(points, None, 8) * points).sum(axis=1))
    assert np.degrees(np.arccos(np.clip(agreement, -1, 1))).mean() < 4
    turn = Rotation.from_euler("xyz", [0.3, 1.0, 2.0])
    flat = turn.apply(plane(500)) + np.array([3, 4, 5])
    assert np.allclose(np.abs(cloud_normals(flat, None, 8) @ turn.apply([0, 0, 1])), 1)


def test_a_normal_without_length_is_told_by_the_neighbours():
    points, given = plane(100), np.tile([0.0, 0.0, -2.0], (100, 1))
    given[7] = 0
    found = cloud_normals(points, given, 8)
    assert np.allclose(np.delete(found, 7, axis=0), [0, 0, -1])
    assert np.allclose(np.abs(found[7]), [0, 0, 1])


def test_points_at_one_place_make_one_disc():
    points = sphere(50)
    twice = np.concatenate([points, points[::-1], points[:5] + 1e-8])
    places, kept, place = distinct(twice)
    assert np.array_equal(places, points) and np.array_equal(kept, np.arange(50))
    assert np.array_equal(place, [*range(50), *range(49, -1, -1), *range(5)])
    alone, repeated = discs(points, None, 0.8, 8), discs(twice, None, 0.8, 8)
    assert np.array_equal(alone.vertices, repeated.vertices) and np.array_equal(alone.faces, repeated.faces)
    assert cloud_normals(twice, None, 8).shape == (105, 3)


def test_a_stray_point_makes_no_sheet():
    points = np.concatenate([plane(500), [[0.0, 0.0, 40.0]]])
    mesh = discs(points, None, 1.0, 8)
    rings = mesh.vertices.reshape(-1, CORNERS, 3)
    radius = np.linalg.norm(rings - points[:, None], axis=2)[:, 0]
    assert radius.max() < 2.5 * np.median(radius)


def test_discs_move_turn_and_grow_with_their_points():
    points, turn = sphere(300) * [1, 0.5, 0.2], Rotation.from_euler("xyz", [1, 2, 3])
    before, after = discs(points, None, 0.8, 8), discs(turn.apply(points) * 1000 + 500, None, 0.8, 8)
    assert np.allclose(np.sort(face_areas(after)), np.sort(face_areas(before)) * 1e6)
    centres = after.vertices.reshape(-1, CORNERS, 3).mean(axis=1)
    assert np.allclose(centres, turn.apply(points) * 1000 + 500)


@pytest.mark.parametrize("count", [3, 5, 9])
def test_few_points_and_points_on_a_line_are_no_error(count):
    line = np.column_stack([np.arange(count), np.zeros(count), np.zeros(count)]).astype(float)
    mesh = discs(line, None, 0.8, 8)
    assert np.isfinite(mesh.vertices).all() and len(mesh.faces) == FACES * count
    assert (face_areas(mesh) > 0).all()


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_places_are_no_surface(count):
    with pytest.raises(UnusableShapeError, match=f"points at {count} places, a surface needs three"):
        discs(np.repeat(plane(count), 20, axis=0), None, 0.8, 8)
