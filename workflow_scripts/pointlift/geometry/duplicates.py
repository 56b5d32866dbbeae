"""Shapes that stand twice: found by geometry, whatever their place, pose, mirror image, unit and triangulation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.shards import Array
from pointlift.geometry.descriptors import shape_descriptor

DEFAULT_THRESHOLD = 0.09
_CANDIDATE_DISTANCE = 0.15  # L1 between descriptors; copies sampled anew lie well below it
_SIMILAR_SPREAD = 1.10  # principal axes whose spreads differ by less than this ratio may have changed places
_COARSE_POINTS = 128
_FINE_POINTS = 384
_KEPT_FRAMES = 3
_ITERATIONS = 12


def near_duplicates(
    points_a: Sequence[Array], points_b: Sequence[Array], threshold: float = DEFAULT_THRESHOLD
) -> list[tuple[int, int, float]]:
    """Pairs (index_a, index_b, chamfer) of shapes nearer than ``threshold``, sorted by index.

    points_a, points_b : point sets (n, 3) sampled from surfaces, n may differ. Candidates are pairs with similar
    ``shape_descriptor``; their chamfer distance is the least that turning, mirroring, moving and scaling one onto the
    other finds (``aligned_chamfer``), in root mean square radii of the shape.
    """
    if not len(points_a) or not len(points_b):
        return []
    poses_a, poses_b = [_pose(points) for points in points_a], [_pose(points) for points in points_b]
    descriptors_b = np.stack([_descriptor(points) for points in points_b])
    found = []
    for index_a, points in enumerate(points_a):
        apart = cdist(_descriptor(points)[None], descriptors_b, "cityblock")[0]
        for index_b in np.flatnonzero(apart < _CANDIDATE_DISTANCE):
            chamfer = _aligned_chamfer(poses_a[index_a], poses_b[index_b], give_up_above=2 * threshold)
            if chamfer < threshold:
                found.append((index_a, int(index_b), chamfer))
    return found


def aligned_chamfer(points_a: Array, points_b: Array) -> float:
    """Chamfer distance after the best similarity or mirror similarity found, in root mean square radii.

    Mean of the two mean nearest-neighbour distances. Both shapes are brought to their principal axes; every sign and
    every exchange of axes with like spreads is tried (with turns between them where axes are not determined), and the
    best few are refined by iterated closest points in both directions (Besl, McKay 1992; scale as Umeyama 1991).
    """
    return _aligned_chamfer(_pose(points_a), _pose(points_b), give_up_above=np.inf)


@dataclass(frozen=True)
class _Pose:
    """Points (n, 3) with mean 0 and root mean square radius 1 along their principal axes; spreads (3,) descending."""

    points: Array
    spreads: Array
    tree: cKDTree


def _descriptor(points: Array) -> Array:
    return shape_descriptor(points, np.random.default_rng(stable_seed("near_duplicates")))


def _pose(points: Array) -> _Pose:
    centred = np.asarray(points, dtype=np.float64) - np.mean(points, axis=0, dtype=np.float64)
    radius = np.sqrt((centred**2).sum(axis=1).mean())
    _, spreads, axes = np.linalg.svd(centred / (radius if radius > 0 else 1.0), full_matrices=False)
    moved = centred @ axes.T / (radius if radius > 0 else 1.0)
    return _Pose(moved, spreads / np.sqrt(len(points)), cKDTree(moved))


def _aligned_chamfer(first: _Pose, second: _Pose, give_up_above: float) -> float:
    frames = _frames(first.spreads, second.spreads)
    sample = _evenly(first.points, _COARSE_POINTS)
    turned = np.einsum("fij,nj->fni", frames, sample)
    coarse = second.tree.query(turned.reshape(-1, 3))[0].reshape(len(frames), -1).mean(axis=1)
    best = np.argsort(coarse, kind="stable")[:_KEPT_FRAMES]
    if coarse[best[0]] > give_up_above:
        return float(coarse[best[0]])
    return min(_refined_chamfer(first, second, frames[frame]) for frame in best)


def _frames(spreads_a: Array, spreads_b: Array) -> Array:
    """Orthogonal matrices (F, 3, 3) that may take the principal axes of one shape to those of its copy."""
    signs = [np.diag(sign) for sign in itertools.product((1.0, -1.0), repeat=3)]
    exchanges = [
        np.eye(3)[list(order)]
        for order in itertools.permutations(range(3))
        if order == (0, 1, 2) or _similar(spreads_a[list(order)], spreads_b)
    ]
    base = np.array([sign @ exchange for exchange in exchanges for sign in signs])
    turns = _turns(np.sqrt(spreads_a * spreads_b))
    return np.einsum("fij,tjk->ftik", base, turns).reshape(-1, 3, 3)


def _similar(first: Array, second: Array) -> bool:
    return bool((np.maximum(first, second) <= _SIMILAR_SPREAD * np.minimum(first, second)).all())


def _turns(spreads: Array) -> Array:
    """Rotations between the exchanges of axes: of principal axes with like spreads only the plane is determined."""
    upper, lower = spreads[0] <= _SIMILAR_SPREAD * spreads[1], spreads[1] <= _SIMILAR_SPREAD * spreads[2]
    if upper and lower:
        return _ALL_TURNS
    if upper or lower:
        return Rotation.from_euler("z" if upper else "x", np.arange(6) * 15, degrees=True).as_matrix()
    return np.eye(3)[None]


_ALL_TURNS = Rotation.from_euler("xyz", list(itertools.product((0, 30, 60), repeat=3)), degrees=True).as_matrix()


def _refined_chamfer(first: _Pose, second: _Pose, frame: Array) -> float:
    linear, shift = frame, np.zeros(3)
    sample_a, sample_b = _evenly(first.points, _FINE_POINTS), _evenly(second.points, _FINE_POINTS)
    for _ in range(_ITERATIONS):
        onto_b = second.points[second.tree.query(sample_a @ linear.T + shift)[1]]
        onto_a = first.points[first.tree.query((sample_b - shift) @ np.linalg.inv(linear).T)[1]]
        linear, shift = _similarity(np.vstack([sample_a, onto_a]), np.vstack([onto_b, sample_b]))
    forth = second.tree.query(first.points @ linear.T + shift)[0].mean()
    back = cKDTree(first.points @ linear.T + shift).query(second.points)[0].mean()
    return float(forth + back) / 2


def _similarity(source: Array, target: Array) -> tuple[Array, Array]:
    """Least-squares scaled orthogonal map, mirror images allowed (Umeyama 1991): target = source @ linear.T + shift."""
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    centred = source - mean_source
    left, strength, right = np.linalg.svd((target - mean_target).T @ centred)
    linear = left @ right * (strength.sum() / (centred**2).sum())
    return linear, mean_target - linear @ mean_source


def _evenly(points: Array, count: int) -> Array:
    return points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(np.int64)]
