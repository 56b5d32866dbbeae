"""Closed bodies out of which procedural shapes are put together.

Every body is a ``Solid``: vertices (v, 3) float64 and faces (f, 3) int64, counter-clockwise seen from outside. x is
width, y depth, z up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointlift.contracts.shards import Array

Solid = tuple[Array, Array]
Point = Sequence[float]


def loft(rings: Array, capped: bool = True) -> Solid:
    """A skin over closed rings (k, s, 3), with or without caps; rings run counter-clockwise seen from the last one."""
    count, sides, _ = rings.shape
    index = np.arange(count * sides).reshape(count, sides)
    ahead = np.roll(index, -1, axis=1)
    lower, upper, lower_ahead, upper_ahead = index[:-1], index[1:], ahead[:-1], ahead[1:]
    skin = [np.stack(corner, axis=-1).reshape(-1, 3) for corner in (
        (lower, lower_ahead, upper_ahead), (lower, upper_ahead, upper))]  # fmt: skip
    if not capped:
        return rings.reshape(-1, 3), np.concatenate(skin)
    start, end = np.full(sides, count * sides), np.full(sides, count * sides + 1)
    caps = [np.stack([start, ahead[0], index[0]], axis=-1), np.stack([end, index[-1], ahead[-1]], axis=-1)]
    vertices = np.concatenate([rings.reshape(-1, 3), rings[[0, -1]].mean(axis=1)])
    return vertices, np.concatenate([*skin, *caps])


def tapered_box(bottom: Point, top: Point, low: Point, high: Point) -> Solid:
    """A box whose bottom (width, depth) about point ``low`` goes over into its top about point ``high``."""
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    rings = [_flat(square * np.asarray(size), centre) for size, centre in ((bottom, low), (top, high))]
    return loft(np.stack(rings))


def box(size: Point, bottom_centre: Point) -> Solid:
    """A box of (width, depth, height) that stands with the centre of its bottom on a point."""
    x, y, z = bottom_centre
    return tapered_box(size[:2], size[:2], (x, y, z), (x, y, z + size[2]))


def slab(outline: Array, low: float, high: float, centre: Point = (0.0, 0.0), spread: float = 1.0) -> Solid:
    """An outline (s, 2), counter-clockwise, raised from ``low`` to ``high``; ``spread`` scales it at the top."""
    return loft(np.stack([_flat(outline, (*centre, low)), _flat(outline * spread, (*centre, high))]))


def outline(width: float, depth: float, roundness: float, sides: int = 16) -> Array:
    """A superellipse (sides, 2): roundness 1 is an ellipse, towards 0 a rectangle."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    bent = np.sign(circle) * np.abs(circle) ** max(roundness, 0.05)
    return bent * (np.array([width, depth]) / 2)


def rod(start: Point, end: Point, radius: float, end_radius: float | None = None, sides: int = 8) -> Solid:
    """A round bar between two points, its radius going over into ``end_radius``."""
    first, last = np.asarray(start, float), np.asarray(end, float)
    radii = (radius, radius if end_radius is None else end_radius)
    across, along = _frame(last - first)
    return loft(np.stack([_circle(centre, across, along, size, sides) for centre, size in zip(
        (first, last), radii, strict=True)]))  # fmt: skip


def tube(path: Array, radius: float, plane_normal: Point, sides: int = 6) -> Solid:
    """A round bar along a path (k, 3) that lies in one plane."""
    tangent = np.gradient(path, axis=0)
    if np.allclose(path[0], path[-1]):
        tangent[[0, -1]] = path[1] - path[-2]
    across = np.asarray(plane_normal, float)
    rings = []
    for centre, direction in zip(path, tangent, strict=True):
        along = np.cross(direction, across)
        rings.append(_circle(centre, across, along / np.linalg.norm(along), radius, sides))
    return _outward(loft(np.stack(rings), capped=not np.allclose(path[0], path[-1])))


def torus(radius: float, thickness: float, height: float, sides: int = 16) -> Solid:
    """A lying ring about the z axis."""
    angle = 2 * np.pi * np.arange(sides + 1) / sides
    path = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full_like(angle, height)], axis=-1)
    return tube(path, thickness, (0.0, 0.0, 1.0))


def lathe(profile: Sequence[Point], sides: int = 16, roundness: float = 1.0, centre: Point = (0.0, 0.0)) -> Solid:
    """A profile of (radius, height) points turned about z.

    Going down again on the inside makes it hollow; a profile that ends where it began is a ring.
    """
    unit = outline(2.0, 2.0, roundness, sides)
    rings = [_flat(unit * max(radius, 1e-3), (*centre, height)) for radius, height in profile]
    return loft(np.stack(rings), capped=tuple(profile[0]) != tuple(profile[-1]))


def sphere(radius: Point, centre: Point, rings: int = 6, sides: int = 10) -> Solid:
    """An ellipsoid with half axes ``radius`` (3,)."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    vertices, faces = lathe([(float(np.cos(a)), float(np.sin(a))) for a in angle], sides)
    return vertices * np.asarray(radius) + np.asarray(centre), faces


def curved_panel(size: Point, bottom_centre: Point, bend: float = 0.0, lean: float = 0.0, steps: int = 6) -> Solid:
    """An upright panel of (width, thickness, height).

    Its sides come forward (-y) by ``bend``, its top leans back by ``lean``.
    """
    width, thickness, height = size
    position = np.linspace(-0.5, 0.5, steps + 1 if bend else 2)
    section = np.array([[-0.5 * thickness, 0.0], [0.5 * thickness, 0.0],
                        [0.5 * thickness + lean, height], [-0.5 * thickness + lean, height]])  # fmt: skip
    rings = np.zeros((len(position), 4, 3))
    rings[:, :, 0] = width * position[:, None]
    rings[:, :, 1] = section[:, 0] - bend * (2 * position[:, None]) ** 2
    rings[:, :, 2] = section[:, 1]
    return loft(rings + np.asarray(bottom_centre, float))


def wing(root: Point, tip: Point, root_chord: float, tip_chord: float, thickness: float) -> Solid:
    """A wing from its root to its tip, chord along y; root and tip are points of the leading edge."""
    section = np.array([[0.0, 0.0], [0.3, -0.5], [1.0, 0.0], [0.3, 0.5]])
    span = np.asarray(tip, float) - np.asarray(root, float)
    upright = abs(span[2]) > abs(span[0])
    rings = []
    for start, chord in ((root, root_chord), (tip, tip_chord)):
        ring = np.zeros((4, 3))
        ring[:, 1] = section[:, 0] * chord
        ring[:, 0 if upright else 2] = section[:, 1] * thickness * chord
        rings.append(ring + np.asarray(start, float))
    return _outward(loft(np.stack(rings)))


def moved(solid: Solid, offset: Point) -> Solid:
    """The solid, shifted."""
    return solid[0] + np.asarray(offset, float), solid[1]


def turned(solid: Solid, axis: int, angle: float) -> Solid:
    """The solid, turned about a coordinate axis through the origin by an angle in radians."""
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    vertices = solid[0].copy()
    cosine, sine = np.cos(angle), np.sin(angle)
    vertices[:, first] = cosine * solid[0][:, first] - sine * solid[0][:, second]
    vertices[:, second] = sine * solid[0][:, first] + cosine * solid[0][:, second]
    return vertices, solid[1]


def mirrored(solid: Solid) -> Solid:
    """The solid seen in a mirror at x = 0, its faces still looking outward."""
    return solid[0] * np.array([-1.0, 1.0, 1.0]), solid[1][:, ::-1]


def volume(solid: Solid) -> float:
    """Signed volume; positive when the faces look outward."""
    corners = solid[0][solid[1]]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def _outward(solid: Solid) -> Solid:
    return solid if volume(moved(solid, -solid[0].mean(axis=0))) > 0 else (solid[0], solid[1][:, ::-1])


def _flat(outline_2d: Array, centre: Point) -> Array:
    x, y, z = centre
    return np.column_stack([outline_2d[:, 0] + x, outline_2d[:, 1] + y, np.full(len(outline_2d), z)])


def _frame(axis: Array) -> tuple[Array, Array]:
    axis = axis / np.linalg.norm(axis)
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    across = np.cross(axis, helper)
    across /= np.linalg.norm(across)
    return across, np.cross(axis, across)


def _circle(centre: Array, across: Array, along: Array, radius: float, sides: int) -> Array:
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    return centre + radius * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * along)
