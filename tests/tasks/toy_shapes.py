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


def toy_clouds(sizes: Sequence[int], seed: int = 0, points: int = 6) -> Shapes:
    """Small clouds around a place of their class; splits as of ``toy_shapes``."""
    whole = toy_shapes(0.5, seed, sizes)
    noise = 0.3 * np.random.default_rng(seed + 1).normal(size=(len(whole.ids), points, 3))
    values = (whole.values[:, None, :3] + noise).astype(np.float32)
    return Shapes(whole.ids, values, whole.label, whole.split, whole.num_classes)
