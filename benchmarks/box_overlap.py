"""Oriented overlap of all pairs of boxes, and points counted in boxes, beside other ways to do the same, in one run.

    python benchmarks/box_overlap.py                          8 scenes, 256 queries, 64 truth boxes; 20,000 points
    python benchmarks/box_overlap.py --points 2000000         a whole room for the second table

Overlap: our tensors (float32; the whole generalised IoU forward, and with gradients), our clipping in numpy (float64),
and shapely's polygons (C, vectorised over pairs). Points: within the bounds of each box, and every point for every
box. Medians of turns; ``ratio`` is how many times longer than the first row; ``apart`` is the largest difference.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np
import shapely
import torch

from pointlift.geometry import boxes as reference
from pointlift.operators.boxes import all_pairs, generalised_iou, oriented_iou

Array = np.ndarray


def room(shape: tuple[int, ...], seed: int) -> Array:
    """Boxes (..., 7) of furniture's size in a room of 8 by 8 by 2.5 metres."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-4, -4, 0], [4, 4, 2.5], (*shape, 3))
    return np.concatenate([centre, rng.uniform(0.3, 2.0, (*shape, 3)), rng.uniform(-3, 3, (*shape, 1))], axis=-1)


def by_shapely(one: Array, other: Array) -> Array:
    """Oriented IoU (B, Q, M): polygons of the footprints, times the overlap of heights."""
    found = []
    for left, right in zip(one, other, strict=True):
        polygons = [shapely.polygons(reference.corners(boxes)[:, :4, :2]) for boxes in (left, right)]
        area = shapely.area(shapely.intersection(polygons[0][:, None], polygons[1][None]))
        top = np.minimum((left[:, 2] + left[:, 5] / 2)[:, None], right[:, 2] + right[:, 5] / 2)
        bottom = np.maximum((left[:, 2] - left[:, 5] / 2)[:, None], right[:, 2] - right[:, 5] / 2)
        shared = area * np.maximum(top - bottom, 0.0)
        found.append(shared / (reference.volumes(left)[:, None] + reference.volumes(right) - shared))
    return np.stack(found)


def median_time(step: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def overlaps(scenes: int, queries: int, truth: int, repeats: int) -> None:
    one, other = room((scenes, queries), 0), room((scenes, truth), 1)
    left, right = torch.tensor(one).float(), torch.tensor(other).float()
    leaf = left.clone().requires_grad_()

    def learn() -> None:
        generalised_iou(*all_pairs(leaf, right), oriented=True).sum().backward()

    ways: dict[str, Callable[[], object]] = {
        "tensors": lambda: oriented_iou(*all_pairs(left, right)).numpy(),
        "numpy": lambda: np.stack([reference.oriented_iou(a, b) for a, b in zip(one, other, strict=True)]),
        "shapely": lambda: by_shapely(one, other),
        "generalised": lambda: generalised_iou(*all_pairs(left, right), oriented=True),
        "  and gradients": learn,
    }
    print(f"{scenes * queries * truth:,} pairs of boxes")
    exact, first = by_shapely(one, other), None
    for name, step in ways.items():
        took = median_time(step, repeats)
        first = first or took
        apart = f"  apart {np.abs(step() - exact).max():.1e}" if name in ("tensors", "numpy", "shapely") else ""
        print(f"  {name:<16}{1000 * took:9.1f} ms  ratio {took / first:6.2f}{apart}")


def counts(points: int, boxes: int, repeats: int) -> None:
    cloud = np.random.default_rng(2).uniform([-4, -4, 0], [4, 4, 2.5], (points, 3)).astype(np.float32)
    told = room((boxes,), 3)
    bounded = median_time(lambda: reference.count_inside(cloud, told), repeats)
    every = median_time(lambda: reference.points_inside(cloud, told).sum(axis=1), repeats)
    same = np.array_equal(reference.count_inside(cloud, told), reference.points_inside(cloud, told).sum(axis=1))
    print(f"{points:,} points in {boxes} boxes, counts {'equal' if same else 'DIFFERENT'}")
    print(f"  within bounds   {1000 * bounded:9.1f} ms  ratio   1.00")
    print(f"  every point     {1000 * every:9.1f} ms  ratio {every / bounded:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--truth", type=int, default=64)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    overlaps(given.scenes, given.queries, given.truth, given.repeats)
    counts(given.points, given.queries, given.repeats)


if __name__ == "__main__":
    main()
