"""Embeddings of a few classes, for tests of tasks that draw some of the training shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointlift.tasks.shapes import Shapes


def toy_shapes(spread: float, seed: int, sizes: Sequence[int]) -> Shapes:
    """Per class: so many training shapes, 2 for val, 10 for test, each ``spread`` around a point of its class."""
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.full(size + 12, one) for one, size in enumerate(sizes)])
    split = np.concatenate([np.repeat([0, 1, 2], [size, 2, 10]) for size in sizes]).astype(np.uint8)
    values = np.random.default_rng(50).normal(size=(len(sizes), 5))[label] + spread * rng.normal(size=(len(label), 5))
    ids = tuple(f"class{one}-{number:03d}" for number, one in enumerate(label))
    return Shapes(ids, values.astype(np.float32), label, split, len(sizes))
