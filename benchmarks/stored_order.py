"""Training steps of a student that looks for farthest points, and of one that takes the first of stored clouds.

    python benchmarks/stored_order.py --student pointnet2 --batch 32 --points 1024 --repeats 7

Prints milliseconds a step (medians, all taken in turns; of the processor with one thread, else of the clock) and how
many times faster the second is; then what finding farthest points takes alone, and what storing one cloud in that
order costs, once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

import torch
from distillation_step import interleaved
from torch import Tensor, nn

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.geometry.sampling import stored_order
from pointlift.operators.neighbours import choose_centres, gather_rows

#: What each student looks for: how many farthest points of how many, None for all of the cloud.
CENTRES: dict[str, list[tuple[int | None, int]]] = {
    "pointnet2": [(None, 512), (512, 128)],
    "curvenet": [(1024, 256), (256, 64)],
    "point_transformer": [(None, 64)],
}


def clouds(batch: int, points: int) -> tuple[Tensor, float]:
    """Unit spheres in farthest-point order, (B, N, 3) float32, and the seconds that the order of one took."""
    found = nn.functional.normalize(torch.randn(batch, points, 3, generator=torch.Generator().manual_seed(0)), dim=2)
    started = time.perf_counter()
    order = torch.stack([torch.from_numpy(stored_order(cloud.numpy(), "farthest_first")) for cloud in found])
    return gather_rows(found, order), (time.perf_counter() - started) / batch


def step_of(kind: str, rule: str, points_BN3: Tensor) -> Callable[[], None]:
    """One step: embedding, a linear classifier on it, gradients, the optimiser."""
    torch.manual_seed(0)
    member = rooms.load("students", kind)
    student = member.build(parse(member.Settings, {"kind": kind, "centres": rule}, "student")).to(points_BN3.device)
    head = nn.Linear(student.width, 40).to(points_BN3.device)
    label = torch.arange(len(points_BN3), device=points_BN3.device) % 40
    optimiser = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=0.01)

    def step() -> None:
        loss = nn.functional.cross_entropy(head(student(points_BN3).embedding), label)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def search_of(kind: str, points_BN3: Tensor) -> Callable[[], None]:
    """Finding the farthest points of every level, alone."""

    def search() -> None:
        for among, count in CENTRES[kind]:
            if among is None or among <= points_BN3.shape[1]:
                choose_centres(points_BN3[:, :among], count, "farthest")

    return search


def main() -> None:
    """Measure one student and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", choices=sorted(CENTRES), default="pointnet2")
    for name, default in {"batch": 32, "points": 1024, "repeats": 7, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    points_BN3, ordering = clouds(words.batch, words.points)
    points_BN3 = points_BN3.to(words.device)
    steps = {rule: step_of(words.student, rule, points_BN3) for rule in ("farthest", "first")}
    clock = time.process_time if words.threads == 1 and words.device == "cpu" else time.perf_counter
    search = {"search": search_of(words.student, points_BN3)}
    seconds = interleaved({**steps, **search}, words.repeats, words.device, clock)
    print(f"{'centres':10} {'ms/step':>9} {'ratio':>7}")
    for rule in steps:
        print(f"{rule:10} {seconds[rule] * 1e3:9.1f} {seconds['farthest'] / seconds[rule]:7.3f}")
    print(f"farthest points alone: {seconds['search'] * 1e3:.1f} ms a step; storing the order: {ordering * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
