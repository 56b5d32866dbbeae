import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointlift.geometry.descriptors import LARGEST_DISTANCE, d2_histogram, nearby, principal_spreads, shape_descriptor


def rng(seed=0):
    return np.random.default_rng(seed)


def sphere(count, seed=0):
    points = rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_distances_on_a_sphere_have_their_known_density():
    # Two random points of a unit sphere: density d / 2 on 0..2, mean 4/3.
    histogram = d2_histogram(sphere(20000), 30, 200000, rng())
    edges = np.minimum(np.linspace(0, LARGEST_DISTANCE, 31) * 4 / 3, 2.0)
    np.testing.assert_allclose(histogram, np.diff(edges**2 / 4), atol=0.004)
    assert np.isclose(histogram.sum(), 1)


def test_two_points_have_one_distance():
    histogram = d2_histogram(np.array([[0.0, 0, 0], [7, 0, 0]]), 9, 100, rng())
    np.testing.assert_array_equal(histogram, [0, 0, 0, 1, 0, 0, 0, 0, 0])  # the mean itself, 1 in 0..3


def test_points_at_one_place_fill_the_first_bin():
    np.testing.assert_array_equal(d2_histogram(np.ones((5, 3)), 4, 10, rng()), [1, 0, 0, 0])
    with pytest.raises(ValueError, match="at least 2 points"):
        d2_histogram(np.ones((1, 3)), 4, 10, rng())


def test_distances_beyond_the_end_are_counted_in_the_last_bin():
    points = np.zeros((200, 3))
    points[0] = 1.0  # one far point among many at one place: its distances are about 100 means
    histogram = d2_histogram(points, 6, 20000, rng())
    assert histogram[-1] > 0 and np.isclose(histogram[0] + histogram[-1], 1)


def test_spreads_of_a_known_point_set():
    points = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    np.testing.assert_allclose(principal_spreads(points + 9), np.array([3, 2, 1]) / np.sqrt(14))
    assert (principal_spreads(np.ones((4, 3))) == 0).all()


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_descriptor_knows_no_place_pose_mirror_and_unit(mirror):
    points = rng(1).normal(size=(500, 3)) * [3, 2, 1]
    moved = Rotation.from_euler("xyz", [1, 2, 3]).apply(points * [1, 1, mirror]) * 40 - 7
    np.testing.assert_allclose(shape_descriptor(points, rng()), shape_descriptor(moved, rng()), atol=2e-4)


def test_descriptor_tells_shapes_apart_and_samples_of_one_shape_not():
    ball, stick = sphere(1024), sphere(1024, 1) * [5, 1, 1]
    again = np.abs(shape_descriptor(ball, rng()) - shape_descriptor(sphere(1024, 2), rng())).sum()
    other = np.abs(shape_descriptor(ball, rng()) - shape_descriptor(stick, rng())).sum()
    assert again < 0.1 < 0.5 < other


def test_nearby_descriptors_are_those_of_the_slow_formula_across_blocks():
    first, second = rng(1).random((600, 5)), rng(2).random((70, 5))
    apart = np.array([[sum(abs(a - b)) for b in second] for a in first])
    expected = [(i, j) for i in range(600) for j in range(70) if apart[i, j] < 0.6]
    found = list(nearby(first, second, 0.6))
    assert [(i, j) for i, j, _ in found] == expected and len(expected) > 100
    assert np.allclose([distance for _, _, distance in found], [apart[pair] for pair in expected])
    assert list(nearby(first[:0], second, 0.6)) == []
