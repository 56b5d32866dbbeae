"""Which cloud another one was taken from: some of its points, perhaps moved and scaled. Float64, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from pointlift.contracts.shards import Array

TOLERANCE = 1e-4  # of the radius of the larger cloud; files round at 1e-5 or finer, spacings are about 1e-2
_PROBES, _FITTED, _ROUNDS, _TRIED = 8, 512, 40, 40


class Candidate:
    """A cloud (m, 3) that others may be a part of."""

    def __init__(self, points: Array) -> None:
        self.points = points
        self.radius = float(np.linalg.norm(points - _middle(points), axis=1).max())
        self.shape = _proportions(points)

    @cached_property
    def tree(self) -> cKDTree:
        """The points, to be asked for the nearest."""
        return cKDTree(self.points)

    def holds(self, points: Array) -> bool:
        """Whether every one of these points (n, 3) is one of its own, within ``TOLERANCE``, and none stands for two.

        (Else a cloud shrunk onto one point would be a part of everything.)
        """
        limit = TOLERANCE * self.radius
        if (self.tree.query(_every(points, _PROBES), distance_upper_bound=limit)[0] > limit).any():
            return False
        distance, nearest = self.tree.query(points, distance_upper_bound=limit)
        return bool((distance <= limit).all()) and len(np.unique(nearest)) > 0.9 * len(points)


def find_superset(points: Array, candidates: Sequence[Candidate]) -> list[int]:
    """Numbers of the candidates of which ``points`` (n, 3) are a part: as they stand, else moved and scaled.

    A cloud in units of its own is laid onto each of the candidates most like it in proportions, by alternating nearest
    neighbours and the least-squares scale and shift (Besl and McKay 1992, without turning); the first that fits is
    given. A candidate counts only if every point then is one of its own: a failed search finds nothing, never
    something else.
    """
    found = [number for number, candidate in enumerate(candidates) if candidate.holds(points)]
    if found or not candidates:
        return found
    shape = _proportions(points)
    likeness = [float(np.abs(candidate.shape - shape).sum()) for candidate in candidates]
    order = np.argsort(likeness, kind="stable")[:_TRIED]
    return next(([int(number)] for number in order if _is_moved_part(points, candidates[number])), [])


def _is_moved_part(points: Array, candidate: Candidate) -> bool:
    return any(_is_part_from(start, points, candidate) for start in _starts(points, candidate.points))


def _is_part_from(start: tuple[float, Array], points: Array, candidate: Candidate) -> bool:
    """Whether the alignment that begins with this scale and shift ends with every point on one of the candidate's."""
    (scale, shift), fitted, before = start, _every(points, _FITTED), np.inf
    for _ in range(_ROUNDS):
        distance, nearest = candidate.tree.query(scale * fitted + shift)
        if distance.max() <= TOLERANCE * candidate.radius:
            return candidate.holds(scale * points + shift)
        kept = distance <= np.quantile(distance, 0.8)
        error = float(distance[kept].mean())
        if error >= before * 0.99:
            return False  # it has come to rest elsewhere
        before = error
        scale, shift = _fit(fitted[kept], candidate.points[nearest[kept]])
    return False


def _starts(points: Array, whole: Array) -> list[tuple[float, Array]]:
    """Scales and shifts to begin with: box on box, and mean on mean with equal spread."""
    boxes = float(np.linalg.norm(np.ptp(whole, axis=0)) / np.linalg.norm(np.ptp(points, axis=0)))
    spread = float(np.sqrt(whole.var(axis=0).sum() / points.var(axis=0).sum()))
    return [
        (boxes, _middle(whole) - boxes * _middle(points)),
        (spread, whole.mean(axis=0) - spread * points.mean(axis=0)),
    ]


def _fit(source: Array, target: Array) -> tuple[float, Array]:
    """The scale and shift with the least squared distances from ``scale * source + shift`` to ``target``."""
    centred = source - source.mean(axis=0)
    scale = float((centred * (target - target.mean(axis=0))).sum() / (centred**2).sum())
    return scale, target.mean(axis=0) - scale * source.mean(axis=0)


def _proportions(points: Array) -> Array:
    """(6,) extents and spreads along the axes, over the diagonal of the box: the same wherever and however large."""
    extent = np.ptp(points, axis=0)
    return np.concatenate([extent, points.std(axis=0)]) / max(float(np.linalg.norm(extent)), 1e-300)


def _middle(points: Array) -> Array:
    middle: Array = (points.min(axis=0) + points.max(axis=0)) / 2
    return middle


def _every(points: Array, count: int) -> Array:
    """About ``count`` of the points, evenly along the array."""
    return points[:: max(1, len(points) // count)]
