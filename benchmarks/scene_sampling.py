"""Farthest points and balls of points in rooms: ours, a naive form, and native libraries that pip installs.

    python benchmarks/scene_sampling.py --points 20000 --centres 1024 --repeats 5

Prints milliseconds a cloud (medians, all taken in turns; of the processor with one thread, else of the clock), how many
times faster each is than the naive form, and whether all chose the same points. Farthest points: ``fpsample`` (plain,
and buckets of a k-d tree, which did not begin at the point that was asked for in 0.3.3), where it is installed: ``pip
install fpsample``. Balls: scipy's k-d tree, whose nearest neighbours within a radius are ours.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

import numpy as np
import torch
from distillation_step import interleaved
from scipy.spatial import cKDTree
from torch import Tensor

from pointlift.operators.neighbours import ball_query, farthest_point_sample, gather_rows

Search = Callable[[], np.ndarray]


def room(points: int, seed: int = 0) -> Tensor:
    """A cloud (1, N, 3) float32 in metres: a third on the floor, a third on two walls, the others in boxes."""
    rng = np.random.default_rng(seed)
    floor, walls = rng.random((points // 3, 3)) * [6, 5, 0], rng.random((points // 3, 3)) * [6, 5, 2.5]
    walls[::2, 0], walls[1::2, 1] = 0.0, 0.0
    middle = rng.random((12, 3)) * [5, 4, 0.8] + [0.5, 0.5, 0.2]
    rest = points - len(floor) - len(walls)
    boxes = middle[rng.integers(12, size=rest)] + (rng.random((rest, 3)) - 0.5) * [0.8, 0.6, 0.8]
    return torch.from_numpy(np.concatenate([floor, walls, boxes])[rng.permutation(points)].astype(np.float32))[None]


def naive_farthest(points_BN3: Tensor, count: int) -> np.ndarray:
    """The usual loop: distances of all points to the last chosen one, row by row, and a mask of the smaller ones."""
    cloud, chosen = points_BN3[0], torch.zeros(count, dtype=torch.int64)
    nearest = torch.full((len(cloud),), 1e10)
    for step in range(1, count):
        apart = ((cloud - cloud[chosen[step - 1]]) ** 2).sum(-1)
        smaller = apart < nearest
        nearest[smaller] = apart[smaller]
        chosen[step] = nearest.max(-1)[1]
    return chosen.numpy()


def naive_ball(query_BM3: Tensor, points_BN3: Tensor, radius: float, count: int) -> np.ndarray:
    """All distances in one matrix, all of them sorted."""
    apart, index = (query_BM3[0, :, None] - points_BN3[0]).square().sum(dim=2).sort(dim=1, stable=True)
    found = torch.where(apart[:, :count] <= radius * radius, index[:, :count], index[:, :1])
    return found.numpy()


def tree_ball(query: np.ndarray, points: np.ndarray, radius: float, count: int) -> np.ndarray:
    """The nearest within the radius by a k-d tree, which is built each time, as clouds come anew."""
    index = cKDTree(points).query(query, k=count, distance_upper_bound=radius * (1 + 1e-7))[1]
    found: np.ndarray = np.where(index < len(points), index, index[:, :1])
    return found


def farthest_searches(points_BN3: Tensor, count: int) -> dict[str, Search]:
    """By name."""
    cloud = points_BN3[0].numpy()
    found: dict[str, Search] = {
        "naive": lambda: naive_farthest(points_BN3, count),
        "ours": lambda: np.asarray(farthest_point_sample(points_BN3, count)[0]),
    }
    try:
        import fpsample
    except ImportError:
        print("fpsample is not installed: pip install fpsample; it is left out\n")
        return found
    found["fpsample plain"] = lambda: fpsample.fps_sampling(cloud, count, start_idx=0).astype(np.int64)
    found["fpsample buckets"] = lambda: fpsample.bucket_fps_kdline_sampling(cloud, count, h=7, start_idx=0).astype(int)
    return found


def ball_searches(points_BN3: Tensor, centres: int, radius: float, count: int) -> dict[str, Search]:
    """By name, around farthest points."""
    query_BM3 = gather_rows(points_BN3, farthest_point_sample(points_BN3, centres))
    cloud, places = points_BN3[0].numpy(), query_BM3[0].numpy()
    return {
        "naive": lambda: naive_ball(query_BM3, points_BN3, radius, count),
        "ours": lambda: np.asarray(ball_query(query_BM3, points_BN3, radius, count)[0]),
        "scipy cKDTree": lambda: tree_ball(places, cloud, radius, count),
    }


def report(title: str, searches: dict[str, Search], repeats: int, clock: Callable[[], float]) -> None:
    """Measure one kind of search and print its table."""
    answers: dict[str, np.ndarray] = {}

    def call(name: str) -> Callable[[], None]:
        def step() -> None:
            answers[name] = searches[name]().reshape(-1)

        return step

    seconds = interleaved({name: call(name) for name in searches}, repeats, "cpu", clock)
    print(f"{title:20} {'ms/cloud':>9} {'ratio':>7} {'as ours':>8}")
    for name in searches:
        same = (answers[name] == answers["ours"]).mean()
        print(f"{name:20} {seconds[name] * 1e3:9.1f} {seconds['naive'] / seconds[name]:7.2f} {same:8.4f}")
    print()


def main() -> None:
    """Measure both and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"points": 20000, "centres": 1024, "neighbours": 64, "repeats": 5, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--radius", type=float, default=0.2)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    clock = time.process_time if words.threads == 1 else time.perf_counter
    points_BN3 = room(words.points)
    report("farthest points", farthest_searches(points_BN3, words.centres), words.repeats, clock)
    balls = ball_searches(points_BN3, words.centres, words.radius, words.neighbours)
    report("balls of points", balls, words.repeats, clock)


if __name__ == "__main__":
    main()
