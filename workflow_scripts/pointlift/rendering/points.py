"""Renderer ``points``: pictures of clouds, every point a small disc, lit as meshes are or grey by depth.

For datasets that have no meshes, and as a control for those that have. ``surfaces`` makes the discs, ``mesh`` draws.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import model_validator

from pointlift.contracts.rig_blocks import LitRigSettings, PointRigSettings
from pointlift.contracts.shards import Array
from pointlift.rendering import mesh

_DEEPEST = 0.8  # how far from the grey of the nearest the grey of the farthest is; the background's is 1
_LIT = tuple(name for name in LitRigSettings.model_fields if name not in ("kind", "visibility"))


class Settings(PointRigSettings):
    """A rig that photographs points."""

    kind: Literal["points"]
    picture: Literal["splats", "depth"] = "splats"
    """splats: discs lit as meshes are. depth: grey by depth along the camera axis, unlit. The word stands in the name
    of every run and teacher that learns from such pictures."""
    near: Literal["dark", "bright"] = "dark"
    """Of depth pictures: dark on a white background, or bright on a black one (the same picture, inverted)."""

    def image_source(self) -> str:
        """The picture's own word."""
        return self.picture

    @model_validator(mode="after")
    def _of_one_kind(self) -> Settings:
        for key in ("albedo", "ambient", "lights") if self.picture == "depth" else ("near",):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} changes nothing in a picture of {self.picture}; leave it out")
        return self


class PointRenderer:
    """Photographs one cloud after another, as discs; conventions of ``mesh.MeshRenderer``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        shared = {name: getattr(settings, name) for name in _LIT}
        self._drawing = mesh.build(mesh.Settings(kind="mesh", **shared))
        self.world_to_camera = self._drawing.world_to_camera
        self.intrinsics = self._drawing.intrinsics

    def render(self, vertices: Array, faces: Array) -> Array:
        """Photograph discs, vertices (v, 3) and faces (f, 3): uint8 (V, H, W, 3).

        Raises ``UnusableShapeError`` as ``MeshRenderer.render`` does.
        """
        return self.photograph(vertices, faces)[0]

    def photograph(self, vertices: Array, faces: Array) -> tuple[Array, Array]:
        """As ``render``, with the share of pixels that show the cloud: (V, H, W, 3) uint8 and (V,) float32."""
        if self.settings.picture == "splats":
            return self._drawing.photograph(vertices, faces)
        depth = self.depth(vertices, faces)
        images = depth_pictures(depth, self.settings.cameras.distance, self.settings.near)
        return images, np.isfinite(depth).mean(axis=(1, 2), dtype=np.float32)

    def depth(self, vertices: Array, faces: Array) -> Array:
        """Depth along the camera axis at the pixel centres: float32 (V, H, W), background inf."""
        return self._drawing.depth(vertices, faces)

    def part_maps(self, vertices: Array, faces: Array, part_label: Array) -> Array:
        """Part of the nearest disc at every pixel centre: uint8 (V, H, W), see ``MeshRenderer.part_maps``."""
        return self._drawing.part_maps(vertices, faces, part_label)

    def close(self) -> None:
        """Free what was drawn."""
        self._drawing.close()


def build(settings: Settings) -> PointRenderer:
    """Make the renderer. Raises ``MachineError`` where there is no OpenGL, or torch is imported."""
    return PointRenderer(settings)


def depth_pictures(depth: Array, distance: float, near: Literal["dark", "bright"]) -> Array:
    """Grey pictures uint8 (V, H, W, 3) of depth (V, H, W) with background inf, seen from ``distance``.

    One scale for all: from the nearest depth that the unit sphere has (0) to its farthest (0.8 of the way to the
    background's grey), so that two pictures can be compared. dark: black is nearest, white the background.
    """
    share = np.clip((np.asarray(depth, dtype=np.float64) - (distance - 1.0)) / 2.0, 0.0, 1.0)
    grey = np.where(np.isfinite(depth), _DEEPEST * share, 1.0)
    if near == "bright":
        grey = 1.0 - grey
    return np.repeat(np.round(255 * grey).astype(np.uint8)[..., None], 3, axis=-1)
