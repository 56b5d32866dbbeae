"""Pictures with poses: what they must be, their square middle, and which points they show. Pure numpy, no I/O."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.dataset import PosedViews
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.geometry.cameras import project

_RIGID = 1e-3  # largest error of a rotation's products: poses are written with few digits


def check(views: PosedViews) -> PosedViews:
    """The views, typed. Raises ``UnusableShapeError`` for shapes that do not fit together, poses that are not rigid,
    intrinsics without a focal length, and depth that is NaN or not in front of the camera.
    """
    images, depth = np.asarray(views.images), np.asarray(views.depth, dtype=np.float32)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or 0 in images.shape:
        raise UnusableShapeError(f"pictures are {images.dtype} of the shape {images.shape}, must be uint8 (V, H, W, 3)")
    count = len(images)
    wanted = {"depth": images.shape[:3], "world_to_camera": (count, 4, 4), "intrinsics": (count, 3, 3)}
    for name, shape in wanted.items():
        if getattr(views, name).shape != shape:
            raise UnusableShapeError(f"{name} has the shape {getattr(views, name).shape}, must be {shape}")
    if np.isnan(depth).any() or (depth <= 0).any():
        raise UnusableShapeError("depth: a value is NaN or not in front of the camera; where there is none it is inf")
    transform, pinhole = (np.asarray(each, dtype=np.float64) for each in (views.world_to_camera, views.intrinsics))
    require_rigid(transform)
    require_pinhole(pinhole)
    return PosedViews(images, depth, transform, pinhole)


def require_rigid(transforms: Array) -> None:
    """Raise ``UnusableShapeError`` unless all of (V, 4, 4) are finite, and turn and move without anything else."""
    if not np.isfinite(transforms).all():
        raise UnusableShapeError("its pose is not finite: the camera was lost in this frame")
    rotation = transforms[:, :3, :3]
    products = rotation @ rotation.transpose(0, 2, 1)
    turned = np.abs(products - np.eye(3)).max(initial=0.0) <= _RIGID and (np.linalg.det(rotation) > 0).all()
    if not turned or np.abs(transforms[:, 3] - [0, 0, 0, 1]).max(initial=0.0) > _RIGID:
        raise UnusableShapeError("its pose is no rotation and translation")


def require_pinhole(matrices: Array) -> None:
    """Raise ``UnusableShapeError`` unless all of (V, 3, 3) are those of pinhole cameras: so they have an inverse."""
    focal, below = matrices[:, [0, 1], [0, 1]], matrices[:, [1, 2, 2], [0, 0, 1]]
    if not np.isfinite(matrices).all() or not (focal > 0).all() or below.any() or not (matrices[:, 2, 2] == 1).all():
        raise UnusableShapeError(
            "intrinsics are no pinhole camera: they are finite numbers f s x, 0 g y, 0 0 1 with f and g above 0"
        )


def centre_square(views: PosedViews) -> PosedViews:
    """The largest square in the middle of every picture, cut along whole pixels, and the cameras that see just that."""
    height, width = views.images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    inside = np.s_[:, top : top + side, left : left + side]
    pinhole = views.intrinsics.copy()
    pinhole[:, :2, 2] -= [left, top]
    return PosedViews(views.images[inside], views.depth[inside], views.world_to_camera, pinhole)


def scaled(intrinsics: Array, scale: float) -> Array:
    """Pinhole matrices (V, 3, 3) of the same pictures made ``scale`` times as large: pixel x becomes scale * x."""
    return np.asarray(np.diag([scale, scale, 1.0]) @ intrinsics)


def visible_on_depth(points: Array, views: PosedViews, tolerance: float) -> Array:
    """Whether each point (N, 3) lies on the depth map of each view, (V, N) bool.

    It is seen where it projects into the picture, and its depth and that of the pixel it falls into differ by at most
    ``tolerance``. A pixel without a measurement shows nothing. Unlike ``visibility.visible_by_z_buffer`` this needs no
    normals: the pixels are those the cloud came from.
    """
    height, width = views.depth.shape[1:]
    visible = np.zeros((len(views.depth), len(points)), dtype=bool)
    for view, image in enumerate(views.depth):
        pixels, depth = project(points, views.world_to_camera[view : view + 1], views.intrinsics[view])
        with np.errstate(invalid="ignore"):
            inside = ((pixels[0] >= 0) & (pixels[0] < (width, height))).all(axis=1)
        column, row = np.floor(pixels[0, inside]).astype(np.int64).T
        visible[view, inside] = np.abs(depth[0, inside] - image[row, column]) <= tolerance
    return visible
