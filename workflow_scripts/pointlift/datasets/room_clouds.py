"""Clouds of made rooms: which room and frame an id names, and the labelled points that frames of it give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.procedural_blocks import RoomSettings
from pointlift.contracts.shards import Array
from pointlift.datasets.depth_sensor import Frame, pinhole, returned, see
from pointlift.datasets.made_room import Room, box_names, boxes_of, make_room, semantic_names, stand


def room_ids(settings: RoomSettings) -> tuple[str, ...]:
    """Ids ``room-<series>-<00000>``: more rooms append."""
    return tuple(f"room-{settings.series}-{index:05d}" for index in range(settings.num_rooms))


def room_number(room_id: str, settings: RoomSettings) -> int:
    """The number in a room's id. Raises ``ConfigError`` for an id that is none of this series."""
    series, number = room_id[:-6], room_id[-5:]
    if series != f"room-{settings.series}" or room_id[-6:-5] != "-" or not (number.isascii() and number.isdigit()):
        raise ConfigError(f"{room_id!r} is no room of this dataset (series {settings.series})")
    return int(number)


@lru_cache(maxsize=2)
def cloud_of(room_id: str, seed: int, frames: tuple[int, ...], settings: RoomSettings) -> PointCloud:
    """What the sensor returns in these frames of a room, one after another, with labels and boxes."""
    room = make_room(room_id, seed, settings)
    seen = [sensed(room, frame, settings) for frame in frames]
    surface = np.concatenate([frame.surface[np.isfinite(frame.depth)] for frame in seen])
    colour = np.concatenate([frame.colour[np.isfinite(frame.depth)] for frame in seen])
    return PointCloud(
        np.concatenate([frame.points for frame in seen]),
        colour=colour if settings.colour else None,
        semantic_label=room.semantic[surface],
        instance_label=room.instance[surface],
        boxes=boxes_of(room, np.bincount(surface, minlength=len(room.semantic)), settings),
    )


def sensed(room: Room, frame: int, settings: RoomSettings) -> Frame:
    """Frame number ``frame`` of a room as the sensor returns it."""
    sensor = settings.sensor
    size = (sensor.height, sensor.width)
    perfect = see(room, stand(room, frame), pinhole(size, sensor.field_of_view_degrees), size)
    rng = np.random.default_rng(stable_seed(room.room_id, room.seed, "sensor", frame))
    return returned(perfect, sensor, rng)


def attributes_of(settings: RoomSettings) -> tuple[str, ...]:
    """What the points of a block have beside their places."""
    return ("colour",) * settings.colour + ("semantic_label", "instance_label")


def checksum_of(cloud: PointCloud, others: Sequence[Array] = ()) -> str:
    """sha256 of a cloud's arrays and of others (pictures)."""
    arrays = [cloud.points.astype("<f8"), cloud.colour, cloud.semantic_label, cloud.instance_label, *others]
    if cloud.boxes is not None:
        arrays += [cloud.boxes.centre, cloud.boxes.size, cloud.boxes.heading, cloud.boxes.label]
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class MadeScenes:
    """What sets of made rooms and of their frames have in common, opened."""

    licence = "MIT"
    source = "made by pointlift"
    up_axis: Literal["z"] = "z"
    class_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()

    def __init__(self, settings: RoomSettings, ids: tuple[str, ...]) -> None:
        self.ids = ids
        self.semantic_names, self.box_names = semantic_names(settings), box_names(settings)
        self.point_attributes = attributes_of(settings)
