"""Procedural vessels: cup, teapot, bottle, vase."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.datasets.assembly import Assembly, Draw
from pointlift.datasets.solids import lathe, outline, rod, slab, sphere, tube

Profile = list[tuple[float, float]]


def cup(draw: Draw) -> Assembly:
    """An open vessel to drink from, mug to goblet; most with a handle, some with a saucer."""
    shape = Assembly()
    radius, height = draw.between(0.3, 0.5), draw.between(0.45, 1.3)
    low, flare, belly = 0.0, draw.between(0.65, 1.25), draw.between(0.9, 1.2)
    if draw.chance(0.25):
        low = draw.between(0.2, 0.6)
        shape.add(
            "stem",
            lathe([(0.8 * radius, 0.0), (0.12 * radius, 0.06), (0.12 * radius, low), (0.4 * radius, low + 0.02)]),
        )
    elif draw.chance(0.3):
        shape.add("saucer", lathe([(radius, 0.0), (1.7 * radius, 0.1), (1.7 * radius, 0.12), (0.9 * radius, 0.05)]))
        low = 0.04
    skin = [(radius / flare, low), (radius * belly, low + 0.4 * height), (radius * flare, low + height)]
    _add_hollow(shape, draw, skin)
    for side in _handle_sides(draw, none=0.2, both=0.15):
        _add_ear(shape, draw, skin, side)
    return shape


def teapot(draw: Draw) -> Assembly:
    """A closed vessel with a spout, a handle and most often a lid with a knob."""
    shape = Assembly()
    radius, height = draw.between(0.35, 0.55), draw.between(0.4, 1.1)
    skin = [
        (draw.between(0.6, 1.0) * radius, 0.0),
        (draw.between(0.95, 1.2) * radius, 0.35 * height),
        (radius * draw.between(0.6, 1.0), 0.8 * height),
        (draw.between(0.25, 0.5) * radius, height),
    ]
    shape.add("body", lathe(skin, roundness=_roundness(draw)))
    if draw.chance(0.8):
        rim = skin[-1][0]
        shape.add("lid", lathe([(1.1 * rim, height), (0.8 * rim, height + 0.06), (0.2 * rim, height + 0.09)]))
        knob = draw.between(0.03, 0.07)
        shape.add("knob", sphere((knob, knob, knob), (0.0, 0.0, height + 0.09 + knob), rings=4, sides=8))
    _add_spout(shape, draw, radius, height)
    if draw.chance(0.4):
        _add_feet(shape, draw, 0.8 * skin[0][0])
    if draw.chance(0.3):
        angle = np.linspace(0.0, np.pi, 8)
        rise = draw.between(0.4, 0.7)
        hoop = np.stack([0.8 * radius * np.cos(angle), 0 * angle, 0.85 * height + rise * np.sin(angle)], axis=-1)
        shape.add("handle", tube(hoop, draw.between(0.02, 0.045), (0.0, 1.0, 0.0)))
    else:
        _add_ear(shape, draw, skin, -1)
    return shape


def bottle(draw: Draw) -> Assembly:
    """A closed vessel with shoulders, a neck and a cap; round or square."""
    shape = Assembly()
    radius, body, neck = draw.between(0.15, 0.32), draw.between(0.4, 0.9), draw.between(0.08, 0.4)
    narrow, slope, roundness = draw.between(0.25, 0.55) * radius, draw.between(0.03, 0.3), _roundness(draw)
    waist = draw.between(0.75, 1.0) * radius
    skin = [(0.95 * radius, 0.0), (radius, 0.05), (waist, 0.5 * body), (radius, body), (narrow, body + slope)]
    shape.add("body", lathe(skin, roundness=roundness))
    top = body + slope + neck
    shape.add("neck", lathe([(narrow, body + slope), (narrow * draw.between(0.8, 1.0), top)], sides=12))
    if draw.chance(0.7):
        cap = draw.between(0.04, 0.12)
        shape.add("cap", lathe([(1.2 * narrow, top - 0.3 * cap), (1.2 * narrow, top + 0.7 * cap)], sides=12))
    elif draw.chance(0.4):
        spray = slab(outline(3.5 * narrow, 1.6 * narrow, 0.3), top, top + 0.1, (narrow, 0.0))
        shape.add("cap", spray)
    for side in _handle_sides(draw, none=0.8, both=0.1):
        _add_ear(shape, draw, [(narrow, top), (radius, 0.6 * body)], side)
    return shape


def vase(draw: Draw) -> Assembly:
    """An open vessel for flowers: belly, neck, lip; some with a foot or two handles."""
    shape = Assembly()
    radius, height = draw.between(0.22, 0.45), draw.between(0.7, 1.3)
    low = 0.0
    if draw.chance(0.35):
        low = draw.between(0.06, 0.15)
        shape.add("foot", lathe([(0.7 * radius, 0.0), (0.6 * radius, 0.4 * low), (0.35 * radius, low)]))
    belly, narrow = draw.between(0.25, 0.65), draw.between(0.35, 0.8)
    skin = [
        (draw.between(0.45, 0.8) * radius, low),
        (radius, low + belly * height),
        (narrow * radius, low + draw.between(belly + 0.15, 0.88) * height),
        (draw.between(narrow, 1.15) * radius, low + height),
    ]
    _add_hollow(shape, draw, skin)
    for side in _handle_sides(draw, none=0.65, both=0.3):
        _add_ear(shape, draw, skin[1:], side)
    return shape


def _roundness(draw: Draw) -> float:
    return 1.0 if draw.chance(0.6) else draw.between(0.1, 0.6)


def _handle_sides(draw: Draw, none: float, both: float) -> tuple[int, ...]:
    if draw.chance(none):
        return ()
    return (-1, 1) if draw.chance(both / (1 - none)) else (1,)


def _add_hollow(shape: Assembly, draw: Draw, skin: Profile) -> None:
    """An open body: the profile up, and down again one wall thickness further in."""
    wall, roundness = draw.between(0.02, 0.05), _roundness(draw)
    fine = _smooth(skin)
    inside = [(max(radius - wall, 0.02), max(height, fine[0][1] + wall)) for radius, height in reversed(fine)]
    shape.add("body", lathe([*fine, *inside], sides=14, roundness=roundness))
    if draw.chance(0.3):
        radius, height = skin[-1]
        lip = [(radius + 0.03, height), (radius, height + 0.02), (radius - wall, height), (radius, height - 0.02)]
        shape.add("rim", lathe([*lip, lip[0]], sides=14, roundness=roundness))


def _smooth(skin: Profile, steps: int = 6) -> Profile:
    heights = np.array([height for _, height in skin])
    radii = np.array([radius for radius, _ in skin])
    curve = np.polynomial.Polynomial.fit(heights, radii, deg=len(skin) - 1)
    fine = np.linspace(heights[0], heights[-1], steps)
    return [(float(max(curve(z), 0.4 * radii.min())), float(z)) for z in fine]


def _add_ear(shape: Assembly, draw: Draw, skin: Profile, side: int) -> None:
    """A handle in the x-z plane, from one height of the body to another."""
    heights, radii = np.array([p[1] for p in skin]), np.array([p[0] for p in skin])
    order = np.argsort(heights)
    low, high = draw.between(0.1, 0.35), draw.between(0.65, 0.95)
    ends = heights.min() + np.array([low, high]) * np.ptp(heights)
    start = 0.95 * np.interp(ends, heights[order], radii[order])
    reach, square = draw.between(0.15, 0.35), draw.chance(0.3)
    shape.add("handle", tube(_ear_path(side, start, ends, reach, square), draw.between(0.025, 0.055), (0.0, 1.0, 0.0)))


def _ear_path(side: int, start: Array, ends: Array, reach: float, square: bool) -> Array:
    if square:
        out = float(start.max()) + reach
        x, z = np.array([start[0], out, out, start[1]]), np.array([ends[0], ends[0], ends[1], ends[1]])
    else:
        share = np.linspace(0.0, 1.0, 8)
        x = start[0] + (start[1] - start[0]) * share + reach * np.sin(np.pi * share)
        z = ends[0] + (ends[1] - ends[0]) * share
    return np.stack([side * x, np.zeros_like(x), z], axis=-1)


def _add_spout(shape: Assembly, draw: Draw, radius: float, height: float) -> None:
    low, tip = draw.between(0.2, 0.5) * height, draw.between(0.75, 1.15) * height
    start, out = 0.85 * radius, radius + draw.between(0.2, 0.4)
    share = np.linspace(0.0, 1.0, 7 if draw.chance(0.5) else 3)
    bend = draw.between(-0.1, 0.1) * np.sin(np.pi * share)
    path = np.stack([start + (out - start) * share + bend, 0 * share, low + (tip - low) * share - bend], axis=-1)
    shape.add("spout", tube(path, draw.between(0.035, 0.08), (0.0, 1.0, 0.0), sides=8))


def _add_feet(shape: Assembly, draw: Draw, reach: float) -> None:
    """A ring below the body, or three or four small feet."""
    count, drop = draw.whole(2, 4), draw.between(0.04, 0.12)
    if count == 2:
        shape.add("foot", lathe([(1.1 * reach, -drop), (reach, 0.02)], sides=12))
        return
    for angle in 2 * np.pi * np.arange(count) / count:
        x, y = reach * float(np.cos(angle)), reach * float(np.sin(angle))
        shape.add("foot", rod((x, y, -drop), (0.9 * x, 0.9 * y, 0.05), 0.03, 0.05, sides=6))
