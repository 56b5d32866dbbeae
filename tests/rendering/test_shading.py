"""Baked light against closed forms."""

import numpy as np

from pointlift.rendering import shading


def test_directions_follow_azimuth_from_x_to_y_and_elevation_up():
    found = shading.directions(np.array([0.0, 90.0, 180.0, 17.0, 45.0]), np.array([0.0, 0.0, 0.0, 90.0, -45.0]))
    half = np.sqrt(0.5)
    assert np.allclose(found, [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1], [0.5, 0.5, -half]])


def test_corners_and_normals_of_a_known_triangle():
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [4, 0, 0]], dtype=np.float32)
    corners, normals = shading.corners_and_normals(vertices, np.array([[0, 1, 2], [0, 2, 1], [0, 1, 3]]))
    assert np.array_equal(normals, [[0, 0, 1], [0, 0, -1], [0, 0, 0]])
    assert np.array_equal(corners, vertices[[0, 1, 2, 0, 2, 1, 0, 1, 3]])
    assert corners.dtype == normals.dtype == np.float32


def test_both_sides_have_opposite_normals():
    corners = np.random.default_rng(0).normal(size=(15, 3)).astype(np.float32)
    doubled = shading.both_sides(corners)
    _, normals = shading.corners_and_normals(doubled, np.arange(30).reshape(-1, 3))
    assert np.allclose(normals[:5], -normals[5:])
    assert np.array_equal(doubled[:15], corners)


def test_lambert_is_the_cosine_law_on_both_sides_and_never_above_the_albedo():
    tilt = np.radians(60.0)
    normals = np.array([[0, 0, 1], [0, 0, -1], [np.sin(tilt), 0, np.cos(tilt)], [1, 0, 0], [0, 0, 0]])
    up = np.array([[0.0, 0.0, 1.0]])
    grey = shading.lambert(normals, up, np.array([0.5]), ambient=0.2, albedo=0.8)
    assert np.allclose(grey, 0.8 * np.array([0.7, 0.7, 0.45, 0.2, 0.2]))
    assert np.allclose(shading.lambert(normals[:1], up, np.array([5.0]), ambient=0.2, albedo=0.8), 0.8)


def test_lights_add_up_and_no_light_leaves_the_ambient():
    normal = np.array([[1.0, 0.0, 0.0]])
    two = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert np.allclose(shading.lambert(normal, two, np.array([0.3, 0.9]), 0.1, 1.0), 0.4)
    assert np.allclose(shading.lambert(normal, two[:0], np.zeros(0), 0.1, 1.0), 0.1)
