"""Upright boxes as tensors: corners, intersection over union and its generalised form, with gradients.

Boxes are (..., 7) as in ``pointlift.geometry.boxes``, which is the reference: centre, whole edges (never below 0),
heading. Every function of two boxes goes pair by pair over leading axes that broadcast; ``all_pairs`` lays two sets of
boxes out so. Float32 or better. Gradients are finite everywhere: where corners and sides of two boxes meet there are
several, and one of them is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointlift.geometry.boxes import CORNERS
from pointlift.operators.precision import full


def all_pairs(one_BQ7: Tensor, other_BM7: Tensor) -> tuple[Tensor, Tensor]:
    """Views (B, Q, 1, 7) and (B, 1, M, 7): every box of one set with every box of the other, e.g.
    ``generalised_iou(*all_pairs(predicted, truth), oriented=True)`` of shape (B, Q, M)."""
    return one_BQ7[:, :, None], other_BM7[:, None]


def corners(boxes: Tensor) -> Tensor:
    """The corners (..., 8, 3) of boxes (..., 7): the bottom counterclockwise seen from above, then the top likewise."""
    boxes = full(boxes)
    along = boxes.new_tensor(CORNERS) * boxes[..., None, 3:6]
    level = _turned(along[..., :2], boxes[..., None, 6])
    return boxes[..., None, :3] + torch.cat([level, along[..., 2:]], dim=-1)


def volumes(boxes: Tensor) -> Tensor:
    """Volume (...) of boxes (..., 7)."""
    boxes = full(boxes)
    return boxes[..., 3] * boxes[..., 4] * boxes[..., 5]


def axis_aligned_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of pairs of boxes (..., 7), headings not looked at: (...)."""
    one, other = full(one), full(other)
    overlap = _aligned_overlap(one, other)
    return _ratio(overlap, volumes(one) + volumes(other) - overlap)


def oriented_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of pairs of boxes (..., 7) with their headings: (...)."""
    one, other = full(one), full(other)
    overlap = oriented_overlap(one, other)
    return _ratio(overlap, volumes(one) + volumes(other) - overlap)


def generalised_iou(one: Tensor, other: Tensor, *, oriented: bool) -> Tensor:
    """Generalised intersection over union of pairs of boxes (..., 7): (...), above -1 and at most 1.

    IoU - (C - U) / C with the union's volume U and the volume C of a box around both (Rezatofighi et al., CVPR 2019,
    algorithm 1, where C is the smallest convex shape). C here: headings not looked at, the smallest box of heading 0.
    ``oriented``, the smaller of two: the smallest box around both along the one's own axes, and along the other's. So
    a turn of the scene changes nothing, only equal boxes reach 1, and boxes of heading 0 have one value in both forms.
    A hull of the footprints would be smaller; a box along the axes of the scene changes with a turn of it.
    """
    one, other = full(one), full(other)
    if oriented:
        overlap = oriented_overlap(one, other)
        around = torch.minimum(_enclosing(one, other), _enclosing(other, one))
    else:
        overlap = _aligned_overlap(one, other)
        around = _span(0, one, other) * _span(1, one, other) * _span(2, one, other)
    union = volumes(one) + volumes(other) - overlap
    return _ratio(overlap, union) - _ratio(around - union, around)


def oriented_overlap(one: Tensor, other: Tensor) -> Tensor:
    """Volume (...) that pairs of boxes (..., 7) share.

    Green's theorem in place of clipping: seen from the other box, with half edges a and b, the shared area is the
    integral of clamp(x, -a, a) d clamp(y, -b, b) once around the one's footprint, since the curl of that field is 1
    inside the other and 0 outside. It is a sum over four straight sides, each in closed form and continuous in the
    boxes: no list of corners is kept, so equal and touching sides are no special case.
    """
    one, other = full(one), full(other)
    footprint = _seen_from(other, one)
    area = _side_integral(footprint, footprint.roll(-1, -2), other[..., None, 3:5] / 2).sum(-1)
    return area * _along(2, one, other)


def _seen_from(viewer: Tensor, boxes: Tensor) -> Tensor:
    """Corners (..., 4, 2) of the footprints of boxes in the frame of the viewer's centre and heading."""
    centre = _turned(boxes[..., :2] - viewer[..., :2], -viewer[..., 6])
    along = boxes.new_tensor(CORNERS[:4, :2]) * boxes[..., None, 3:5]
    return centre[..., None, :] + _turned(along, (boxes[..., 6] - viewer[..., 6])[..., None])


def _turned(places: Tensor, angle: Tensor) -> Tensor:
    """Places (..., 2) turned by an angle (...), counterclockwise."""
    cosine, sine = angle.cos(), angle.sin()
    x, y = places.unbind(-1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


def _side_integral(start: Tensor, end: Tensor, half: Tensor) -> Tensor:
    """Integral (...) of clamp(x, -a, a) d clamp(y, -b, b), half edges (a, b), straight from start to end (..., 2)."""
    (x, y), (to_x, to_y), (wide, high) = start.unbind(-1), end.unbind(-1), half.unbind(-1)
    low, top = y.clamp(-high, high), to_y.clamp(-high, high)
    rise, tilted = _divisor(to_y - y)
    run = torch.where(tilted, to_x - x, 0.0)
    enters = x + ((low - y) / rise).clamp(0.0, 1.0) * run
    leaves = to_x + ((top - to_y) / rise).clamp(-1.0, 0.0) * run
    return (top - low) * _mean_clamped(enters, leaves, wide)


def _mean_clamped(first: Tensor, last: Tensor, bound: Tensor) -> Tensor:
    """Mean of clamp(x, -bound, bound) over x between first and last.

    With clamped ends c and d it is (c + d) / 2 + r (first + last - c - d) / 2, where r = (d - c) / (last - first) is
    the share of the way within the bounds; the second term is 0 where both ends are within, or beyond one bound.
    """
    near, far = first.clamp(-bound, bound), last.clamp(-bound, bound)
    way, moves = _divisor(last - first)
    share = torch.where(moves & (near != far), (far - near) / way, 0.0)
    return (near + far + share * (first + last - near - far)) / 2


def _divisor(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values to divide by, 1 in the place of those too small for it, and which are not too small."""
    usable = values.abs() > torch.finfo(values.dtype).eps ** 2
    return torch.where(usable, values, 1.0), usable


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 for boxes without volume: both are 0 there."""
    return part / whole.clamp(min=torch.finfo(whole.dtype).tiny ** 0.5)


def _along(axis: int, one: Tensor, other: Tensor) -> Tensor:
    """Length that boxes share along an axis of the scene, as if of heading 0."""
    apart = one[..., axis] - other[..., axis]
    reach, other_reach = one[..., axis + 3] / 2, other[..., axis + 3] / 2
    shared = torch.minimum(apart + reach, other_reach) - torch.maximum(apart - reach, -other_reach)
    return shared.clamp(min=0.0)


def _span(axis: int, one: Tensor, other: Tensor) -> Tensor:
    """Length from the first to the last of two boxes along an axis of the scene, as if of heading 0."""
    apart = one[..., axis] - other[..., axis]
    reach, other_reach = one[..., axis + 3] / 2, other[..., axis + 3] / 2
    return torch.maximum(apart + reach, other_reach) - torch.minimum(apart - reach, -other_reach)


def _aligned_overlap(one: Tensor, other: Tensor) -> Tensor:
    return _along(0, one, other) * _along(1, one, other) * _along(2, one, other)


def _enclosing(viewer: Tensor, boxes: Tensor) -> Tensor:
    """Volume of the smallest box around both along the axes of the viewer."""
    centre = _turned(boxes[..., :2] - viewer[..., :2], -viewer[..., 6])
    turn = boxes[..., 6:] - viewer[..., 6:]
    reach = (turn.cos().abs() * boxes[..., 3:5] + turn.sin().abs() * boxes[..., 3:5].flip(-1)) / 2
    half = viewer[..., 3:5] / 2
    level = torch.maximum(centre + reach, half) - torch.minimum(centre - reach, -half)
    return level[..., 0] * level[..., 1] * _span(2, viewer, boxes)
