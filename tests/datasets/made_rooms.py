"""Opening made rooms for tests, and an empty one whose every depth is known in closed form."""

import numpy as np

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.datasets import made_room


def opened(kind="procedural_rooms", **changes):
    block = {"kind": kind, "protocol": "test/one", "series": "a", "num_rooms": 6, **changes}
    return rooms.load("datasets", kind).build(parse(rooms.settings_class("datasets", kind), block, "block"))


def room_of(dataset, number):
    return made_room.make_room(f"room-a-{number:05d}", dataset._settings.seed, dataset._settings)


def empty_room(monkeypatch, **changes):
    """An unfurnished rectangular room; ``make_room`` itself is not asked, for it remembers the last room."""
    monkeypatch.setattr(made_room, "furnish", lambda *_: [])
    settings = opened(**changes)._settings
    for number in range(20):
        room = made_room.make_room.__wrapped__(f"room-a-{number:05d}", 0, settings)
        if not room.plan.notch.any():
            return room
    raise AssertionError("all of 20 rooms are L-shaped")


def depth_in_closed_form(room, frame, ceiling=False):
    """Where the rays of a frame leave the box that the room is: depth, and floor 0, wall 1, ceiling 2 or none -1."""
    position, rays = frame.position, frame.rays
    with np.errstate(divide="ignore"):
        across = ((np.sign(rays[..., :2]) * room.plan.size / 2 - position[:2]) / rays[..., :2]).min(axis=-1)
        down = np.where(rays[..., 2] < 0, -position[2] / rays[..., 2], np.inf)
        up = np.where(rays[..., 2] > 0, (room.plan.height - position[2]) / rays[..., 2], np.inf)
    depth = np.minimum(np.minimum(across, down), up)
    which = np.where(depth == up, 2 if ceiling else -1, np.where(depth == down, 0, 1))
    return np.where(which < 0, np.inf, depth), which
