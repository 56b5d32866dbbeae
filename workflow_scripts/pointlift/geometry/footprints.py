"""Rectangles on the floor, turned about the vertical: their corners, and whether two come too near to each other."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.geometry.boxes import corners


def corners_of(centre: Array, size: Array, heading: Array) -> Array:
    """Corners of the rectangles, counterclockwise, (n, 4, 2) float64.

    centre (n, 2); size (n, 2), whole edges; heading (n,), radians counterclockwise from the floor's x.
    """
    level = np.zeros(len(centre))
    boxes = np.column_stack([centre, level, size, level, heading])
    return corners(boxes)[:, :4, :2]


def too_near(first: Array, second: Array, clearance: float = 0.0) -> Array:
    """Whether no edge direction of the two shows a gap of ``clearance`` between them, (n, m) bool.

    first (n, 4, 2), second (m, 4, 2), as ``corners_of`` gives them. Separating axis test: two convex shapes in the
    plane are apart exactly when the normal of one of their edges shows a gap. No two that are nearer than the clearance
    pass; two that are corner to corner may be refused though they are a little farther apart.
    """
    return (_gaps(first, second) < clearance) & (_gaps(second, first) < clearance).T


def _gaps(own: Array, other: Array) -> Array:
    """The larger gap that either edge direction of ``own`` shows, (n, m); below 0 where both are covered."""
    axes = _axes(own)
    low, high = _span(np.einsum("nad,ncd->nac", axes, own))
    other_low, other_high = _span(np.einsum("nad,mcd->nmac", axes, other))
    gap: Array = np.maximum(other_low - high[:, None], low[:, None] - other_high).max(axis=2)
    return gap


def _axes(rectangles: Array) -> Array:
    """The two directions of each rectangle's edges, (n, 2, 2), of unit length."""
    edges = np.stack([rectangles[:, 1] - rectangles[:, 0], rectangles[:, 2] - rectangles[:, 1]], axis=1)
    return edges / np.linalg.norm(edges, axis=2, keepdims=True)


def _span(along: Array) -> tuple[Array, Array]:
    return along.min(axis=-1), along.max(axis=-1)
