"""A shard of meshes, or of points, turned into a shard of views."""

from __future__ import annotations

import logging
import time
from typing import Protocol

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.images import pack_images
from pointlift.contracts.rig_blocks import CameraRigSettings
from pointlift.contracts.shards import Array, Shard
from pointlift.rendering.part_maps import part_attributes
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

    def part_maps(self, vertices: Array, faces: Array, part_label: Array) -> Array:
        """Part of the nearest face at the pixel centres, of labels (f,); 255 where there is none: uint8 (V, H, W)."""

    def close(self) -> None:
        """Free what was drawn."""


def render_shapes(
    renderer: Renderer, settings: CameraRigSettings, shapes: Shard
) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays of a ``views`` shard, and why shapes that came in valid have no views (shape id -> reason).

    ``shapes`` is a shard of the stage ``settings.draws``. Raises ``ArtifactError`` when the rig asks for part maps and
    the shapes have no named parts.
    """
    part_attributes(settings, shapes)
    num_views = len(renderer.world_to_camera)
    foreground = np.zeros((len(shapes.ids), num_views), dtype=np.float32)
    valid = np.zeros(len(shapes.ids), dtype=bool)
    names = ("image", "part_map") if settings.part_maps else ("image",)
    files = {name: PictureFiles(len(shapes.ids), num_views) for name in names}
    quarantine: dict[str, str] = {}
    start = time.perf_counter()
    for index in np.flatnonzero(shapes["valid"]):
        try:
            pictures, shares = _photograph(renderer, settings, shapes, int(index))
        except UnusableShapeError as error:
            quarantine[shapes.ids[index]] = str(error)
            logger.warning("%s cannot be used: %s", shapes.ids[index], error)
            continue
        for name, kept in files.items():
            kept.add(int(index), pictures[name])
        foreground[index], valid[index] = shares, True
    log_rate("rendered", int(valid.sum()) * num_views, time.perf_counter() - start)
    arrays = {
        **{f"{name}_{key}": array for name, kept in files.items() for key, array in kept.arrays().items()},
        "foreground": foreground,
        "world_to_camera": renderer.world_to_camera.astype(np.float32),
        "intrinsics": renderer.intrinsics.astype(np.float32),
        "valid": valid,
    }
    return arrays, quarantine


def _photograph(
    renderer: Renderer, settings: CameraRigSettings, shapes: Shard, index: int
) -> tuple[dict[str, Array], Array]:
    """One shape's ``image`` (V, H, W, 3) and, where the rig has them, ``part_map`` (V, H, W); shares (V,)."""
    surface = surface_of(settings, shapes, index)
    images, shares = renderer.photograph(surface.vertices, surface.faces)
    check_views(images, shares, settings)
    if not settings.part_maps or surface.part_label is None:
        return {"image": images}, shares
    maps = renderer.part_maps(surface.vertices, surface.faces, surface.part_label)
    return {"image": images, "part_map": maps}, shares


class PictureFiles:
    """Pictures of the shapes of a shard as files, V of each; empty ones where none are added."""

    def __init__(self, num_shapes: int, num_views: int) -> None:
        self._packed: list[Array] = []
        self._lengths = np.zeros((num_shapes, num_views), dtype=np.int64)

    def add(self, index: int, pictures: Array) -> None:
        """``pictures`` (V, H, W, 3) or (V, H, W), of the shapes in ascending order."""
        file_bytes, offsets = pack_images(pictures)
        self._packed.append(file_bytes)
        self._lengths[index] = np.diff(offsets)

    def arrays(self) -> dict[str, Array]:
        """``bytes`` and ``offsets``."""
        offsets = np.concatenate([[0], np.cumsum(self._lengths)]).astype(np.int64)
        return {"bytes": np.concatenate([np.zeros(0, dtype=np.uint8), *self._packed]), "offsets": offsets}


def log_rate(done: str, num_views: int, seconds: float) -> None:
    """Say how many views were done how fast."""
    logger.info("%s %d views in %.1f s (%.0f views/s)", done, num_views, seconds, num_views / max(seconds, 1e-9))
