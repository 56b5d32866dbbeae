"""Which points a camera sees: by rays against the mesh, by a z-buffer, or from the points alone.

Surfaces are two-sided throughout, as they are drawn: a sheet without thickness shows its points to both sides.
"""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.geometry.cameras import camera_positions as _positions
from pointlift.geometry.cameras import pixel_rays
from pointlift.geometry.rays import RayScene

_LEAST_OFFSET = 1e-5  # of the scene's size: a ray must leave its own face, in float32
_STEEPEST = 8.0  # change of depth per pixel of a tangent plane, in pixel widths at the point's depth


def visible_by_rays(vertices: Array, faces: Array, points: Array, camera_positions: Array, tolerance: float) -> Array:
    """Whether the segment from each point to each camera is free, (V, N) bool; the reference of the three methods.

    vertices (v, 3), faces (f, 3), points (N, 3) on the surface, camera_positions (V, 3). A surface that stands more
    than ``tolerance`` (length) in front of the point, along the ray, hides it; nearer ones, its own face among them,
    do not. Embree works in float32: the scene is moved to the origin first, so that far-off meshes lose nothing.
    """
    centre, extent = _frame(vertices)
    scene = RayScene(vertices, faces, centre)
    points = np.asarray(points, dtype=np.float64) - centre
    offset = max(tolerance, _LEAST_OFFSET * extent)
    visible = np.empty((len(camera_positions), len(points)), dtype=bool)
    for view, position in enumerate(np.asarray(camera_positions, dtype=np.float64) - centre):
        towards = position - points
        distance = np.linalg.norm(towards, axis=1)
        direction = towards / np.maximum(distance, np.finfo(np.float64).tiny)[:, None]
        reach = np.maximum(distance - offset, 0.0)
        visible[view] = ~scene.blocked(points + offset * direction, direction, reach)
    return visible


def depth_by_rays(vertices: Array, faces: Array, world_to_camera: Array, intrinsics: Array, image_size: int) -> Array:
    """Depth along the camera axis at every pixel centre, (V, H, W) float32, background inf: what a renderer must give.

    world_to_camera (V, 4, 4), intrinsics (3, 3).
    """
    centre, _ = _frame(vertices)
    scene = RayScene(vertices, faces, centre)
    rays = pixel_rays(world_to_camera, intrinsics, image_size)
    depth = np.empty(rays.shape[:3], dtype=np.float32)
    for view, position in enumerate(_positions(world_to_camera) - centre):
        direction = rays[view].reshape(-1, 3)
        distance, _ = scene.first_hits(np.broadcast_to(position, direction.shape), direction)
        depth[view] = distance.reshape(depth.shape[1:])
    return depth


def _frame(vertices: Array) -> tuple[Array, float]:
    low, high = np.min(vertices, axis=0).astype(np.float64), np.max(vertices, axis=0).astype(np.float64)
    return (low + high) / 2, float(np.linalg.norm(high - low))


def visible_by_z_buffer(  # noqa: PLR0917
    points: Array, normals: Array, depth: Array, world_to_camera: Array, intrinsics: Array, tolerance: float
) -> Array:
    """Whether each point lies on the depth map of each view, (V, N) bool.

    points (N, 3), normals (N, 3) of either sign, depth (V, H, W) along the camera axis at pixel centres with background
    inf, world_to_camera (V, 4, 4), intrinsics (3, 3). The tangent plane of the point tells the depth it would show at
    the four pixel centres around it; where at least two of them are not nearer than that by more than ``tolerance``,
    the point is seen. A background pixel or one outside the image does not speak for the point.
    """
    transform = np.asarray(world_to_camera, dtype=np.float64)
    visible = np.empty((len(depth), len(points)), dtype=bool)
    for view, image in enumerate(depth):
        rotation, shift = transform[view, :3, :3], transform[view, :3, 3]
        local = np.asarray(points, dtype=np.float64) @ rotation.T + shift
        visible[view] = _on_depth_map(local, np.asarray(normals, np.float64) @ rotation.T, image, intrinsics, tolerance)
    return visible


def _on_depth_map(local: Array, normals: Array, image: Array, intrinsics: Array, tolerance: float) -> Array:
    height, width = image.shape
    in_front = local[:, 2] > 0
    homogeneous = np.where(in_front[:, None], local, [0.0, 0.0, 1.0]) @ intrinsics.T
    corner = np.floor(homogeneous[:, :2] / homogeneous[:, 2:] - 0.5)
    votes = np.zeros(len(local), dtype=np.int64)
    for step in ((0, 0), (1, 0), (0, 1), (1, 1)):
        pixel = corner + step
        inside = ((pixel >= 0) & (pixel < (width, height))).all(axis=1) & in_front
        column, row = np.where(inside[:, None], pixel, 0).astype(np.int64).T
        shown = image[row, column]
        expected = _tangent_plane_depth(local, normals, pixel + 0.5, intrinsics)
        votes += inside & np.isfinite(shown) & (expected - shown <= tolerance)
    return votes >= 2


def _tangent_plane_depth(local: Array, normals: Array, pixels: Array, intrinsics: Array) -> Array:
    """Depth at ``pixels`` of the plane through each point; a grazing plane is held within a few pixels' width."""
    rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(intrinsics).T
    slope = (normals * rays).sum(axis=1)
    distance = (normals * local).sum(axis=1)
    plane = np.divide(distance, slope, out=local[:, 2].copy(), where=np.abs(slope) > 1e-9)
    most = _STEEPEST * np.abs(local[:, 2]) / intrinsics[0, 0]
    return np.clip(plane, local[:, 2] - most, local[:, 2] + most)


def visible_by_hidden_points(points: Array, camera_positions: Array, radius_factor: float) -> Array:
    """Hidden point removal, (V, N) bool: visibility of a point set that has no surface.

    Katz, Tal, Basri, "Direct visibility of point sets", SIGGRAPH 2007: points are flipped through a sphere of radius
    ``radius_factor`` times the largest distance around the camera; those on the convex hull of the flipped points and
    the camera are seen. points (N, 3), camera_positions (V, 3); float64; unchanged by moving, turning and scaling all
    together. Points at one place share one answer.
    """
    places, place = np.unique(np.asarray(points, dtype=np.float64), axis=0, return_inverse=True)
    visible = np.empty((len(camera_positions), len(points)), dtype=bool)
    for view, position in enumerate(np.asarray(camera_positions, dtype=np.float64)):
        visible[view] = _on_flipped_hull(places - position, radius_factor)[place.reshape(-1)]
    return visible


def _on_flipped_hull(towards: Array, radius_factor: float) -> Array:
    from scipy.spatial import ConvexHull, QhullError

    if len(towards) < 4:
        return np.ones(len(towards), dtype=bool)
    distance = np.linalg.norm(towards, axis=1)
    unit = distance / distance.max()
    direction = towards / np.maximum(distance, np.finfo(np.float64).tiny)[:, None]
    flipped = direction * (2 * radius_factor - unit)[:, None]
    cloud = np.vstack([flipped, np.zeros(3)])
    try:
        hull = ConvexHull(cloud)
    except QhullError:  # the camera lies in the plane of all points
        hull = ConvexHull(cloud, qhull_options="QJ")
    visible = np.zeros(len(cloud), dtype=bool)
    visible[hull.vertices] = True
    return visible[:-1]
