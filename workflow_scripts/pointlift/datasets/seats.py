"""Procedural furniture to sit or lie on: chair, stool, bench, sofa, bed."""

from __future__ import annotations

import numpy as np

from pointlift.datasets.assembly import Assembly, Draw
from pointlift.datasets.solids import box, curved_panel, outline, rod, slab, sphere
from pointlift.datasets.supports import FOUR_LEGS, add_arms, add_back, add_foot_ring, add_legs, add_supports, corners


def chair(draw: Draw) -> Assembly:
    """One seat with a back; half of them with arms."""
    shape = Assembly()
    width, depth, seat = draw.between(0.38, 0.62), draw.between(0.38, 0.6), draw.between(0.36, 0.52)
    roundness, thickness = draw.between(0.05, 0.8), draw.between(0.025, 0.1)
    shape.add("seat", slab(outline(width, depth, roundness), seat - thickness, seat))
    add_supports(
        shape, draw, (width * 0.94, depth * 0.94), seat - thickness, draw.choice(*FOUR_LEGS, "sled", "pedestal")
    )
    add_back(shape, draw, (width * draw.between(0.8, 1.0), draw.between(0.25, 0.65)), depth / 2 - 0.03, seat)
    if draw.chance(0.45):
        add_arms(shape, draw, width, depth, seat)
    if draw.chance(0.2):
        shape.add("cushion", slab(outline(0.9 * width, 0.9 * depth, 0.4), seat, seat + 0.05, spread=0.9))
    return shape


def stool(draw: Draw) -> Assembly:
    """One seat, low to bar height, with no back or a very low one."""
    shape = Assembly()
    width, seat = draw.between(0.3, 0.5), draw.between(0.35, 0.8)
    depth, thickness = width * draw.between(0.75, 1.05), draw.between(0.025, 0.1)
    shape.add("seat", slab(outline(width, depth, draw.between(0.05, 1.0)), seat - thickness, seat))
    style = draw.choice("three", "pedestal", "sled", *FOUR_LEGS)
    if style == "three":
        angle = 2 * np.pi * np.arange(3) / 3 + 0.5
        tops = [(0.36 * width * float(np.cos(a)), 0.36 * depth * float(np.sin(a))) for a in angle]
        add_legs(shape, draw, tops, seat - thickness, draw.choice("round", "splayed"))
    else:
        add_supports(shape, draw, (0.9 * width, 0.9 * depth), seat - thickness, style)
    if seat > 0.5 and draw.chance(0.5):
        add_foot_ring(shape, draw, 0.42 * width, draw.between(0.25, 0.45) * seat)
    if draw.chance(0.25):
        low_back = (0.85 * width, 0.025, draw.between(0.06, 0.14))
        shape.add("back", curved_panel(low_back, (0.0, depth / 2 - 0.02, seat), draw.between(0.0, 0.08)))
    return shape


def bench(draw: Draw) -> Assembly:
    """A long hard seat, of one plank or several, with or without back and arms."""
    shape = Assembly()
    width, depth, seat = draw.between(0.8, 1.7), draw.between(0.3, 0.55), draw.between(0.38, 0.5)
    thickness = draw.between(0.03, 0.08)
    planks = draw.whole(2, 5) if draw.chance(0.5) else 1
    for y in (np.arange(planks) + 0.5) / planks - 0.5:
        plank = (width, depth / planks * (0.82 if planks > 1 else 1.0), thickness)
        shape.add("seat", box(plank, (0.0, y * depth, seat - thickness)))
    style = draw.choice(*FOUR_LEGS, "panel", "trestle", "sled")
    add_supports(shape, draw, (0.92 * width, 0.92 * depth), seat - thickness, style)
    backed = draw.chance(0.5)
    if backed:
        add_back(shape, draw, (width, draw.between(0.25, 0.45)), depth / 2 - 0.02, seat)
    if draw.chance(0.5 if backed else 0.15):
        add_arms(shape, draw, width, depth, seat)
    return shape


def sofa(draw: Draw) -> Assembly:
    """A thick upholstered seat with back and arms, for one to four people; sometimes with a chaise longue."""
    shape = Assembly()
    places = draw.whole(1, 4)
    width, depth = 0.55 * places + draw.between(0.0, 0.3), draw.between(0.6, 0.9)
    foot, low, thick = draw.between(0.03, 0.16), draw.between(0.15, 0.28), draw.between(0.1, 0.2)
    shape.add("frame", box((width, depth, low), (0.0, 0.0, foot)))
    seat = foot + low + thick
    for x in (np.arange(places) + 0.5) / places - 0.5:
        cushion = outline(0.96 * width / places, 0.94 * depth, 0.2, sides=12)
        shape.add("cushion", slab(cushion, foot + low, seat, (x * width, 0.0), spread=0.94))
    add_legs(shape, draw, corners(width, depth, 0.06), foot, draw.choice("square", "round"))
    back = draw.between(0.25, 0.5)
    panel = (width, draw.between(0.12, 0.24), low + thick + back)
    shape.add("back", curved_panel(panel, (0.0, depth / 2 - 0.06, foot), 0.0, draw.between(0.0, 0.12)))
    if draw.chance(0.85):
        _add_upholstered_arms(shape, draw, (width, depth), foot, seat + draw.between(0.05, 0.25))
    if places >= 2 and draw.chance(0.3):
        side = 1 if draw.chance(0.5) else -1
        extra, x = draw.between(0.4, 0.7), side * (width / 2 - 0.5 * width / places)
        shape.add("chaise", box((width / places, extra, low + thick), (x, -depth / 2 - extra / 2, foot)))
    return shape


def _add_upholstered_arms(shape: Assembly, draw: Draw, size: tuple[float, float], foot: float, top: float) -> None:
    width, depth = size
    thickness, rolled = draw.between(0.1, 0.22), draw.chance(0.4)
    for side in (-1, 1):
        x = side * (width / 2 + thickness / 2)
        shape.add("arm", box((thickness, depth, top - foot), (x, 0.0, foot)))
        if rolled:
            shape.add("arm", rod((x, -depth / 2, top), (x, depth / 2, top), 0.65 * thickness, sides=10))


def bed(draw: Draw) -> Assembly:
    """A mattress on a frame with a headboard; sometimes a footboard, four posts, or a second storey."""
    shape = Assembly()
    width, length, low = draw.between(0.8, 1.8), draw.between(1.8, 2.15), draw.between(0.12, 0.4)
    storeys, thick = 2 if draw.chance(0.15) else 1, draw.between(0.12, 0.3)
    for level in range(storeys):
        height = low + level * draw.between(0.9, 1.1)
        shape.add("frame", box((width, length, 0.1), (0.0, 0.0, height - 0.1)))
        shape.add("mattress", slab(outline(0.95 * width, 0.97 * length, 0.15, sides=12), height, height + thick))
        _add_pillows(shape, draw, width, length, height + thick)
    add_legs(shape, draw, corners(width, length, 0.06), low - 0.1, draw.choice("square", "round", "tapered"))
    head = draw.between(0.2, 0.7)
    add_back(shape, draw, (width, thick + head), length / 2 - 0.02, low)
    if draw.chance(0.5):
        foot = draw.between(0.05, 0.3)
        shape.add("footboard", box((width, 0.05, low + thick + foot), (0.0, -length / 2, 0.0)))
    if storeys == 2 or draw.chance(0.2):
        top = height + thick + (0.3 if storeys == 2 else draw.between(0.8, 1.3))
        for x, y in corners(width, length, 0.0):
            shape.add("bedpost", rod((x, y, 0.0), (x, y, top), draw.between(0.025, 0.05), sides=6))
    return shape


def _add_pillows(shape: Assembly, draw: Draw, width: float, length: float, height: float) -> None:
    count = 2 if width > 1.2 else 1
    for x in (np.arange(count) + 0.5) / count - 0.5:
        size = (0.38 * width / count, draw.between(0.16, 0.24), draw.between(0.06, 0.1))
        shape.add("pillow", sphere(size, (x * width, length / 2 - 0.32, height + 0.04)))
