"""Random changes of a training scene together with its boxes: what a box held it holds.

VoteNet, Qi, Litany, He, Guibas, ICCV 2019, section 5.1 and appendix (flips, turns, scale); random cuboids:
DepthContrast, Zhang, Girdhar, Joulin, Misra, ICCV 2021 (sizes recalled, not checked against their code).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.geometry.boxes import bounding

if TYPE_CHECKING:
    from pointlift.tasks.detection import BoxAugmentation

_CUBOID_TRIES = 100
_CUBOID_EDGES = (0.5, 1.0)  # of the scene's, drawn for each axis
_CUBOID_FLATTEST = 0.75  # the shorter side of the footprint over the longer one, as shares of the scene's edges


def augment_scene(
    points: Array, boxes: Array, settings: BoxAugmentation, rng: np.random.Generator, *, oriented: bool
) -> tuple[Array, Array]:
    """Flip, turn and scale points (n, 3) and boxes (k, 7) about the middle of the points; both anew, float32.

    Boxes that are not ``oriented`` become the smallest of heading 0 around what was turned, as VoteNet has it.
    """
    middle = (points.min(axis=0).astype(np.float64) + points.max(axis=0)) / 2
    places, found = points - middle, boxes.astype(np.float64)
    found[:, :3] -= middle
    for axis, flips in enumerate((settings.flip_x, settings.flip_y)):
        if flips and rng.random() < 0.5:
            places[:, axis] *= -1.0
            found[:, axis] *= -1.0
            found[:, 6] = (math.pi if axis == 0 else 0.0) - found[:, 6]
    most = math.radians(settings.rotation_degrees)
    angle = rng.uniform(-most, most)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    places[:, :2], found[:, :2] = places[:, :2] @ turn.T, found[:, :2] @ turn.T
    found[:, 6] += angle
    factor = rng.uniform(*settings.scale)
    places, found[:, :6] = places * factor, found[:, :6] * factor
    if not oriented:
        found = bounding(found)
    found[:, 6] = np.remainder(found[:, 6] + math.pi, 2.0 * math.pi) - math.pi
    found[:, :3] += middle
    return (places + middle).astype(np.float32), found.astype(np.float32)


def cut_cuboid(points: Array, boxes: Array, least: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A random part of a scene that holds ``least`` of its points and, if it had any, the middle of one box or more.

    points : (n, 3); boxes : (k, 7). Returns which points, (n,) bool, and which boxes, (k,) bool: those whose middle is
    in it. All of them where a hundred tries find no such part.
    """
    edges = np.ptp(points, axis=0)
    for _ in range(_CUBOID_TRIES):
        share = rng.uniform(*_CUBOID_EDGES, 3)
        centre = points[rng.integers(len(points))]
        if share[:2].min() < _CUBOID_FLATTEST * share[:2].max():
            continue
        reach = share * edges / 2
        inside = (np.abs(points - centre) <= reach).all(axis=1)
        kept = (np.abs(boxes[:, :3] - centre) <= reach).all(axis=1)
        if inside.sum() >= least and (kept.any() or not len(boxes)):
            return inside, kept
    return np.ones(len(points), dtype=bool), np.ones(len(boxes), dtype=bool)
