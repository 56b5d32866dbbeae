"""A shard of points turned into a shard of what every camera of a rig sees of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache

import numpy as np

from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.contracts.rig_blocks import CameraRigSettings
from pointlift.contracts.shards import Array, Shard
from pointlift.geometry import cameras, visibility
from pointlift.rendering.surfaces import cloud_of, normals_of, surface_of
from pointlift.rendering.views import Renderer, log_rate

logger = logging.getLogger(__name__)


def see_shapes(
    settings: CameraRigSettings, shapes: Shard, points: Shard, make_renderer: Callable[[], Renderer]
) -> dict[str, Array]:
    """Arrays of a ``visibility`` shard; ``shapes`` are of the stage ``settings.draws``.

    ``make_renderer`` is called only when the method needs depth images. A shape without a surface is not valid.
    """
    if shapes.ids != points.ids:
        raise ArtifactError(
            f"the {settings.draws} and the points are not of the same shapes; run snakemake to make both anew"
        )
    valid: Array = shapes["valid"] & points["valid"]
    counts = np.where(valid, np.diff(points["point_offsets"]), 0).astype(np.int64)
    num_points = common_count(counts[valid])
    matrices = cameras.world_to_camera(settings.cameras)
    visible = np.zeros((len(points.ids), len(matrices), -(-num_points // 8)), dtype=np.uint8)
    see = _seeing(settings, shapes, points, make_renderer)
    start = time.perf_counter()
    for index in np.flatnonzero(valid):
        try:
            visible[index] = np.packbits(see(int(index)), axis=-1)
        except UnusableShapeError as error:
            logger.warning("%s cannot be used: %s", points.ids[index], error)
            valid[index], counts[index] = False, 0
    log_rate("saw points of", int(valid.sum()) * len(matrices), time.perf_counter() - start)
    return {"visible": visible, "num_points": counts, "valid": valid}


def common_count(counts: Array) -> int:
    """The one number of points that all shapes have; 0 when there are none."""
    if len(set(counts.tolist())) > 1:
        raise ArtifactError(f"shapes of one dataset have the same number of points, not {sorted(set(counts.tolist()))}")
    return int(counts[0]) if len(counts) else 0


def _seeing(
    settings: CameraRigSettings, shapes: Shard, points: Shard, make_renderer: Callable[[], Renderer]
) -> Callable[[int], Array]:
    """A function that says by the rig's method which points of a shape each camera sees: (V, N) bool."""
    chosen = settings.visibility
    positions = cameras.camera_positions(cameras.world_to_camera(settings.cameras))
    renderer = cache(make_renderer)

    def by_rays(index: int) -> Array:
        places, _ = cloud_of(settings, points, index)
        surface = surface_of(settings, shapes, index)
        return visibility.visible_by_rays(surface.vertices, surface.faces, places, positions, chosen.tolerance)

    def by_z_buffer(index: int) -> Array:
        places, given = cloud_of(settings, points, index)
        normals = normals_of(settings, places, given)
        surface = surface_of(settings, shapes, index)
        depth = renderer().depth(surface.vertices, surface.faces)
        return visibility.visible_by_z_buffer(
            places, normals, depth, renderer().world_to_camera, renderer().intrinsics, chosen.tolerance
        )

    def by_hidden_points(index: int) -> Array:
        places, _ = cloud_of(settings, points, index)
        return visibility.visible_by_hidden_points(places, positions, chosen.radius_factor)

    return {"rays": by_rays, "z_buffer": by_z_buffer, "hidden_points": by_hidden_points}[chosen.method]
