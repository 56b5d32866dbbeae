"""Frames of procedural rooms: the cloud that a depth sensor returns from one place, with the picture taken there.

The picture is square and has its own resolution; it is taken by the same camera and as wide, so that every point of the
cloud lies in it. Its depth is exact, unlike the sensor's. The rooms are those of ``procedural_rooms``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from pointlift.contracts.dataset import Entry, PointCloud, PosedViews
from pointlift.contracts.dataset_blocks import FrameSettings
from pointlift.contracts.errors import ConfigError, UnusableShapeError
from pointlift.contracts.procedural_blocks import RoomSettings
from pointlift.datasets.depth_sensor import pinhole, see
from pointlift.datasets.made_room import make_room, stand
from pointlift.datasets.room_clouds import MadeScenes, checksum_of, cloud_of, room_ids, room_number
from pointlift.datasets.split_order import split_of_index


class Settings(RoomSettings, FrameSettings):
    """Frames of procedural rooms, each a shape of its own with one picture."""

    image_size: int = Field(default=120, ge=16, le=1024)
    """Edge of the picture in pixels."""
    listing: ClassVar[tuple[str, ...]] = ("num_rooms",)

    @model_validator(mode="after")
    def _as_wide(self) -> Settings:
        if self.sensor.height > self.sensor.width:
            raise ValueError("sensor: its height must be at most its width; the picture is square and as wide")
        return self

    def required_protocol(self) -> str:
        """Frames, their size, what is unusual of the rooms, and the points: frames/4x80x60-random4096."""
        return f"frames/{self._scan_name()}-{self._points_name()}"


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``room-<series>-<00000>-<00>``, all frames of a room, then those of the next: more rooms append."""
    del folder
    return tuple(f"{room}-{frame:02d}" for room in room_ids(settings) for frame in range(settings.num_frames))


def build(settings: Settings, folder: Path | None = None) -> ProceduralFrames:
    """Open the block; ``folder`` is not used."""
    del folder
    return ProceduralFrames(settings)


class ProceduralFrames(MadeScenes):
    """Frames made on demand; one depends on its id, ``seed`` and the settings of layout and sensor alone."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, list_ids(settings))
        self._settings = settings

    def entry(self, shape_id: str) -> Entry:
        """Split by the room's number, and the hash of cloud and picture."""
        room_id, _ = self._parse(shape_id)
        split = split_of_index(self._settings.splits, room_number(room_id, self._settings))
        try:
            cloud, views = self.load_points(shape_id), self.load_views(shape_id)
        except UnusableShapeError:
            return Entry("", split, "", "")
        return Entry("", split, "", checksum_of(cloud, [views.images, views.depth, views.world_to_camera]))

    def load_points(self, shape_id: str) -> PointCloud:
        """The points of one frame, row by row of its picture."""
        room_id, frame = self._parse(shape_id)
        return cloud_of(room_id, self._settings.seed, (frame,), self._settings)

    def load_views(self, shape_id: str) -> PosedViews:
        """The one picture of the frame."""
        room_id, frame = self._parse(shape_id)
        room = make_room(room_id, self._settings.seed, self._settings)
        size = (self._settings.image_size, self._settings.image_size)
        pose, intrinsics = stand(room, frame), pinhole(size, self._settings.sensor.field_of_view_degrees)
        seen = see(room, pose, intrinsics, size)
        return PosedViews(seen.colour[None], seen.depth[None].astype(np.float32), pose[None], intrinsics[None])

    def _parse(self, shape_id: str) -> tuple[str, int]:
        room_id, _, frame = shape_id.rpartition("-")
        room_number(room_id, self._settings)
        if len(frame) != 2 or not (frame.isascii() and frame.isdigit()) or int(frame) >= self._settings.num_frames:
            raise ConfigError(f"{shape_id!r} is no frame of this dataset; an id is e.g. {self.ids[0]}")
        return room_id, int(frame)
