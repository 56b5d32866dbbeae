"""What furniture stands on: legs in many styles, arms and backs."""

from __future__ import annotations

import numpy as np

from pointlift.datasets.assembly import Assembly, Draw
from pointlift.datasets.solids import box, curved_panel, lathe, moved, rod, tapered_box, torus, tube

FOUR_LEGS = ("square", "round", "tapered", "splayed")


def add_supports(shape: Assembly, draw: Draw, size: tuple[float, float], height: float, style: str) -> None:
    """Everything between the floor and a plate of (width, depth) at ``height``."""
    width, depth = size
    if style == "pedestal":
        _add_pedestal(shape, draw, min(width, depth), height)
    elif style == "panel":
        _add_side_panels(shape, draw, width, depth, height)
    elif style == "trestle":
        _add_trestles(shape, draw, width, depth, height)
    elif style == "sled":
        _add_sleds(shape, draw, width, depth, height)
    else:
        add_legs(shape, draw, corners(width, depth, draw.between(0.02, 0.06)), height, style)


def corners(width: float, depth: float, inset: float) -> list[tuple[float, float]]:
    """The four corners of a plate, moved inward."""
    x, y = width / 2 - inset, depth / 2 - inset
    return [(-x, -y), (x, -y), (x, y), (-x, y)]


def add_legs(shape: Assembly, draw: Draw, tops: list[tuple[float, float]], height: float, style: str) -> None:
    """One leg under each point of ``tops``, and sometimes stretchers from leg to leg."""
    thickness = draw.between(0.03, 0.065)
    spread = draw.between(1.1, 1.35) if style == "splayed" else 1.0
    for x, y in tops:
        foot, top = (x * spread, y * spread, 0.0), (x, y, height)
        if style == "square":
            shape.add("leg", box((thickness, thickness, height), foot))
        elif style == "tapered":
            small = 0.5 * thickness
            shape.add("leg", tapered_box((small, small), (thickness, thickness), foot, top))
        else:
            shape.add("leg", rod(foot, top, 0.4 * thickness, 0.55 * thickness))
    if draw.chance(0.35):
        _add_stretchers(shape, draw, [(x * spread, y * spread) for x, y in tops], tops, height)


def _add_stretchers(
    shape: Assembly, draw: Draw, feet: list[tuple[float, float]], tops: list[tuple[float, float]], height: float
) -> None:
    radius = draw.between(0.009, 0.018)
    share = draw.between(0.15, 0.5)
    ring = [
        ((1 - share) * fx + share * tx, (1 - share) * fy + share * ty, share * height)
        for (fx, fy), (tx, ty) in zip(feet, tops, strict=True)
    ]
    if len(ring) == 4 and draw.chance(0.35):  # H form
        middles = [(np.array(ring[a]) + np.array(ring[b])) / 2 for a, b in ((0, 3), (1, 2))]
        bars = [(ring[0], ring[3]), (ring[1], ring[2]), (middles[0], middles[1])]
    else:
        bars = list(zip(ring, ring[1:] + ring[:1], strict=True))
    for start, end in bars:
        shape.add("stretcher", rod(start, end, radius, sides=6))


def _add_pedestal(shape: Assembly, draw: Draw, width: float, height: float) -> None:
    radius = draw.between(0.025, 0.06)
    if draw.chance(0.5):
        foot = draw.between(0.3, 0.45) * width
        rim = draw.between(0.015, 0.05)
        shape.add("base", lathe([(foot, 0.0), (foot, rim), (1.5 * radius, rim + 0.03)], sides=14))
    else:
        count, reach = draw.whole(3, 5), draw.between(0.4, 0.55) * width
        for angle in 2 * np.pi * np.arange(count) / count:
            tip = (reach * np.cos(angle), reach * np.sin(angle), 0.02)
            shape.add("base", rod((0.0, 0.0, 0.09), tip, 0.03, 0.02, sides=6))
            shape.add("caster", rod((tip[0], tip[1], 0.0), (tip[0], tip[1], 0.04), 0.025, sides=6))
    shape.add("post", rod((0.0, 0.0, 0.03), (0.0, 0.0, height), radius, sides=10))


def _add_side_panels(shape: Assembly, draw: Draw, width: float, depth: float, height: float) -> None:
    thickness, inset = draw.between(0.02, 0.06), draw.between(0.0, 0.15) * width
    for side in (-1, 1):
        x = side * (width / 2 - thickness / 2 - inset)
        shape.add("side_panel", box((thickness, depth * draw.between(0.85, 1.0), height), (x, 0.0, 0.0)))
    if draw.chance(0.5):
        low = draw.between(0.3, 0.6) * height
        shape.add("stretcher", box((width - 2 * inset, 0.03, 0.07), (0.0, 0.0, low)))


def _add_trestles(shape: Assembly, draw: Draw, width: float, depth: float, height: float) -> None:
    crossed, inset = draw.chance(0.5), draw.between(0.08, 0.2) * width
    thickness = draw.between(0.02, 0.035)
    for side in (-1, 1):
        x = side * (width / 2 - inset)
        for lean in (-1, 1):
            foot = (x, lean * 0.45 * depth, 0.0)
            top = (x, (-lean if crossed else 0.15 * lean) * 0.4 * depth, height)
            shape.add("leg", rod(foot, top, thickness, sides=6))
    middle = 0.5 * height if crossed else 0.35 * height
    shape.add("stretcher", rod((inset - width / 2, 0.0, middle), (width / 2 - inset, 0.0, middle), thickness, sides=6))


def _add_sleds(shape: Assembly, draw: Draw, width: float, depth: float, height: float) -> None:
    radius = draw.between(0.012, 0.025)
    for side in (-1, 1):
        x, y = side * (width / 2 - 0.03), depth / 2 - 0.02
        for start, end in (
            ((x, -y, height), (x, -y, 0.02)),
            ((x, -y, 0.02), (x, y, 0.02)),
            ((x, y, 0.02), (x, y, height)),
        ):
            shape.add("leg", rod(start, end, radius, sides=6))


def add_foot_ring(shape: Assembly, draw: Draw, radius: float, height: float) -> None:
    """A ring to rest feet on."""
    shape.add("foot_ring", torus(radius, draw.between(0.01, 0.018), height, sides=14))


def add_arms(shape: Assembly, draw: Draw, width: float, depth: float, seat: float) -> None:
    """Two arms beside a seat of (width, depth) at height ``seat``."""
    height, style = seat + draw.between(0.17, 0.26), draw.choice("posts", "loop", "panel")
    thickness = draw.between(0.03, 0.07)
    for side in (-1, 1):
        x, reach = side * width / 2, depth * draw.between(0.38, 0.48)
        if style == "loop":
            path = np.array([(x, -reach, seat), (x, -reach, height), (x, reach, height), (x, reach, seat)])
            shape.add("arm", tube(path, 0.4 * thickness, (1.0, 0.0, 0.0)))
        elif style == "posts":
            shape.add("arm", box((thickness, 2 * reach, 0.03), (x, 0.0, height - 0.03)))
            shape.add("arm", rod((x, -0.8 * reach, seat), (x, -0.8 * reach, height), 0.3 * thickness, sides=6))
            shape.add("arm", rod((x, 0.9 * reach, seat), (x, 0.9 * reach, height), 0.3 * thickness, sides=6))
        else:
            shape.add("arm", box((thickness, 2 * reach, height - seat + 0.04), (x, 0.0, seat - 0.04)))


def add_back(shape: Assembly, draw: Draw, size: tuple[float, float], y: float, seat: float) -> None:
    """A back of (width, height) on the rear edge ``y`` of a seat at height ``seat``."""
    width, height = size
    style, lean = draw.choice("panel", "spindles", "ladder", "frame"), draw.between(0.0, 0.22) * height
    bend, thickness = draw.between(0.0, 0.12) * min(width, 0.6), draw.between(0.02, 0.05)
    if style == "panel":
        gap = draw.between(0.05, 0.4) * height if draw.chance(0.4) else 0.0
        panel = curved_panel((width, thickness, height - gap), (0.0, y, seat + gap), bend, lean)
        shape.add("back", panel)
        if gap:
            for x in (-0.3 * width, 0.3 * width):
                shape.add("back_post", rod((x, y, seat), (x, y, seat + gap + 0.05), 0.018, sides=6))
        return
    for x in (-width / 2 + 0.02, width / 2 - 0.02):
        shape.add("back_post", rod((x, y, seat - 0.02), (x, y + lean, seat + height), 0.5 * thickness, sides=6))
    top = curved_panel((width, thickness, 0.16 * height), (0.0, y + 0.9 * lean, seat + 0.86 * height), 0.4 * bend)
    shape.add("back", top)
    if style == "spindles":
        count = draw.whole(3, 5 + int(4 * min(width, 1.5)))
        for x in np.linspace(-0.4 * width, 0.4 * width, count):
            shape.add("spindle", rod((x, y, seat), (x, y + 0.9 * lean, seat + 0.9 * height), 0.012, sides=5))
    elif style == "ladder":
        for share in np.linspace(0.2, 0.68, draw.whole(1, 4)):
            slat = curved_panel((width, 0.6 * thickness, 0.1 * height), (0.0, y, seat), 0.4 * bend)
            shape.add("slat", moved(slat, (0.0, share * lean, share * height)))


def add_side_frame(shape: Assembly, width: float, depth: float, top: float, height: float) -> None:
    """Four boards on edge below a plate."""
    for side in (-1, 1):
        shape.add("apron", box((width, 0.02, height), (0.0, side * depth / 2, top - height)))
        shape.add("apron", box((0.02, depth, height), (side * width / 2, 0.0, top - height)))
