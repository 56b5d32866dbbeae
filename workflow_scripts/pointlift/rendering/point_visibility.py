"""A shard of points turned into a shard of what every camera of a rig sees of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from pointlift.contracts.blocks import RigSettings
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import unpack
from pointlift.geometry import cameras, visibility
from pointlift.geometry.meshes import meshes_of
from pointlift.rendering.views import Renderer, log_rate

_Surface = tuple[Array, Array]  # vertices, faces
_Cloud = tuple[Array, Array]  # points, normals (empty where the method needs none)


def see_shapes(
    settings: RigSettings, meshes: Shard, points: Shard, make_renderer: Callable[[], Renderer]
) -> dict[str, Array]:
    """Arrays of a ``visibility`` shard. ``make_renderer`` is called only when the method needs depth images."""
    if meshes.ids != points.ids:
        raise ArtifactError("the meshes and the points are not of the same shapes; run snakemake to make both anew")
    valid: Array = meshes["valid"] & points["valid"]
    counts = np.where(valid, np.diff(points["point_offsets"]), 0).astype(np.int64)
    num_points = _common(counts[valid])
    matrices = cameras.world_to_camera(settings.cameras)
    visible = np.zeros((len(points.ids), len(matrices), -(-num_points // 8)), dtype=np.uint8)
    normals = _normals(settings, points)
    see = _seeing(settings, matrices, make_renderer)
    clouds = unpack(points["points"], points["point_offsets"])
    start = time.perf_counter()
    for index, mesh in enumerate(meshes_of(meshes)):
        if valid[index]:
            visible[index] = np.packbits(see((mesh.vertices, mesh.faces), (clouds[index], normals[index])), axis=-1)
    log_rate("saw points of", int(valid.sum()) * len(matrices), time.perf_counter() - start)
    return {"visible": visible, "num_points": counts, "valid": valid}


def _normals(settings: RigSettings, points: Shard) -> list[Array]:
    if "normals" in points.arrays:
        return unpack(points["normals"], points["point_offsets"])
    if settings.visibility.method == "z_buffer":
        raise ArtifactError("visibility by z_buffer needs points with normals; name rays or hidden_points in the rig")
    return [np.zeros((0, 3), np.float32)] * len(points.ids)


def _common(counts: Array) -> int:
    """The one number of points that all shapes have; 0 when there are none."""
    if len(set(counts.tolist())) > 1:
        raise ArtifactError(f"shapes of one dataset have the same number of points, not {sorted(set(counts.tolist()))}")
    return int(counts[0]) if len(counts) else 0


def _seeing(
    settings: RigSettings, matrices: Array, make_renderer: Callable[[], Renderer]
) -> Callable[[_Surface, _Cloud], Array]:
    """A function that says by the rig's method which points each camera sees: (V, N) bool."""
    chosen = settings.visibility
    if chosen.method == "z_buffer":
        renderer = make_renderer()
        matrices, pinhole = renderer.world_to_camera, renderer.intrinsics
        return lambda mesh, cloud: visibility.visible_by_z_buffer(
            *cloud, renderer.depth(*mesh), matrices, pinhole, chosen.tolerance
        )
    positions = cameras.camera_positions(matrices)
    if chosen.method == "rays":
        return lambda mesh, cloud: visibility.visible_by_rays(*mesh, cloud[0], positions, chosen.tolerance)
    return lambda _, cloud: visibility.visible_by_hidden_points(cloud[0], positions, chosen.radius_factor)
