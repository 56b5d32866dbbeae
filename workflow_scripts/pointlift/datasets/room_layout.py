"""The shell of a made room: its floor plan, walls and ceiling. Metres, z up, the floor at 0, its middle the origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.geometry.footprints import corners_of, too_near

_L_SHAPED = 0.3  # share of rooms
_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # counterclockwise


@dataclass(frozen=True)
class FloorPlan:
    """A rectangle, or an L: a rectangle less a smaller one at one of its corners.

    size : (2,) of the rectangle along x and y; height : of the walls; notch : (2,) of what is cut off, zero for none;
    corner : which corner it is cut off, 0 to 3 counterclockwise from (-x, -y).
    """

    size: Array
    height: float
    notch: Array
    corner: int

    @property
    def outline(self) -> Array:
        """Corners of the floor, counterclockwise, (4, 2) or (6, 2)."""
        outer = _CORNERS * self.size / 2
        if not self.notch.any():
            return outer
        ahead = np.roll(outer, -self.corner, axis=0)  # the cut corner comes first
        inward = -_CORNERS[self.corner] * self.notch
        along = (ahead[1] != ahead[0]).astype(float)  # the axis on which the corner after it lies
        before, after = ahead[0] + inward * (1 - along), ahead[0] + inward * along
        return np.vstack([before, ahead[0] + inward, after, ahead[1:]])

    @property
    def area(self) -> float:
        """Of the floor, in square metres."""
        return float(np.prod(self.size) - np.prod(self.notch))

    def holds(self, footprints: Array, margin: float) -> Array:
        """Whether each rectangle (n, 4, 2) lies inside, at least ``margin`` from every wall, (n,) bool."""
        inside = np.asarray((np.abs(footprints) <= self.size / 2 - margin).all(axis=(1, 2)))
        if not self.notch.any():
            return inside
        centre = _CORNERS[self.corner] * (self.size - self.notch) / 2
        cut = corners_of(centre[None], self.notch[None], np.zeros(1))
        return inside & ~too_near(footprints, cut, margin)[:, 0]


def draw_plan(rng: np.random.Generator) -> FloorPlan:
    """A floor plan of 7 to 36 square metres under a ceiling of 2.4 to 3 m."""
    size = rng.uniform((3.2, 2.8), (6.5, 5.5))
    height = float(rng.uniform(2.4, 3.0))
    is_l, corner, notch = rng.uniform() < _L_SHAPED, int(rng.integers(4)), rng.uniform(0.25, 0.45, 2) * size
    return FloorPlan(size, height, notch if is_l else np.zeros(2), corner)


def shell(plan: FloorPlan, ceiling: bool) -> dict[str, tuple[Array, Array]]:
    """Vertices (v, 3) and faces (f, 3) of floor, wall and, where asked for, ceiling.

    Walls are sheets without thickness: a sensor inside the room sees but their inner sides, as a scan does.
    """
    outline = plan.outline
    floor = np.column_stack([outline, np.zeros(len(outline))])
    above = floor + np.array([0.0, 0.0, plan.height])
    start = np.arange(len(outline))
    end, top = np.roll(start, -1), len(outline)
    faces = np.concatenate([np.stack([start, start + top, end], 1), np.stack([end, start + top, end + top], 1)])
    # a fan is right from a corner that sees all others: of an L that is the inner one, which stands second
    turn = np.roll(start, -1 if len(outline) == 6 else 0)
    fan = np.array([[turn[0], turn[index], turn[index + 1]] for index in range(1, len(turn) - 1)])
    made = {"floor": (floor, fan), "wall": (np.vstack([floor, above]), faces)}
    if ceiling:
        made["ceiling"] = (above, fan[:, ::-1])
    return made
