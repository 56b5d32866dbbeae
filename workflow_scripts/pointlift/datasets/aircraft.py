"""Procedural aircraft: airplane and helicopter. Nose towards -y, one unit is the length of the fuselage."""

from __future__ import annotations

import numpy as np

from pointlift.datasets.assembly import Assembly, Draw
from pointlift.datasets.solids import Solid, box, lathe, mirrored, moved, rod, sphere, turned, wing


def airplane(draw: Draw) -> Assembly:
    """Fuselage, one or two pairs of wings, a tail, and engines of some kind."""
    shape = Assembly()
    radius = draw.between(0.045, 0.09)
    shape.add("fuselage", _body_along_y(draw, radius))
    span, chord, sweep = draw.between(0.3, 0.65), draw.between(0.13, 0.32), draw.between(-0.02, 0.35)
    place, height = draw.between(-0.22, 0.05), draw.choice_of(-0.7, 0.0, 0.8) * radius
    root, tip = (0.3 * radius, place, height), (span, place + sweep, height + draw.between(-0.02, 0.1))
    tip_chord = chord * draw.between(0.2, 0.9)
    _add_pair(shape, "wing", wing(root, tip, chord, tip_chord, draw.between(0.08, 0.16)))
    if draw.chance(0.2):
        rise = draw.between(0.15, 0.25)
        _add_pair(shape, "wing", moved(wing(root, tip, chord, tip_chord, 0.1), (0.0, -0.04, rise)))
        strut = rod(
            (0.6 * span, place + 0.5 * chord, height), (0.6 * span, place + 0.5 * chord, height + rise), 0.01, sides=5
        )
        _add_pair(shape, "strut", strut)
    _add_tail(shape, draw, radius)
    _add_engines(shape, draw, radius, (span, place + 0.3 * sweep, height))
    return shape


def helicopter(draw: Draw) -> Assembly:
    """A cabin under a main rotor, a tail boom with a small rotor, on skids or wheels."""
    shape = Assembly()
    wide, tall, length = draw.between(0.1, 0.18), draw.between(0.1, 0.2), draw.between(0.2, 0.36)
    cabin = sphere((wide, length, tall), (0.0, -0.15, 0.0)) if draw.chance(0.6) else _blunt_cabin(wide, length, tall)
    shape.add("fuselage", cabin)
    end, boom = draw.between(0.5, 0.75), draw.between(0.015, 0.04)
    shape.add("tail_boom", rod((0.0, 0.0, 0.3 * tall), (0.0, end, 0.4 * tall), 2 * boom, boom))
    _add_rotor(shape, draw, -0.1, tall + draw.between(0.04, 0.12), draw.between(0.4, 0.75))
    if draw.chance(0.15):
        _add_rotor(shape, draw, 0.4, tall + draw.between(0.1, 0.2), draw.between(0.35, 0.5))
    fin = draw.between(0.12, 0.25)
    shape.add("fin", wing((0.0, end - 0.1, 0.3 * tall), (0.0, end, 0.3 * tall + fin), 0.14, 0.08, 0.1))
    if draw.chance(0.6):
        _add_pair(
            shape, "tailplane", wing((0.01, end - 0.15, 0.4 * tall), (0.15, end - 0.12, 0.4 * tall), 0.08, 0.06, 0.1)
        )
    disc = turned(lathe([(draw.between(0.06, 0.12), 0.0), (0.06, 0.02)], sides=8), 1, np.pi / 2)
    shape.add("tail_rotor", moved(disc, (0.03, end, 0.5 * tall)))
    _add_undercarriage(shape, draw, wide, length, tall)
    return shape


def _body_along_y(draw: Draw, radius: float) -> Solid:
    nose, tail = draw.between(0.05, 0.5), draw.between(0.1, 0.45)
    stations = [
        (nose * 0.4, -0.5),
        (0.75, -0.44),
        (1.0, -0.34),
        (1.0, draw.between(0.0, 0.2)),
        (tail, 0.46),
        (0.4 * tail, 0.5),
    ]
    vertices, faces = lathe([(radius * share, y) for share, y in stations], sides=12, roundness=draw.between(0.5, 1.0))
    return vertices[:, [0, 2, 1]] * np.array([1.0, 1.0, 1.15]), faces[:, ::-1]


def _add_pair(shape: Assembly, part: str, solid: Solid) -> None:
    shape.add(part, solid, mirrored(solid))


def _add_tail(shape: Assembly, draw: Draw, radius: float) -> None:
    height, span, chord = draw.between(0.12, 0.24), draw.between(0.12, 0.26), draw.between(0.08, 0.14)
    style = draw.choice("plain", "plain", "t", "twin", "v")
    if style == "v":
        shape.add("fin", wing((0.0, 0.33, 0.0), (0.7 * span, 0.42, height), chord, 0.6 * chord, 0.1))
        shape.add("fin", mirrored(wing((0.0, 0.33, 0.0), (0.7 * span, 0.42, height), chord, 0.6 * chord, 0.1)))
        return
    level = height + 0.4 * radius if style == "t" else 0.0
    _add_pair(shape, "tailplane", wing((0.0, 0.36, level), (span, 0.42, level), chord, 0.6 * chord, 0.1))
    fin = wing((0.0, 0.32, 0.3 * radius), (0.0, 0.42, 0.4 * radius + height), 1.2 * chord, 0.7 * chord, 0.1)
    if style == "twin":
        _add_pair(shape, "fin", moved(fin, (0.8 * span, 0.03, -0.3 * radius)))
    else:
        shape.add("fin", fin)


def _add_engines(shape: Assembly, draw: Draw, radius: float, wing_at: tuple[float, float, float]) -> None:
    span, place, height = wing_at
    style, size = draw.choice("wing", "wing", "rear", "propeller", "none"), draw.between(0.025, 0.045)
    if style == "none":
        return
    if style == "propeller":
        shape.add("propeller", box((draw.between(0.25, 0.4), 0.01, 0.03), (0.0, -0.52, -0.015)))
        shape.add("propeller", rod((0.0, -0.54, 0.0), (0.0, -0.49, 0.0), 0.02, sides=6))
        return
    shares = (0.35, 0.65)[: draw.whole(1, 2)] if style == "wing" else (radius / span + 0.08,)
    for share in shares:
        x, y = share * span, place if style == "wing" else 0.22
        z = height - 1.3 * size if style == "wing" else 0.5 * radius
        _add_pair(shape, "engine", rod((x, y - 0.02, z), (x, y + draw.between(0.1, 0.16), z), size, 0.75 * size))


def _blunt_cabin(wide: float, length: float, tall: float) -> Solid:
    stations = [(0.5, -1.0), (0.9, -0.7), (1.0, 0.6), (0.6, 1.0)]
    vertices, faces = lathe([(share, y) for share, y in stations], sides=12, roundness=0.4)
    return vertices[:, [0, 2, 1]] * np.array([wide, length, tall]) + np.array([0.0, -0.15, 0.0]), faces[:, ::-1]


def _add_rotor(shape: Assembly, draw: Draw, y: float, z: float, reach: float) -> None:
    shape.add("mast", rod((0.0, y, 0.0), (0.0, y, z + 0.01), 0.02, sides=6))
    start, count = draw.between(0.0, np.pi), draw.whole(2, 5)
    for angle in start + 2 * np.pi * np.arange(count) / count:
        blade = turned(box((reach, draw.between(0.03, 0.06), 0.012), (reach / 2, 0.0, 0.0)), 2, float(angle))
        shape.add("rotor_blade", moved(blade, (0.0, y, z)))


def _add_undercarriage(shape: Assembly, draw: Draw, wide: float, length: float, tall: float) -> None:
    drop, x = -tall - draw.between(0.03, 0.1), 0.8 * wide
    skids = draw.chance(0.65)
    for y in (-0.15 - 0.5 * length, -0.15 + 0.5 * length):
        _add_pair(shape, "strut", rod((0.5 * x, y, -0.6 * tall), (x, y, drop), 0.01, sides=5))
        if not skids:
            _add_pair(shape, "wheel", rod((x - 0.015, y, drop), (x + 0.015, y, drop), 0.04, sides=8))
    if skids:
        _add_pair(shape, "skid", rod((x, -0.2 - length, drop), (x, -0.1 + length, drop), 0.012, sides=6))
