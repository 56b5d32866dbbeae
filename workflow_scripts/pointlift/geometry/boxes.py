"""Boxes that stand upright in a scene: corners, points inside, and how far two of them are the same. The reference.

A box is (7,): centre x, y, z, whole edges along its own x, y, z, and heading, the angle about z in radians from the x
of the scene to the x of the box, counterclockwise seen from above. Everything is computed in float64. A box with an
edge of 0 has no volume: it overlaps with nothing, itself included.
"""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array

#: Corners in edges from the centre (8, 3): the bottom counterclockwise seen from above, then the top likewise.
CORNERS = np.array([[x, y, z] for z in (-0.5, 0.5) for x, y in ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))])
_POINTS_AT_ONCE = 1 << 18
_PAIRS_AT_ONCE = 1 << 14
_ROUNDING = 1e-9  # of a box's bounds, in their own size, where they only say who is looked at


def corners(boxes: Array) -> Array:
    """The corners (k, 8, 3) float64 of boxes (k, 7), in the order of ``CORNERS``."""
    boxes = _checked(boxes)
    along = CORNERS * boxes[:, None, 3:6]
    return boxes[:, None, :3] + _turned(along, boxes[:, None, 6])


def volumes(boxes: Array) -> Array:
    """Volume (k,) float64 of boxes (k, 7)."""
    found: Array = _checked(boxes)[:, 3:6].prod(axis=1)
    return found


def bounding(boxes: Array) -> Array:
    """The smallest boxes (k, 7) of heading 0 around boxes (k, 7) of any heading."""
    boxes = _checked(boxes)
    cosine, sine = np.abs(np.cos(boxes[:, 6])), np.abs(np.sin(boxes[:, 6]))
    long, wide = boxes[:, 3], boxes[:, 4]
    edges = np.stack([cosine * long + sine * wide, sine * long + cosine * wide, boxes[:, 5]], axis=1)
    return np.concatenate([boxes[:, :3], edges, np.zeros((len(boxes), 1))], axis=1)


def points_inside(points: Array, boxes: Array) -> Array:
    """Which points (n, 3) are in which boxes (k, 7), faces included: (k, n) bool.

    Beside the answer it takes memory for a bounded number of points. ``count_inside`` needs no answer of k times n.
    """
    boxes = _checked(boxes)
    inside = np.empty((len(boxes), len(points)), dtype=bool)
    for start in range(0, len(points), _POINTS_AT_ONCE):
        some = np.asarray(points[start : start + _POINTS_AT_ONCE], dtype=np.float64)
        for row, box in enumerate(boxes):
            inside[row, start : start + len(some)] = _in_box(some, box)
    return inside


def count_inside(points: Array, boxes: Array) -> Array:
    """How many of the points (n, 3) are in each of the boxes (k, 7), faces included: (k,) int64.

    Points are ordered along x once; a box turns only those within its bounds. Takes memory for a copy of the points.
    """
    boxes = _checked(boxes)
    columns = np.ascontiguousarray(points[np.argsort(points[:, 0], kind="stable")].T)
    around = bounding(boxes)
    reach = around[:, 3:6] / 2 + _ROUNDING * (np.abs(around[:, :3]) + around[:, 3:6])
    low, high = around[:, :3] - reach, around[:, :3] + reach
    first = np.searchsorted(columns[0], low[:, 0], side="left")
    last = np.searchsorted(columns[0], high[:, 0], side="right")
    counts = np.zeros(len(boxes), dtype=np.int64)
    for row, box in enumerate(boxes):
        some = columns[:, first[row] : last[row]]
        near = (some[1] >= low[row, 1]) & (some[1] <= high[row, 1])
        near &= (some[2] >= low[row, 2]) & (some[2] <= high[row, 2])
        counts[row] = _in_box(some[:, near].T.astype(np.float64), box).sum()
    return counts


def axis_aligned_iou(one: Array, other: Array) -> Array:
    """Intersection over union of every pair of boxes (a, 7) and (b, 7), headings not looked at: (a, b) float64.

    Of boxes with a heading, ``bounding`` gives the ones to hand in.
    """
    one, other = _checked(one), _checked(other)
    return _over_union(_aligned_overlap(one, other), one, other)


def oriented_iou(one: Array, other: Array) -> Array:
    """Intersection over union of every pair of boxes (a, 7) and (b, 7) with their headings: (a, b) float64.

    The footprints are clipped one by the other (Sutherland and Hodgman, Communications of the ACM 17, 1974) and the
    area of what is left is multiplied by the overlap of heights.
    """
    one, other = _checked(one), _checked(other)
    overlap = np.zeros((len(one), len(other)))
    rows, columns = np.nonzero(_aligned_overlap(bounding(one), bounding(other)))
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        row, column = rows[start : start + _PAIRS_AT_ONCE], columns[start : start + _PAIRS_AT_ONCE]
        area = _footprint_overlap(one[row], other[column])
        overlap[row, column] = area * _along(2, one[row], other[column])
    return _over_union(overlap, one, other)


def _checked(boxes: Array) -> Array:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise ValueError(f"boxes are (k, 7): centre, whole edges, heading; these are {boxes.shape}")
    if not np.isfinite(boxes).all() or (boxes[:, 3:6] < 0).any():
        raise ValueError("boxes are finite and no edge is below 0")
    return boxes


def _turned(places: Array, angle: Array) -> Array:
    """Places (..., 2 or 3) turned about z by an angle that broadcasts with (...), counterclockwise from above."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = places[..., 0], places[..., 1]
    level = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
    return np.concatenate([level, places[..., 2:]], axis=-1)


def _in_box(points: Array, box: Array) -> Array:
    within: Array = np.abs(_turned(points - box[:3], -box[6])) <= box[3:6] / 2
    inside: Array = np.all(within, axis=1)
    return inside


def _along(axis: int, one: Array, other: Array) -> Array:
    """Length that boxes (..., 7) share along an axis of the scene, as if of heading 0."""
    apart = one[..., axis] - other[..., axis]
    reach, other_reach = one[..., axis + 3] / 2, other[..., axis + 3] / 2
    shared = np.minimum(apart + reach, other_reach) - np.maximum(apart - reach, -other_reach)
    found: Array = np.maximum(shared, 0.0)
    return found


def _aligned_overlap(one: Array, other: Array) -> Array:
    left, right = one[:, None], other[None]
    return _along(0, left, right) * _along(1, left, right) * _along(2, left, right)


def _over_union(overlap: Array, one: Array, other: Array) -> Array:
    union = volumes(one)[:, None] + volumes(other)[None] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)


def _footprint_overlap(one: Array, other: Array) -> Array:
    """Area (p,) that the footprints of boxes (p, 7) share, pair by pair."""
    centre = _turned(one[:, :2] - other[:, :2], -other[:, 6])
    edges = _turned(CORNERS[:4, :2] * one[:, None, 3:5], (one[:, 6] - other[:, 6])[:, None])
    polygon = centre[:, None] + edges  # seen from the other box, whose own sides are the four lines to clip by
    for axis in (0, 1):
        for sign in (1.0, -1.0):
            polygon = _clip(polygon, other[:, 3 + axis, None] / 2 - sign * polygon[..., axis])
    return _areas(polygon)


def _clip(polygon: Array, distance: Array) -> Array:
    """The part of convex polygons (p, m, 2) where a distance (p, m) to a line is not below 0: (p, m', 2).

    Polygons of fewer corners than the longest repeat their first corner; one that is clipped away is all zeros.
    """
    following, inside = np.roll(distance, -1, axis=1), distance >= 0
    crosses: Array = inside != np.roll(inside, -1, axis=1)
    share = np.divide(distance, distance - following, out=np.zeros_like(distance), where=crosses)
    crossing = polygon + share[..., None] * (np.roll(polygon, -1, axis=1) - polygon)
    places = np.stack([polygon, crossing], axis=2).reshape(len(polygon), -1, 2)
    kept: Array = np.stack([inside, crosses], axis=2).reshape(len(polygon), -1)
    count = kept.sum(axis=1)
    order = np.argsort(~kept, axis=1, kind="stable")[:, : max(int(count.max(initial=0)), 1)]
    order = np.where(np.arange(order.shape[1]) < count[:, None], order, order[:, :1])
    clipped = np.take_along_axis(places, order[..., None], axis=1)
    return np.where(count[:, None, None] > 0, clipped, 0.0)


def _areas(polygon: Array) -> Array:
    """Area (p,) of polygons (p, m, 2) that go counterclockwise."""
    spoke = polygon - polygon[:, :1]
    following = np.roll(spoke, -1, axis=1)
    crossed = spoke[..., 0] * following[..., 1] - spoke[..., 1] * following[..., 0]
    doubled: Array = np.ascontiguousarray(crossed.T).sum(axis=0)  # in order, so that repeated corners change no bit
    return np.maximum(doubled, 0.0) / 2
