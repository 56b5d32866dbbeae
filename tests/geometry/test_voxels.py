"""Voxels of one cloud against dictionaries filled point by point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.voxels import voxelise


def cloud(count=300, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3))


@pytest.mark.parametrize("from_minimum", [True, False])
def test_voxels_are_those_of_a_dictionary(from_minimum):
    points, values = cloud(), cloud(seed=1)
    voxels = voxelise(points, 0.4, from_minimum)
    grid = np.rint(points / 0.4).astype(int)
    grid -= grid.min(axis=0) if from_minimum else 0
    members: dict[tuple[int, ...], list[int]] = {}
    for row, place in enumerate(grid.tolist()):
        members.setdefault(tuple(place), []).append(row)
    assert list(map(tuple, voxels.coordinates.tolist())) == sorted(members)
    assert (voxels.coordinates.min() < 0) == (not from_minimum)
    middle = voxels.coordinates + (0 if from_minimum is False else np.rint(points / 0.4).min(axis=0))
    for number, place in enumerate(sorted(members)):
        rows = members[place]
        assert (voxels.inverse[rows] == number).all() and voxels.counts[number] == len(rows)
        np.testing.assert_allclose(voxels.mean(values)[number], values[rows].mean(axis=0), rtol=1e-13, atol=1e-15)
        away = np.linalg.norm(points[rows] - middle[number] * 0.4, axis=1)
        assert voxels.representatives()[number] == rows[away.argmin()]
        assert voxels.representatives(first=True)[number] == rows[0]
    assert voxels.counts.max() > 3 and voxels.counts.min() == 1


def test_the_inverse_restores_labels_and_counts_add_up():
    points = cloud()
    voxels = voxelise(points, 0.4)
    label = np.arange(len(voxels.counts)) * 7
    assert (voxels.coordinates[voxels.inverse] == np.rint(points / 0.4) - np.rint(points / 0.4).min(axis=0)).all()
    assert (label[voxels.inverse][voxels.representatives()] == label).all()
    assert voxels.counts.sum() == len(points)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60), size=st.sampled_from([0.05, 0.3, 2.0]))
def test_the_order_of_the_points_makes_no_difference(seed, count, size):
    points, values, order = cloud(count, seed), cloud(count, seed + 1), np.random.default_rng(seed).permutation(count)
    plain, mixed = voxelise(points, size), voxelise(points[order], size)
    np.testing.assert_array_equal(plain.coordinates, mixed.coordinates)
    np.testing.assert_array_equal(plain.inverse[order], mixed.inverse)
    np.testing.assert_array_equal(plain.representatives(), order[mixed.representatives()])
    assert plain.mean(values).tobytes() == mixed.mean(values[order]).tobytes(), "to the bit"


def test_equally_near_points_are_told_apart_by_their_place():
    points = np.array([[0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0]])
    assert voxelise(points, 1.0).representatives().tolist() == [1]
    assert voxelise(points[::-1], 1.0).representatives().tolist() == [1]
    assert voxelise(points[[2, 0, 1]], 1.0).representatives().tolist() == [2]


def test_halves_go_to_the_even_voxel_and_shifts_of_whole_voxels_change_nothing():
    halves = np.array([[0.5, 0, 0], [1.5, 0, 0], [2.5, 0, 0], [-0.5, 0, 0]])
    assert voxelise(halves, 1.0, from_minimum=False).inverse.tolist() == [0, 1, 1, 0]
    points = np.random.default_rng(0).integers(-64, 64, (100, 3)) / 32
    np.testing.assert_array_equal(voxelise(points, 0.25).coordinates, voxelise(points + 1024.0, 0.25).coordinates)


def test_no_points_have_no_voxels():
    voxels = voxelise(np.zeros((0, 3)), 0.1)
    assert voxels.coordinates.shape == (0, 3) and voxels.mean(np.zeros((0, 4))).shape == (0, 4)
    assert voxels.representatives().shape == voxels.representatives(first=True).shape == (0,)


@pytest.mark.parametrize("points", [[[0, 0, np.nan]], [[0, np.inf, 0]], [[0.0, 0, 0], [1e12, 0, 0]], [[0.0, 1.0]]])
def test_clouds_that_have_no_voxels_are_refused(points):
    with pytest.raises(UnusableShapeError):
        voxelise(np.array(points), 0.1)


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan])
def test_voxels_have_a_size(size):
    with pytest.raises(ValueError, match="above 0"):
        voxelise(cloud(), size)
