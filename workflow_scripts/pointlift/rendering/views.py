"""A shard of meshes, or of points, turned into a shard of views."""

from __future__ import annotations

import logging
import time
from typing import Protocol

import numpy as np

from pointlift.contracts.blocks import RigSettings
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.images import pack_images
from pointlift.contracts.shards import Array, Shard
from pointlift.rendering.quality import check_views
from pointlift.rendering.surfaces import surface_of

logger = logging.getLogger(__name__)


class Renderer(Protocol):
    """What every member of this room builds. What it draws of a shape, ``surfaces.surface_of`` says."""

    world_to_camera: Array
    intrinsics: Array

    def render(self, vertices: Array, faces: Array) -> Array:
        """Images of a surface: uint8 (V, H, W, 3)."""

    def photograph(self, vertices: Array, faces: Array) -> tuple[Array, Array]:
        """Images uint8 (V, H, W, 3), and the share of their pixels that shows the mesh, (V,) float32."""

    def depth(self, vertices: Array, faces: Array) -> Array:
        """Depth at the pixel centres, background inf: float32 (V, H, W)."""

    def close(self) -> None:
        """Free what was drawn."""


def render_shapes(renderer: Renderer, settings: RigSettings, shapes: Shard) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays of a ``views`` shard, and why shapes that came in valid have no views (shape id -> reason).

    ``shapes`` is a shard of the stage ``settings.draws``.
    """
    num_views = len(renderer.world_to_camera)
    foreground = np.zeros((len(shapes.ids), num_views), dtype=np.float32)
    valid = np.zeros(len(shapes.ids), dtype=bool)
    packed: list[Array] = []
    lengths = np.zeros((len(shapes.ids), num_views), dtype=np.int64)
    quarantine: dict[str, str] = {}
    start = time.perf_counter()
    for index in np.flatnonzero(shapes["valid"]):
        try:
            surface = surface_of(settings, shapes, int(index))
            images, shares = renderer.photograph(surface.vertices, surface.faces)
            check_views(images, shares, settings)
        except UnusableShapeError as error:
            quarantine[shapes.ids[index]] = str(error)
            logger.warning("%s cannot be used: %s", shapes.ids[index], error)
            continue
        image_bytes, offsets = pack_images(images)
        packed.append(image_bytes)
        lengths[index], foreground[index], valid[index] = np.diff(offsets), shares, True
    log_rate("rendered", int(valid.sum()) * num_views, time.perf_counter() - start)
    arrays = {
        "image_bytes": np.concatenate([np.zeros(0, dtype=np.uint8), *packed]),
        "image_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "foreground": foreground,
        "world_to_camera": renderer.world_to_camera.astype(np.float32),
        "intrinsics": renderer.intrinsics.astype(np.float32),
        "valid": valid,
    }
    return arrays, quarantine


def log_rate(done: str, num_views: int, seconds: float) -> None:
    """Say how many views were done how fast."""
    logger.info("%s %d views in %.1f s (%.0f views/s)", done, num_views, seconds, num_views / max(seconds, 1e-9))
