"""What stands in a made room: procedural shapes in their real sizes, on the floor or on tables, apart from each other.

The footprint of an object is the rectangle about its whole mesh, in its own heading. No two footprints on the floor
come nearer than ``CLEARANCE``, nor two on one table: so no two objects share any space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.procedural_blocks import RoomSettings
from pointlift.contracts.shards import Array
from pointlift.datasets.assembly import Draw
from pointlift.datasets.families import FAMILIES, PART_NAMES
from pointlift.datasets.room_layout import FloorPlan
from pointlift.geometry.footprints import corners_of, too_near
from pointlift.geometry.meshes import Mesh, clean

FURNITURE = ("bed", "bench", "cabinet", "chair", "desk", "lamp", "shelf", "sofa", "stool", "table")
#: Small things, and how many metres one unit of their families is.
CLUTTER = {"bottle": 0.25, "cup": 0.12, "teapot": 0.2, "vase": 0.3}
CLEARANCE = 0.04  # metres, between any two objects and to the walls
_AGAINST_WALLS = ("bed", "bench", "cabinet", "desk", "shelf", "sofa")
_LIKELY = {"chair": 3.0, "table": 1.5, "bed": 0.7}  # the others: 1
_TRIES = 40
_PLATE = 0.68  # of its edges: the rectangle that fits into the roundest of table tops

Place = tuple[Array, float]  # centre (2,) on the floor, heading
Propose = Callable[[Array, np.random.Generator], Place]  # a place for a footprint of this size (2,)


@dataclass(frozen=True)
class Item:
    """One object where it stands.

    family : the procedural family; class_name : of its box and points; vertices (v, 3) and faces (f, 3) in the room;
    centre (3,), size (3,), heading : the tight upright box about it, turned as it is; top : (3,) of the plate to put
    things on (width, depth, height), None where it has none; plate : centre (2,) of that plate.
    """

    family: str
    class_name: str
    vertices: Array
    faces: Array
    centre: Array
    size: Array
    heading: float
    top: Array | None
    plate: Array

    @property
    def footprint(self) -> Array:
        """Corners on the floor, (4, 2)."""
        corners: Array = corners_of(self.centre[None, :2], self.size[None, :2], np.array([self.heading]))[0]
        return corners


def furnish(plan: FloorPlan, room_id: str, seed: int, settings: RoomSettings) -> list[Item]:
    """Everything that stands in a room; what finds no free place is left out. Depends on id, seed and layout alone."""
    rng = np.random.default_rng(stable_seed(room_id, seed, "furniture"))
    items: list[Item] = []
    for number, family in enumerate(_wanted(plan, settings, rng)):
        shape = _shape(family, 1.0, stable_seed(room_id, seed, "object", number))
        _put_down(shape, 0.0, plan, items, rng)
    supports = [item for item in items if item.top is not None]
    for number, support in enumerate(supports):
        own = np.random.default_rng(stable_seed(room_id, seed, "clutter", number))
        items += _clutter(support, int(own.integers(settings.max_clutter + 1)), own)
    return items


def _wanted(plan: FloorPlan, settings: RoomSettings, rng: np.random.Generator) -> list[str]:
    """Families to place, what belongs to walls first: large pieces find their places before small ones."""
    names = tuple(sorted(set(settings.classes))) or FURNITURE
    count = int(np.clip(round(plan.area * rng.uniform(0.4, 0.8)), 3, None))
    weights = np.array([_LIKELY.get(name, 1.0) for name in names])
    drawn = [names[index] for index in rng.choice(len(names), size=count, p=weights / weights.sum())]
    order = (*_AGAINST_WALLS, "table", "chair", "stool", "lamp")
    return sorted(drawn[: settings.max_objects], key=order.index)


@dataclass(frozen=True)
class _Shape:
    """A shape in its own axes, its lowest vertex at height 0 and the middle of its footprint at the origin."""

    family: str
    vertices: Array
    faces: Array
    size: Array
    top: Array | None
    plate: Array


def _shape(family: str, scale: float, seed: int) -> _Shape:
    part_index = {name.partition("/")[2]: i for i, name in enumerate(PART_NAMES) if name.startswith(f"{family}/")}
    mesh = clean(Mesh(*FAMILIES[family](Draw(np.random.default_rng(seed))).arrays(part_index)))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    vertices = (mesh.vertices - [*(low + high)[:2] / 2, low[2]]) * scale
    size = (high - low) * scale
    top, plate = None, np.zeros(2)
    if family in ("table", "desk"):
        assert mesh.part_label is not None  # noqa: S101
        board = vertices[np.unique(mesh.faces[mesh.part_label == part_index["top"]])]
        least, most = board.min(axis=0), board.max(axis=0)
        if most[2] >= size[2]:  # a desk may have shelves above its plate: nothing is put there
            top, plate = np.array([*(most - least)[:2], most[2]]), (most + least)[:2] / 2
    return _Shape(family, vertices, mesh.faces, size, top, plate)


def _placed(shape: _Shape, class_name: str, place: Place, height: float) -> Item:
    (centre, heading), turn = place, _turn(place[1])
    vertices = shape.vertices.copy()
    vertices[:, :2] = vertices[:, :2] @ turn.T + centre
    vertices[:, 2] += height
    middle = np.array([*centre, height + shape.size[2] / 2])
    plate = turn @ shape.plate + centre
    return Item(shape.family, class_name, vertices, shape.faces, middle, shape.size, heading, shape.top, plate)


def _turn(heading: float) -> Array:
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.array([[cosine, -sine], [sine, cosine]])


def _put_down(shape: _Shape, height: float, plan: FloorPlan, items: list[Item], rng: np.random.Generator) -> None:
    """Place the shape where it is free and add it to ``items``, or leave it."""
    others = np.array([item.footprint for item in items]).reshape(-1, 4, 2)
    place = _first_free(
        shape.size[:2], _proposal(shape, plan, items, rng), lambda f: plan.holds(f, CLEARANCE), others, rng
    )
    if place is not None:
        items.append(_placed(shape, shape.family, place, height))


def _first_free(
    size: Array, propose: Propose, allowed: Callable[[Array], Array], others: Array, rng: np.random.Generator
) -> Place | None:
    """The first of some proposed places that is allowed and clear of the footprints of others (m, 4, 2)."""
    places = [propose(size, rng) for _ in range(_TRIES)]
    centres, headings = np.array([place[0] for place in places]), np.array([place[1] for place in places])
    footprints = corners_of(centres, np.broadcast_to(size, (_TRIES, 2)), headings)
    free = allowed(footprints) & ~too_near(footprints, others, CLEARANCE).any(axis=1)
    return places[int(np.argmax(free))] if free.any() else None


def _proposal(shape: _Shape, plan: FloorPlan, items: Sequence[Item], rng: np.random.Generator) -> Propose:
    if shape.family in _AGAINST_WALLS and rng.uniform() < 0.85:
        return lambda size, draws: _against_a_wall(plan, size, draws)
    tables = [item for item in items if item.family in ("table", "desk")]
    if shape.family in ("chair", "stool") and tables and rng.uniform() < 0.7:
        return lambda size, draws: _at_a_table(tables, size, draws)
    return lambda _, draws: _in_the_open(plan, draws)


def _against_a_wall(plan: FloorPlan, size: Array, rng: np.random.Generator) -> Place:
    """With its back (+y) to a wall, at any place along it; longer walls are likelier."""
    start = plan.outline
    edge = np.roll(start, -1, axis=0) - start
    length = np.linalg.norm(edge, axis=1)
    wall = int(rng.choice(len(length), p=length / length.sum()))
    along = edge[wall] / length[wall]
    inward = np.array([-along[1], along[0]])
    where = rng.uniform(size[0] / 2, max(length[wall] - size[0] / 2, size[0] / 2))
    away = size[1] / 2 + rng.uniform(1.01 * CLEARANCE, 2.5 * CLEARANCE)
    return start[wall] + where * along + away * inward, float(np.arctan2(inward[0], -inward[1]))


def _in_the_open(plan: FloorPlan, rng: np.random.Generator) -> Place:
    """Anywhere; most often along the walls."""
    centre = rng.uniform(-0.5, 0.5, 2) * plan.size
    heading = rng.integers(4) * np.pi / 2 if rng.uniform() < 0.7 else rng.uniform(0.0, 2 * np.pi)
    return centre, wrapped(heading)


def _at_a_table(tables: Sequence[Item], size: Array, rng: np.random.Generator) -> Place:
    """Drawn up to a side of a table (the front of a desk) and facing it, not quite straight."""
    table = tables[int(rng.integers(len(tables)))]
    side = 0 if table.family == "desk" else int(rng.integers(4))
    heading = table.heading + side * np.pi / 2 + np.pi
    reach, wide = (table.size[1], table.size[0]) if side % 2 == 0 else (table.size[0], table.size[1])
    away = reach / 2 + size[1] / 2 + rng.uniform(CLEARANCE, 0.25)
    across = rng.uniform(-0.4, 0.4) * wide
    centre = table.centre[:2] + _turn(heading) @ np.array([across, away])
    return centre, wrapped(heading + rng.uniform(-0.15, 0.15))


def wrapped(angle: float) -> float:
    """The angle within plus or minus pi."""
    return float(np.arctan2(np.sin(angle), np.cos(angle)))


def _clutter(support: Item, count: int, rng: np.random.Generator) -> list[Item]:
    """Small things on a table, within its plate and apart from each other."""
    assert support.top is not None  # noqa: S101
    half, height = _PLATE * support.top[:2] / 2, float(support.top[2])
    turn = _turn(support.heading)
    things: list[Item] = []
    for _ in range(count):
        family = sorted(CLUTTER)[int(rng.integers(len(CLUTTER)))]
        shape = _shape(family, CLUTTER[family], int(rng.integers(2**63)))

        def on_the_plate(footprints: Array) -> Array:
            local = (footprints - support.plate) @ turn
            held: Array = (np.abs(local) <= half).all(axis=(1, 2))
            return held

        def somewhere(_: Array, draws: np.random.Generator) -> Place:
            return support.plate + turn @ draws.uniform(-half, half), wrapped(draws.uniform(0.0, 2 * np.pi))

        others = np.array([thing.footprint for thing in things]).reshape(-1, 4, 2)
        place = _first_free(shape.size[:2], somewhere, on_the_plate, others, rng)
        if place is not None:
            things.append(_placed(shape, "clutter", place, height))
    return things
