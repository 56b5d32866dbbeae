"""Procedural furniture to put things on or into: table, desk, shelf, cabinet; and the lamp."""

from __future__ import annotations

import itertools

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.datasets.assembly import Assembly, Draw
from pointlift.datasets.solids import box, lathe, outline, rod, slab, sphere, tube
from pointlift.datasets.supports import FOUR_LEGS, add_legs, add_side_frame, add_supports, corners


def table(draw: Draw) -> Assembly:
    """A plate on legs, from coffee table to bar table, round to oblong."""
    shape = Assembly()
    width, height = draw.between(0.5, 1.7), draw.between(0.4, 1.0)
    depth, thickness = draw.between(0.45, min(width, 1.0) + 0.05), draw.between(0.02, 0.08)
    shape.add("top", slab(outline(width, depth, draw.between(0.05, 1.0)), height - thickness, height))
    style = draw.choice(*FOUR_LEGS, "pedestal", "panel", "trestle", "sled")
    add_supports(shape, draw, (0.88 * width, 0.85 * depth), height - thickness, style)
    if style in FOUR_LEGS and draw.chance(0.5):
        add_side_frame(shape, 0.8 * width, 0.76 * depth, height - thickness, draw.between(0.05, 0.12))
    if draw.chance(0.2):
        low = draw.between(0.2, 0.45) * height
        shape.add("shelf_board", box((0.76 * width, 0.72 * depth, 0.025), (0.0, 0.0, low)))
    return shape


def desk(draw: Draw) -> Assembly:
    """A plate to work at, with drawers below on one or both sides, often with a front panel or a shelf on top."""
    shape = Assembly()
    width, depth, height = draw.between(0.9, 1.7), draw.between(0.5, 0.85), draw.between(0.66, 0.8)
    thickness = draw.between(0.02, 0.06)
    shape.add("top", box((width, depth, thickness), (0.0, 0.0, height - thickness)))
    sides = (-1, 1) if draw.chance(0.4) else ((1,) if draw.chance(0.5) else (-1,))
    block = draw.between(0.22, 0.34) * width
    low = draw.between(0.0, 0.35) * height
    for side in sides:
        x = side * (width / 2 - block / 2 - 0.02)
        _add_drawers(shape, draw, (block, 0.92 * depth), (x, low, height - thickness))
    inset = draw.between(0.02, 0.05)
    bare = [(x, y) for x, y in corners(width, depth, inset) if low > 0.05 or np.sign(x) not in sides]
    if bare:
        add_legs(shape, draw, bare, height - thickness, draw.choice("square", "round", "tapered"))
    if draw.chance(0.5):
        fall = draw.between(0.3, 0.8) * height
        shape.add("back_panel", box((0.95 * width, 0.02, fall), (0.0, depth / 2 - 0.03, height - thickness - fall)))
    if draw.chance(0.35):
        _add_hutch(shape, draw, width, depth, height)
    return shape


def _add_drawers(shape: Assembly, draw: Draw, size: tuple[float, float], place: tuple[float, float, float]) -> None:
    (width, depth), (x, low, high) = size, place
    shape.add("body", box((width, depth, high - low), (x, 0.0, low)))
    count = draw.whole(1, 4)
    each = (high - low) / count
    for level in range(count):
        z = low + level * each
        shape.add("drawer", box((0.9 * width, 0.03, 0.86 * each), (x, -depth / 2 - 0.01, z + 0.07 * each)))
        shape.add("handle", box((0.3 * width, 0.03, 0.02), (x, -depth / 2 - 0.035, z + 0.5 * each)))


def _add_hutch(shape: Assembly, draw: Draw, width: float, depth: float, height: float) -> None:
    rise, reach = draw.between(0.2, 0.5), draw.between(0.2, 0.35) * depth
    y = depth / 2 - reach / 2
    for x in np.linspace(-0.48 * width, 0.48 * width, draw.whole(2, 4)):
        shape.add("side_panel", box((0.025, reach, rise), (float(x), y, height)))
    shape.add("shelf_board", box((width, reach, 0.025), (0.0, y, height + rise)))


def shelf(draw: Draw) -> Assembly:
    """Boards above one another, between side panels or on posts."""
    shape = Assembly()
    width, depth, height = draw.between(0.5, 1.5), draw.between(0.22, 0.45), draw.between(0.7, 2.0)
    boards, foot, thickness = draw.whole(3, 7), draw.between(0.0, 0.15), draw.between(0.015, 0.04)
    levels = np.linspace(foot, height - thickness, boards)
    for z in levels:
        shape.add("shelf_board", box((width, depth, thickness), (0.0, 0.0, float(z))))
    if draw.chance(0.6):
        for side in (-1, 1):
            shape.add("side_panel", box((0.03, depth, height), (side * width / 2, 0.0, 0.0)))
    else:
        for x, y in corners(width, depth, 0.01):
            shape.add("post", rod((x, y, 0.0), (x, y, height + draw.between(0.0, 0.05)), 0.018, sides=6))
    if draw.chance(0.5):
        shape.add("back_panel", box((width, 0.015, height - foot), (0.0, depth / 2, foot)))
    for low, high in itertools.pairwise(levels):
        if draw.chance(0.3):
            x = draw.between(-0.3, 0.3) * width
            shape.add("divider", box((0.02, 0.95 * depth, float(high - low)), (x, 0.0, float(low))))
    return shape


def cabinet(draw: Draw) -> Assembly:
    """A closed body with doors and drawers, from sideboard to wardrobe."""
    shape = Assembly()
    width, depth, height = draw.between(0.45, 1.5), draw.between(0.3, 0.6), draw.between(0.5, 1.9)
    foot = draw.between(0.0, 0.2)
    shape.add("body", box((width, depth, height - foot), (0.0, 0.0, foot)))
    if foot > 0.04:
        add_legs(shape, draw, corners(width, depth, 0.05), foot, draw.choice("square", "tapered", "splayed"))
    if draw.chance(0.6):
        shape.add("top", box((1.06 * width, 1.08 * depth, 0.035), (0.0, 0.0, height)))
    split = foot + draw.choice_of(0.0, 0.3, 0.5, 1.0) * (height - foot)
    if split - foot > 0.1:
        _add_doors(shape, draw, (width, depth), foot, split)
    if height - split > 0.1:
        _add_drawer_rows(shape, draw, (width, depth), split, height)
    return shape


def _add_doors(shape: Assembly, draw: Draw, size: tuple[float, float], low: float, high: float) -> None:
    width, depth = size
    count, front = max(1, round(width / draw.between(0.35, 0.6))), -depth / 2 - 0.01
    each, knob = width / count, draw.chance(0.5)
    for index in range(count):
        x = (index + 0.5) * each - width / 2
        shape.add("door", box((0.92 * each, 0.03, 0.94 * (high - low)), (x, front, low + 0.03 * (high - low))))
        side = x + (0.36 if index % 2 == 0 else -0.36) * each
        middle = (low + high) / 2
        if knob:
            shape.add("handle", sphere((0.02, 0.02, 0.02), (side, front - 0.03, middle), rings=4, sides=6))
        else:
            shape.add("handle", box((0.02, 0.03, 0.16), (side, front - 0.025, middle - 0.08)))


def _add_drawer_rows(shape: Assembly, draw: Draw, size: tuple[float, float], low: float, high: float) -> None:
    width, depth = size
    rows, columns, front = (
        max(1, round((high - low) / draw.between(0.16, 0.3))),
        1 if width < 0.8 else 2,
        -depth / 2 - 0.01,
    )
    each, wide = (high - low) / rows, width / columns
    for row in range(rows):
        for column in range(columns):
            x, z = (column + 0.5) * wide - width / 2, low + row * each
            shape.add("drawer", box((0.93 * wide, 0.03, 0.88 * each), (x, front, z + 0.06 * each)))
            shape.add("handle", box((0.25 * wide, 0.03, 0.02), (x, front - 0.025, z + 0.5 * each)))


def lamp(draw: Draw) -> Assembly:
    """A shade on a straight, bent or jointed post, from bedside lamp to floor lamp."""
    shape = Assembly()
    height, radius = draw.between(0.4, 1.6), draw.between(0.008, 0.025)
    reach = draw.between(0.12, 0.3)
    _add_lamp_base(shape, draw, reach, radius)
    style = draw.choice("straight", "straight", "bow", "jointed")
    if style == "straight":
        path = np.array([(0.0, 0.0, 0.02), (0.0, 0.0, height)])
    elif style == "bow":
        angle, out = np.linspace(0.0, 0.6 * np.pi, 7), draw.between(0.15, 0.35)
        bow = np.stack([out * (1 - np.cos(angle)), 0 * angle, height - out * (1 - np.sin(angle))], axis=-1)
        path = np.concatenate([[(0.0, 0.0, 0.02)], bow])
    else:
        elbow = np.array([-draw.between(0.1, 0.3), 0.0, draw.between(0.4, 0.6) * height])
        path = np.stack([np.array([0.0, 0.0, 0.02]), elbow, np.array([draw.between(0.1, 0.4), 0.0, height])])
    shape.add("post", tube(path, radius, (0.0, 1.0, 0.0)))
    _add_shade(shape, draw, path[-1])
    return shape


def _add_lamp_base(shape: Assembly, draw: Draw, reach: float, radius: float) -> None:
    style, thickness = draw.choice("disc", "box", "tripod", "dome", "belly"), draw.between(0.015, 0.05)
    if style == "disc":
        shape.add("base", lathe([(reach, 0.0), (reach, thickness)]))
    elif style == "box":
        shape.add("base", box((1.6 * reach, 1.6 * reach, thickness), (0.0, 0.0, 0.0)))
    elif style == "dome":
        shape.add("base", lathe([(reach, 0.0), (0.8 * reach, thickness), (1.5 * radius, 2 * thickness)]))
    elif style == "belly":
        high = draw.between(0.15, 0.3)
        shape.add(
            "base", lathe([(0.4 * reach, 0.0), (0.7 * reach, 0.4 * high), (0.3 * reach, 0.9 * high), (radius, high)])
        )
    else:
        for angle in 2 * np.pi * np.arange(3) / 3:
            tip = (1.3 * reach * np.cos(angle), 1.3 * reach * np.sin(angle), 0.0)
            shape.add("leg", rod((0.0, 0.0, 0.35), tip, 0.012, sides=6))


def _add_shade(shape: Assembly, draw: Draw, place: Array) -> None:
    wide, high = draw.between(0.12, 0.28), draw.between(0.12, 0.3)
    x, y, z = (float(value) for value in place)
    style = draw.choice("cone", "drum", "globe", "dome")
    if style == "globe":
        shape.add("shade", sphere((wide * 0.8, wide * 0.8, wide * 0.8), (x, y, z)))
        return
    top = wide * {"cone": draw.between(0.3, 0.7), "drum": 1.0, "dome": 0.25}[style]
    middle = wide * 0.8 if style == "dome" else (wide + top) / 2
    low, roundness = z - 0.6 * high, draw.between(0.15, 1.0)
    skin = [(wide, low), (middle, low + 0.6 * high), (top, low + high)]
    inside = [(radius * 0.96, height) for radius, height in reversed(skin)]
    shape.add("shade", lathe([*skin, *inside], sides=14, roundness=roundness, centre=(x, y)))
    shape.add("bulb", sphere((0.035, 0.035, 0.05), (x, y, z), rings=4, sides=8))
