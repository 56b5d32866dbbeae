"""Procedural rooms: furniture on a floor between walls, seen by a depth sensor from a few places. Needs no file.

Procedural shapes stand in their real sizes on the floor, along the walls, at tables; small ones on tables; none shares
space with another. The scene is all that the sensor returns in ``num_frames`` pictures: objects hide each other and
their own far sides, as in a real scan. Metres, z up, the floor at 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import SceneSettings
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.procedural_blocks import RoomSettings
from pointlift.datasets.room_clouds import MadeScenes, checksum_of, cloud_of, room_ids, room_number
from pointlift.datasets.split_order import split_of_index


class Settings(RoomSettings, SceneSettings):
    """A set of procedural rooms; a scene is the union of what is seen in all frames of one room."""

    shard_size: int = Field(default=64, ge=1, le=4096)
    listing: ClassVar[tuple[str, ...]] = ("num_rooms",)

    def required_protocol(self) -> str:
        """Frames, their size, what is unusual of the rooms, and the points: rooms/4x80x60-all."""
        return f"rooms/{self._scan_name()}-{self._points_name()}"


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``room-<series>-<00000>``: more rooms append."""
    del folder
    return room_ids(settings)


def build(settings: Settings, folder: Path | None = None) -> ProceduralRooms:
    """Open the block; ``folder`` is not used."""
    del folder
    return ProceduralRooms(settings)


class ProceduralRooms(MadeScenes):
    """Rooms made on demand; one depends on its id, ``seed`` and the settings of layout and sensor alone."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, list_ids(settings))
        self._settings = settings

    def entry(self, shape_id: str) -> Entry:
        """Split by the room's number, and the hash of the scene's arrays."""
        split = split_of_index(self._settings.splits, room_number(shape_id, self._settings))
        try:
            return Entry("", split, "", checksum_of(self.load_points(shape_id)))
        except UnusableShapeError:
            return Entry("", split, "", "")

    def load_points(self, shape_id: str) -> PointCloud:
        """All points of all frames, frame by frame, row by row of its picture."""
        room_number(shape_id, self._settings)
        frames = tuple(range(self._settings.num_frames))
        return cloud_of(shape_id, self._settings.seed, frames, self._settings)
