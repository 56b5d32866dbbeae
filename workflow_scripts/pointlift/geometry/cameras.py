"""Where cameras stand and how they project: one definition for renderer, visibility and every test.

Right-handed, z up in the world; a camera looks along its +z axis, x to the right, y down; image origin top left, pixel
centres at +0.5. ``world_to_camera`` acts on column vectors. Angles are radians, but for keys ending ``_degrees``.
"""

from __future__ import annotations

import numpy as np

from pointlift.contracts.rig_blocks import Cameras
from pointlift.contracts.shards import Array

_FIXED_NUM_VIEWS = {"pointmcd12": 12, "pointmcd16": 16}


def num_views(settings: Cameras) -> int:
    """Number of views V; the named layouts fix it, whatever ``settings.num_views`` says."""
    return _FIXED_NUM_VIEWS.get(settings.layout, settings.num_views)


def view_angles(settings: Cameras) -> tuple[Array, Array]:
    """Azimuth and elevation of every view, each (V,) float64 in radians.

    ``ring``: equal azimuth steps from 0 at ``elevation_degrees``. ``sphere``: Fibonacci directions.
    ``pointmcd12``: 12 azimuths 30 degrees apart at elevation +30 (the MVCNN convention). ``pointmcd16``: elevations
    +30 and -30 times 8 azimuths, elevation-major (PointMCD, arXiv 2207.03128).
    """
    count = num_views(settings)
    if settings.layout == "sphere":
        return _fibonacci_angles(count)
    if settings.layout == "pointmcd16":
        steps = np.arange(8) * (2 * np.pi / 8)
        return np.tile(steps, 2), np.repeat(np.deg2rad([30.0, -30.0]), 8)
    elevation = 30.0 if settings.layout == "pointmcd12" else settings.elevation_degrees
    return np.arange(count) * (2 * np.pi / count), np.full(count, np.deg2rad(elevation))


def _fibonacci_angles(count: int) -> tuple[Array, Array]:
    index = np.arange(count)
    azimuth = np.pi * (1 + np.sqrt(5)) * (index + 0.5)
    return np.mod(azimuth, 2 * np.pi), np.arcsin(1 - (2 * index + 1) / count)


def world_to_camera(settings: Cameras) -> Array:
    """Rigid transforms of all views, (V, 4, 4) float64. Every camera looks at the origin, upright."""
    azimuth, elevation = view_angles(settings)
    return look_at_origin(azimuth, elevation, settings.distance)


def look_at_origin(azimuth: Array, elevation: Array, distance: float) -> Array:
    """Cameras at the given angles (V,) and distance, looking at the origin: (V, 4, 4) float64.

    The axes come from the angles, not from a cross product with the up vector: a camera above the pole is as good as
    any other (its image is upright as seen from its azimuth).
    """
    azimuth, elevation = np.broadcast_arrays(np.asarray(azimuth, np.float64), np.asarray(elevation, np.float64))
    zero = np.zeros_like(azimuth)
    right = np.stack([-np.sin(azimuth), np.cos(azimuth), zero], axis=-1)
    down = np.stack(
        [np.sin(elevation) * np.cos(azimuth), np.sin(elevation) * np.sin(azimuth), -np.cos(elevation)], axis=-1
    )
    forward = np.cross(right, down)
    transform = np.zeros((*azimuth.shape, 4, 4))
    transform[..., :3, :3] = np.stack([right, down, forward], axis=-2)
    transform[..., 2, 3] = distance
    transform[..., 3, 3] = 1.0
    return transform


def camera_positions(world_to_camera: Array) -> Array:
    """Camera centres in the world, (V, 3) float64, from (V, 4, 4)."""
    transform = np.asarray(world_to_camera, dtype=np.float64)
    return -np.einsum("vji,vj->vi", transform[:, :3, :3], transform[:, :3, 3])


def intrinsics(settings: Cameras, image_size: int) -> Array:
    """Pinhole matrix (3, 3) float64 of a square image, in pixels; the field of view spans the whole image."""
    focal = image_size / 2 / np.tan(np.deg2rad(settings.field_of_view_degrees) / 2)
    return np.array([[focal, 0.0, image_size / 2], [0.0, focal, image_size / 2], [0.0, 0.0, 1.0]])


def project(points: Array, world_to_camera: Array, intrinsics: Array) -> tuple[Array, Array]:
    """Project points (N, 3) into every view.

    Returns pixels (V, N, 2) float64, x right and y down, the first pixel's centre at (0.5, 0.5), and depth (V, N)
    float64 along the camera axis. Pixels of a point beside or behind a camera (depth <= 0) are NaN.
    """
    transform = np.asarray(world_to_camera, dtype=np.float64)
    local = np.einsum("vij,nj->vni", transform[:, :3, :3], np.asarray(points, np.float64)) + transform[:, None, :3, 3]
    depth = local[..., 2]
    homogeneous = local @ np.asarray(intrinsics, dtype=np.float64).T
    divisor = np.where(depth > 0, depth, np.nan)[..., None]
    return homogeneous[..., :2] / divisor, depth


def pixel_rays(world_to_camera: Array, intrinsics: Array, image_size: int | tuple[int, int]) -> Array:
    """Directions from each camera through its pixel centres, (V, H, W, 3) float64 in the world.

    ``image_size`` is the edge of a square image, or (H, W). They are scaled to depth 1 along the camera axis, so that
    position + depth * direction is the surface point.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(intrinsics).T
    return np.einsum("vji,hwj->vhwi", np.asarray(world_to_camera, np.float64)[:, :3, :3], local)
