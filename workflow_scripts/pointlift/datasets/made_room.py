"""A made room as one mesh: what each face belongs to, its colours, its boxes, and where cameras stand in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pointlift.contracts.dataset import Boxes
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.procedural_blocks import RoomSettings
from pointlift.contracts.shards import Array
from pointlift.datasets.furnishing import FURNITURE, Item, furnish, wrapped
from pointlift.datasets.room_layout import FloorPlan, draw_plan, shell
from pointlift.geometry.cameras import look_at_origin
from pointlift.geometry.footprints import corners_of, too_near
from pointlift.geometry.meshes import Mesh, face_normals
from pointlift.geometry.rays import RayScene

_EYE = (1.35, 1.75)  # metres above the floor
_BODY = 0.3  # metres: edge of the square that somebody with a camera takes up
_NEAREST = 1.8  # metres from the camera to what it looks at, where the room allows
_TRIES = 64


@dataclass(frozen=True)
class Room:
    """A furnished room.

    plan, items : before the room is turned by ``turn`` (radians); everything else is as it stands in the end.
    vertices (v, 3), faces (f, 3), normals (f, 3); surface (f,) : which surface a face belongs to, the shell's first,
    then the items; semantic (s,) int16, instance (s,) int32, paint (s, 3) float64 in 0..1 : of every surface.
    """

    room_id: str
    seed: int
    plan: FloorPlan
    items: tuple[Item, ...]
    turn: float
    vertices: Array
    faces: Array
    normals: Array
    surface: Array
    semantic: Array
    instance: Array
    paint: Array
    rays: RayScene


def box_names(settings: RoomSettings) -> tuple[str, ...]:
    """Classes of furniture, sorted."""
    return tuple(sorted(set(settings.classes))) or FURNITURE


def semantic_names(settings: RoomSettings) -> tuple[str, ...]:
    """Classes of points: floor, wall, ceiling where there is one, the furniture, and clutter where there may be any."""
    shell_names = ("floor", "wall", *("ceiling",) * settings.ceiling)
    return (*shell_names, *box_names(settings), *("clutter",) * bool(settings.max_clutter))


@lru_cache(maxsize=1)
def make_room(room_id: str, seed: int, settings: RoomSettings) -> Room:
    """The room of an id; beside that it depends on ``seed`` and the settings of its layout alone."""

    def draws(purpose: str) -> np.random.Generator:
        return np.random.default_rng(stable_seed(room_id, seed, purpose))

    plan = draw_plan(draws("plan"))
    items = tuple(furnish(plan, room_id, seed, settings))
    turn = float(draws("turn").uniform(-np.pi, np.pi)) if settings.rotation == "up" else 0.0
    made = shell(plan, settings.ceiling)
    bodies = [*made.values(), *((item.vertices, item.faces) for item in items)]
    names = semantic_names(settings)
    semantic = [names.index(name) for name in (*made, *(item.class_name for item in items))]
    starts = np.concatenate([[0], np.cumsum([len(vertices) for vertices, _ in bodies])])
    vertices = np.concatenate([vertices for vertices, _ in bodies]) @ turned(turn).T
    faces = np.concatenate([faces + start for (_, faces), start in zip(bodies, starts, strict=False)])
    return Room(
        room_id=room_id,
        seed=seed,
        plan=plan,
        items=items,
        turn=turn,
        faces=faces,
        normals=face_normals(Mesh(vertices, faces)),
        surface=np.repeat(np.arange(len(bodies)), [len(faces) for _, faces in bodies]),
        semantic=np.array(semantic, dtype=np.int16),
        instance=np.maximum(np.arange(len(bodies)) - len(made), -1).astype(np.int32),
        paint=_paint(len(made), len(items), draws("paint")),
        rays=RayScene(vertices, faces, np.zeros(3)),
        vertices=vertices,
    )


def turned(angle: float) -> Array:
    """Rotation (3, 3) about z by ``angle``, counterclockwise from above; acts on column vectors."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _paint(shell_count: int, item_count: int, rng: np.random.Generator) -> Array:
    """Pale walls and floors, objects of any colour: it says nothing of their class."""
    return np.concatenate([rng.uniform(0.65, 0.95, (shell_count, 3)), rng.uniform(0.15, 0.95, (item_count, 3))])


def boxes_of(room: Room, seen: Array, settings: RoomSettings) -> Boxes:
    """Tight boxes of the furniture of which enough points are seen; ``seen`` (s,) counts them for every surface.

    The x of a box points out of its object's front (families have that at -y): what is mirrored with the room along x
    or y keeps it, and a heading stays one angle for one pose.
    """
    names = box_names(settings)
    shell_count = len(room.semantic) - len(room.items)
    kept = [
        item
        for number, item in enumerate(room.items)
        if item.class_name in names and seen[shell_count + number] >= settings.min_box_points
    ]
    return Boxes(
        np.array([item.centre for item in kept]).reshape(-1, 3) @ turned(room.turn).T,
        np.array([item.size for item in kept]).reshape(-1, 3)[:, [1, 0, 2]],
        np.array([wrapped(item.heading - np.pi / 2 + room.turn) for item in kept]),
        np.array([names.index(item.class_name) for item in kept], dtype=np.int16),
    )


def stand(room: Room, frame: int) -> Array:
    """Where the camera of a frame stands and looks: world_to_camera (4, 4) float64, upright.

    It stands at eye height where there is room for somebody who holds it: inside, over nothing that reaches to it, and
    looks at one of the objects (by turns, in a random order), from some way off where it can. Raises
    ``UnusableShapeError`` when the room is too full.
    """
    rng = np.random.default_rng(stable_seed(room.room_id, room.seed, "frame", frame))
    target = _target(room, frame, rng)
    places = np.column_stack([rng.uniform(-0.5, 0.5, (_TRIES, 2)) * room.plan.size, rng.uniform(*_EYE, _TRIES)])
    bodies = corners_of(places[:, :2], np.full((_TRIES, 2), _BODY), np.zeros(_TRIES))
    free = room.plan.holds(bodies, 0.0)
    for item in room.items:
        high = item.centre[2] + item.size[2] / 2 > places[:, 2] - 0.3
        free &= ~(high & too_near(bodies, item.footprint[None])[:, 0])
    if not free.any():
        raise UnusableShapeError(f"{room.room_id}: no place for a camera; allow fewer max_objects in the block")
    distance = np.where(free, np.linalg.norm(places - target, axis=1), -1.0)
    place = places[int(np.argmax(np.minimum(distance, _NEAREST)))]
    return look_at(turned(room.turn) @ place, turned(room.turn) @ target)


def _target(room: Room, frame: int, rng: np.random.Generator) -> Array:
    """A point near the middle of an object, or of the room where that holds nothing."""
    aside = rng.normal(0.0, 0.3, 3) * (1.0, 1.0, 0.5)
    if not room.items:
        return np.array([0.0, 0.0, 0.8]) + aside
    order = np.random.default_rng(stable_seed(room.room_id, room.seed, "targets")).permutation(len(room.items))
    centre: Array = room.items[order[frame % len(order)]].centre
    return centre + aside


def look_at(position: Array, target: Array) -> Array:
    """world_to_camera (4, 4) float64 of an upright camera at ``position`` (3,) that looks at ``target`` (3,)."""
    towards = position - target
    distance = float(np.linalg.norm(towards))
    transform: Array = look_at_origin(np.arctan2(towards[1], towards[0]), np.arcsin(towards[2] / distance), distance)
    transform[:3, 3] -= transform[:3, :3] @ target
    return transform
