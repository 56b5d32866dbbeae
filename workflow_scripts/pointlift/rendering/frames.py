"""Rig ``frames``: it draws nothing. Its pictures are those that come with the clouds of a dataset, cut square.

A point is seen where it lies on the depth map of the picture; poses belong to the shapes, not to the rig.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from pointlift.contracts.dataset import PosedViews
from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.contracts.rig_blocks import RigSettings
from pointlift.contracts.shards import Array, Shard
from pointlift.geometry import posed_views
from pointlift.rendering.point_visibility import common_count
from pointlift.rendering.quality import check_views
from pointlift.rendering.views import PictureFiles, log_rate

logger = logging.getLogger(__name__)


class Settings(RigSettings):
    """A rig that reads the pictures of a dataset of posed frames: their middle square, made ``image_size`` large."""

    kind: Literal["frames"]
    tolerance: float = Field(default=0.05, gt=0.0, le=1.0)
    """A point is seen whose depth differs by at most this from that of its pixel, in metres."""
    draws: ClassVar[Literal["meshes", "points"]] = "points"
    reads_frames: ClassVar[bool] = True

    def image_source(self) -> str:
        """Pictures of meshes are not meant."""
        return "frames"


@dataclass(frozen=True)
class _Frame:
    """The pictures of one cloud as the rig keeps them, and what they show of it (V, N) bool."""

    images: Array
    foreground: Array
    world_to_camera: Array
    intrinsics: Array
    visible: Array


@dataclass(frozen=True)
class FrameShards:
    """Arrays of a ``views`` and a ``visibility`` shard, and why clouds that came in valid have none."""

    views: dict[str, Array]
    visibility: dict[str, Array]
    quarantine: dict[str, str]


class FrameReader:
    """Takes the pictures of one cloud after another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def read(self, load: Callable[[str], PosedViews], points: Shard) -> FrameShards:
        """The pictures of every valid cloud of a ``points`` shard; ``load`` gives those of one by its id.

        Raises ``ArtifactError`` for clouds of different numbers of points or pictures.
        """
        counts = np.where(points["valid"], np.diff(points["point_offsets"]), 0).astype(np.int64)
        common_count(counts[points["valid"]])
        frames: dict[int, _Frame] = {}
        quarantine: dict[str, str] = {}
        start = time.perf_counter()
        for index in np.flatnonzero(points["valid"]).tolist():
            own = slice(*points["point_offsets"][index : index + 2])
            try:
                frames[index] = self.take(load(points.ids[index]), points["points"][own])
            except UnusableShapeError as error:
                logger.warning("%s cannot be used: %s", points.ids[index], error)
                quarantine[points.ids[index]] = str(error)
        log_rate("read", sum(len(frame.images) for frame in frames.values()), time.perf_counter() - start)
        views, visibility = _arrays(points, counts, frames)
        return FrameShards(views, visibility, quarantine)

    def take(self, views: PosedViews, cloud: Array) -> _Frame:
        """The square middles of some pictures, in the rig's size, and what they show of a cloud (N, 3).

        Depth is compared before the pictures are made smaller. Raises ``UnusableShapeError``.
        """
        square = posed_views.centre_square(posed_views.check(views))
        size = self.settings.image_size
        images = np.stack([_resized(image, size) for image in square.images])
        foreground = np.isfinite(square.depth).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
        check_views(images, foreground, self.settings)
        visible = posed_views.visible_on_depth(cloud, square, self.settings.tolerance)
        if not visible.any(axis=1).all():
            raise UnusableShapeError("a picture shows none of its points; their poses do not belong together")
        pinhole = posed_views.scaled(square.intrinsics, size / square.images.shape[1])
        return _Frame(images, foreground, square.world_to_camera, pinhole, visible)


def build(settings: Settings) -> FrameReader:
    """A reader of pictures with these settings."""
    return FrameReader(settings)


def _resized(image: Array, size: int) -> Array:
    """A square picture (h, h, 3) uint8 in another size; Pillow smooths what it makes smaller."""
    if len(image) == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _arrays(points: Shard, counts: Array, frames: dict[int, _Frame]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Arrays of both shards; empty rows and zeros for the clouds without pictures."""
    num_shapes, num_views = len(points.ids), _num_views(points, frames)
    valid = np.zeros(num_shapes, dtype=bool)
    valid[list(frames)] = True
    files = PictureFiles(num_shapes, num_views)
    views = {
        "foreground": np.zeros((num_shapes, num_views), dtype=np.float32),
        "posed_world_to_camera": np.zeros((num_shapes, num_views, 4, 4), dtype=np.float32),
        "posed_intrinsics": np.zeros((num_shapes, num_views, 3, 3), dtype=np.float32),
    }
    visible = np.zeros((num_shapes, num_views, -(-int(counts[valid].max(initial=0)) // 8)), dtype=np.uint8)
    for index, frame in frames.items():
        files.add(index, frame.images)
        views["foreground"][index] = frame.foreground
        views["posed_world_to_camera"][index] = frame.world_to_camera
        views["posed_intrinsics"][index] = frame.intrinsics
        visible[index] = np.packbits(frame.visible, axis=-1)
    pictures = {f"image_{key}": array for key, array in files.arrays().items()}
    seen = {"visible": visible, "num_points": np.where(valid, counts, 0), "valid": valid}
    return {**pictures, **views, "valid": valid}, seen


def _num_views(points: Shard, frames: dict[int, _Frame]) -> int:
    """The one number of pictures that all clouds have; 1 where none has any."""
    found = {len(frame.images): points.ids[index] for index, frame in frames.items()}
    if len(found) > 1:
        told = ", ".join(f"{name} {count}" for count, name in found.items())
        raise ArtifactError(f"clouds of one dataset come with the same number of pictures, not {told}")
    return next(iter(found), 1)
