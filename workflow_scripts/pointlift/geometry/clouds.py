"""Point clouds without a mesh: checking, one normalisation, and taking a fixed number of points. Float64, no I/O."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.meshes import LARGEST_COORDINATE, TO_Z_UP
from pointlift.geometry.sampling import farthest_point_order


def check(cloud: PointCloud) -> PointCloud:
    """The cloud, typed; nothing is left out, for the order of the points is part of a protocol.

    Raises ``UnusableShapeError`` when a number is not finite, a coordinate is beyond ``LARGEST_COORDINATE``, normals or
    labels are not one a point, or nothing with extent is there.
    """
    points = np.asarray(cloud.points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise UnusableShapeError(f"points have the shape {points.shape}, must be (n, 3) with n > 0")
    if not np.isfinite(points).all():
        raise UnusableShapeError(f"{int((~np.isfinite(points)).any(axis=1).sum())} points are not finite")
    largest = float(np.abs(points).max())
    if largest > LARGEST_COORDINATE:
        raise UnusableShapeError(f"a coordinate is beyond {LARGEST_COORDINATE:g}")
    if float(np.linalg.norm(np.ptp(points, axis=0))) <= largest * 1e-9:
        raise UnusableShapeError("the cloud has no extent")
    normals = None if cloud.normals is None else np.asarray(cloud.normals, dtype=np.float64)
    if normals is not None and normals.shape != points.shape:
        raise UnusableShapeError(f"{len(points)} points have normals of the shape {normals.shape}")
    if normals is not None and not np.isfinite(normals).all():
        raise UnusableShapeError("a normal is not finite")
    part_label = None if cloud.part_label is None else np.asarray(cloud.part_label, dtype=np.int16)
    if part_label is not None and part_label.shape != (len(points),):
        raise UnusableShapeError(f"{len(points)} points have {part_label.size} part labels")
    return PointCloud(points, normals, part_label)


def turn_up(cloud: PointCloud, up_axis: Literal["x", "y", "z"] | None) -> PointCloud:
    """The cloud with its up axis along z; None (no common pose) leaves it as it is."""
    if up_axis not in TO_Z_UP:
        return cloud
    rotation = TO_Z_UP[up_axis]
    normals = None if cloud.normals is None else cloud.normals @ rotation.T
    return PointCloud(cloud.points @ rotation.T, normals, cloud.part_label)


def normalise(cloud: PointCloud) -> PointCloud:
    """The cloud with its bounding-box centre at the origin and its farthest point at radius 1; ``check`` it first."""
    centred = cloud.points - (cloud.points.min(axis=0) + cloud.points.max(axis=0)) / 2
    return PointCloud(centred / np.linalg.norm(centred, axis=1).max(), cloud.normals, cloud.part_label)


def take(
    cloud: PointCloud, rule: Literal["first", "random", "farthest"], count: int, rng: np.random.Generator
) -> PointCloud:
    """``count`` points of the cloud by ``rule``, with their normals and labels.

    first : the first of the file; random : without repeats, in random order; farthest : farthest point sampling from a
    random start. A cloud with fewer points gives all of them by the rule, then random repeats of its own.
    """
    held = len(cloud.points)
    kept = min(count, held)
    if rule == "first":
        order = np.arange(kept)
    elif rule == "random":
        order = rng.permutation(held)[:kept]
    else:
        order = farthest_point_order(cloud.points, kept, start=int(rng.integers(held)))
    if count > held:
        order = np.concatenate([order, rng.integers(held, size=count - held)])
    normals = None if cloud.normals is None else cloud.normals[order]
    part_label = None if cloud.part_label is None else cloud.part_label[order]
    return PointCloud(cloud.points[order], normals, part_label)
