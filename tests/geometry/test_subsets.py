"""Parts of clouds are found as they stand, moved and scaled; parts of other clouds are not."""

import numpy as np
import pytest

from pointlift.geometry.subsets import Candidate, find_superset


def surface(seed: int, count: int = 4000) -> np.ndarray:
    """Points on an ellipsoid with a bump: no two seeds are alike."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    bump = 1 + 0.3 * np.exp(-4 * ((direction - rng.normal(size=3)) ** 2).sum(axis=1, keepdims=True))
    return direction * bump * rng.uniform(0.3, 1.0, size=3)


def normalised(points: np.ndarray) -> np.ndarray:
    """Mean at the origin, farthest point at radius 1, as loaders of the literature do it; rounded to float32."""
    centred = points - points.mean(axis=0)
    return (centred / np.linalg.norm(centred, axis=1).max()).astype(np.float32).astype(np.float64)


CLOUDS = [surface(seed) for seed in range(6)]
CANDIDATES = [Candidate(cloud) for cloud in CLOUDS]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("move", [lambda p: p, normalised, lambda p: 40.0 * p - [3.0, 0.0, 90.0]])
@pytest.mark.parametrize("count", [600, 3000])
def test_a_part_is_found(number, move, count):
    rows = np.random.default_rng(number).permutation(4000)[:count]
    assert find_superset(move(CLOUDS[number][rows]), CANDIDATES) == [number]


@pytest.mark.parametrize("move", [lambda p: p, normalised])
def test_a_part_of_another_sample_of_the_same_surface_is_not_found(move):
    rng = np.random.default_rng(0)
    for number in range(6):
        off = CLOUDS[number][:1000] + 0.004 * rng.normal(size=(1000, 3))
        assert find_superset(move(off), CANDIDATES) == []
        assert find_superset(move(surface(number + 100)), CANDIDATES) == []


def test_one_foreign_point_is_enough():
    points = CLOUDS[2][:1000].copy()
    points[77] += 0.01
    assert find_superset(points, CANDIDATES) == []


def test_a_cloud_shrunk_onto_a_point_is_part_of_nothing():
    points = CLOUDS[0][5] + 1e-9 * surface(200)[:500]
    assert find_superset(points, CANDIDATES) == []


def test_twins_are_all_told():
    assert find_superset(CLOUDS[1][:500], [*CANDIDATES, Candidate(CLOUDS[1][::-1])]) == [1, 6]


def test_without_candidates_nothing_is_found():
    assert find_superset(CLOUDS[0], []) == []
