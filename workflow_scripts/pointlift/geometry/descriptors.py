"""Numbers that describe a point set whatever its place, pose, mirror image and unit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from pointlift.contracts.shards import Array

LARGEST_DISTANCE = 3.0  # the end of a D2 histogram, in mean distances; what lies beyond is counted in the last bin
_BLOCK = 256  # rows that are compared at a time


def d2_histogram(points: Array, bins: int, pairs: int, rng: np.random.Generator) -> Array:
    """Distribution of the distances between random pairs of different points, (bins,) float64, sum 1.

    D2 of Osada, Funkhouser, Chazelle, Dobkin, "Shape distributions", ACM TOG 2002, normalised by the mean distance;
    the bins cut 0..``LARGEST_DISTANCE`` evenly. points (n, 3) with n >= 2. Points that all lie at one place give
    everything in the first bin.
    """
    if len(points) < 2:
        raise ValueError(f"distances need at least 2 points, not {len(points)}")
    points = np.asarray(points, dtype=np.float64)
    first = rng.integers(len(points), size=pairs)
    second = (first + rng.integers(1, len(points), size=pairs)) % len(points)
    distance = np.linalg.norm(points[first] - points[second], axis=1)
    mean = distance.mean()
    unit = distance / mean if mean > 0 else distance
    counts, _ = np.histogram(np.minimum(unit, LARGEST_DISTANCE), bins=bins, range=(0.0, LARGEST_DISTANCE))
    return counts / pairs


def principal_spreads(points: Array) -> Array:
    """Standard deviations along the principal axes over their root sum of squares, (3,) float64, largest first."""
    centred = np.asarray(points, dtype=np.float64) - np.mean(points, axis=0, dtype=np.float64)
    spread = np.linalg.svd(centred, compute_uv=False)
    total = np.linalg.norm(spread)
    return spread / total if total > 0 else spread


def shape_descriptor(points: Array, rng: np.random.Generator, bins: int = 48, pairs: int = 32768) -> Array:
    """Cumulative D2 distribution and principal spreads, (bins + 3,) float64: near-duplicates are near in it.

    The L1 distance of cumulative distributions is their earth mover's distance; here it is in mean distances, since
    each bin's share is scaled by its width.
    """
    cumulative = np.cumsum(d2_histogram(points, bins, pairs, rng)) * (LARGEST_DISTANCE / bins)
    return np.concatenate([cumulative, principal_spreads(points)])


def nearby(first: Array, second: Array, limit: float) -> Iterator[tuple[int, int, float]]:
    """(row of first, row of second, L1 distance) of all descriptors nearer than ``limit``, sorted by rows.

    first (a, d), second (b, d). Compared in blocks: ``_BLOCK`` x b distances are held at a time.
    """
    for start in range(0, len(first), _BLOCK):
        apart = cdist(first[start : start + _BLOCK], second, "cityblock")
        for row, column in np.argwhere(apart < limit):
            yield start + int(row), int(column), float(apart[row, column])
