"""Putting a procedural shape together: named parts, and the dice that decide its structure."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.datasets.solids import Solid


class Draw:
    """Random choices of one shape, from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def between(self, low: float, high: float) -> float:
        """A number, uniform in [low, high)."""
        return float(self._rng.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self._rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self._rng.uniform() < probability)

    def choice(self, *options: str) -> str:
        """One of the options, each as likely."""
        return options[self.whole(0, len(options) - 1)]

    def choice_of(self, *numbers: float) -> float:
        """One of the numbers, each as likely."""
        return numbers[self.whole(0, len(numbers) - 1)]


class Assembly:
    """Named solids that together are one shape."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, Solid]] = []

    def add(self, part: str, *solids: Solid) -> None:
        """Add solids under a part name."""
        self._parts.extend((part, solid) for solid in solids)

    def arrays(self, part_index: dict[str, int]) -> tuple[Array, Array, Array]:
        """vertices (v, 3) float64, faces (f, 3) int64, part label (f,) int16 by ``part_index``."""
        starts = np.concatenate([[0], np.cumsum([len(solid[0]) for _, solid in self._parts])])
        vertices = np.concatenate([solid[0] for _, solid in self._parts])
        faces = np.concatenate([solid[1] + start for (_, solid), start in zip(self._parts, starts, strict=False)])
        labels = np.concatenate([np.full(len(solid[1]), part_index[part]) for part, solid in self._parts])
        return vertices, faces.astype(np.int64), labels.astype(np.int16)
