"""Point clouds without a mesh: checking, one normalisation, and taking a fixed number of points. Float64, no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from pointlift.contracts.dataset import Boxes, PointCloud
from pointlift.contracts.dataset_blocks import PointOrder
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.contracts.stages import POINT_ATTRIBUTES
from pointlift.geometry.meshes import LARGEST_COORDINATE, TO_Z_UP, bounds
from pointlift.geometry.sampling import farthest_point_order, stored_order


def check(cloud: PointCloud) -> PointCloud:
    """The cloud, typed; nothing is left out, for the order of the points is part of a protocol.

    Raises ``UnusableShapeError`` when a number is not finite, a coordinate is beyond ``LARGEST_COORDINATE``, an
    attribute is not one row a point, a box has no size, or nothing with extent is there.
    """
    points = np.asarray(cloud.points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise UnusableShapeError(f"points have the shape {points.shape}, must be (n, 3) with n > 0")
    low, high = bounds(points)
    if not np.isfinite([low, high]).all():
        raise UnusableShapeError(f"{int((~np.isfinite(points)).any(axis=1).sum())} points are not finite")
    largest = float(np.abs([low, high]).max())
    if largest > LARGEST_COORDINATE:
        raise UnusableShapeError(f"a coordinate is beyond {LARGEST_COORDINATE:g}")
    if float(np.linalg.norm(high - low)) <= largest * 1e-9:
        raise UnusableShapeError("the cloud has no extent")
    checked = {name: _checked(name, value, len(points)) for name, value in attributes(cloud).items()}
    return PointCloud(points, **checked, boxes=None if cloud.boxes is None else _checked_boxes(cloud.boxes))


def attributes(cloud: PointCloud) -> dict[str, Array]:
    """The attributes that the cloud has, by name; those it lacks are left out."""
    found = {name: getattr(cloud, name) for name in POINT_ATTRIBUTES}
    return {name: value for name, value in found.items() if value is not None}


def _checked(name: str, value: Array, count: int) -> Array:
    """One attribute with its type (normals stay float64). Raises ``UnusableShapeError``."""
    spec, told = POINT_ATTRIBUTES[name], name.replace("_", " ")
    if value.shape != (count, *spec.axes[1:]):
        raise UnusableShapeError(f"{count} points have {told} of the shape {value.shape}")
    wanted = np.dtype(np.float64 if name == "normals" else spec.dtype)
    if wanted.kind == "f":
        with np.errstate(over="ignore"):  # beyond what is stored a number is infinite
            finite = np.isfinite(value.astype(spec.dtype))
        if not finite.all():
            raise UnusableShapeError(f"{told}: a value is not finite, or too large for {spec.dtype}")
        return value.astype(wanted, copy=False)
    limits = np.iinfo(wanted)
    if not ((value >= limits.min) & (value <= limits.max)).all():
        raise UnusableShapeError(f"{told}: a value is not within {limits.min} to {limits.max}")
    return value.astype(wanted, copy=False)


def _checked_boxes(boxes: Boxes) -> Boxes:
    count = len(boxes.centre)
    shapes = [boxes.centre.shape, boxes.size.shape, boxes.heading.shape, boxes.label.shape]
    if shapes != [(count, 3), (count, 3), (count,), (count,)]:
        raise UnusableShapeError(f"boxes have arrays of the shapes {shapes}")
    numbers = np.column_stack([boxes.centre, boxes.size, boxes.heading]).astype(np.float64)
    if not np.isfinite(numbers).all() or not (np.abs(numbers) <= LARGEST_COORDINATE).all():
        raise UnusableShapeError(f"a number of a box is not finite, or beyond {LARGEST_COORDINATE:g}")
    if not (numbers[:, 3:6] > 0).all():
        raise UnusableShapeError("a box has no size")
    return Boxes(numbers[:, :3], numbers[:, 3:6], numbers[:, 6], boxes.label.astype(np.int16))


def turn_up(cloud: PointCloud, up_axis: Literal["x", "y", "z"] | None) -> PointCloud:
    """The cloud with its up axis along z; None (no common pose) leaves it as it is. Boxes stay: scenes are z up."""
    if up_axis not in TO_Z_UP:
        return cloud
    rotation = TO_Z_UP[up_axis]
    normals = None if cloud.normals is None else cloud.normals @ rotation.T
    return replace(cloud, points=cloud.points @ rotation.T, normals=normals)


def normalise(cloud: PointCloud) -> PointCloud:
    """The cloud with its bounding-box centre at the origin and its farthest point at radius 1; ``check`` it first."""
    low, high = bounds(cloud.points)
    centre = (low + high) / 2
    radius = np.linalg.norm(cloud.points - centre, axis=1).max()
    moved = replace(cloud, points=(cloud.points - centre) / radius)
    if cloud.boxes is None:
        return moved
    boxes = replace(cloud.boxes, centre=(cloud.boxes.centre - centre) / radius, size=cloud.boxes.size / radius)
    return replace(moved, boxes=boxes)


def take(
    cloud: PointCloud, rule: Literal["all", "first", "random", "farthest"], count: int, rng: np.random.Generator
) -> PointCloud:
    """``count`` points of the cloud by ``rule``, with their attributes.

    all : every point, whatever ``count``; first : the first of the file; random : without repeats, in random order;
    farthest : farthest point sampling from a random start. A cloud with fewer points gives all of them by the rule,
    then random repeats of its own.
    """
    if rule == "all":
        return cloud
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
    return _rows(cloud, order)


def arrange(cloud: PointCloud, rule: PointOrder) -> PointCloud:
    """The cloud in the order of ``sampling.stored_order``, of its coordinates as they are stored (float32)."""
    return cloud if rule == "sampled" else _rows(cloud, stored_order(cloud.points.astype(np.float32), rule))


def _rows(cloud: PointCloud, order: Array) -> PointCloud:
    """These points of the cloud, with their attributes."""
    taken: dict[str, Any] = {name: value[order] for name, value in attributes(cloud).items()}
    return replace(cloud, points=cloud.points[order], **taken)
