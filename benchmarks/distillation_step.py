"""Cost of pooling by view: a distillation step beside the same step without it (control), in one run.

    python benchmarks/distillation_step.py --widths 64 128 256 --batch 32 --points 512 --views 6 --target 128

Prints, per form: milliseconds a step (median), its ratio to the control step, and the memory a step needs at its peak
above what was there before it. ``naive`` multiplies masks in, with one array of batch x views x points x width.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pointlift.contracts.settings import parse
from pointlift.distillation import pointmcd
from pointlift.operators.student_output import StudentOutput, shape_of
from pointlift.operators.target_statistics import target_statistics
from pointlift.students import pointnet

Pool = Callable[[Tensor, Tensor], Tensor]


def naive_pool(tokens_BGC: Tensor, visible_BVG: Tensor) -> Tensor:
    return (tokens_BGC[:, None] * visible_BVG[..., None]).amax(dim=2)


def masked_pool(tokens_BGC: Tensor, visible_BVG: Tensor) -> Tensor:
    views = [tokens_BGC.masked_fill(~visible[:, :, None], 0.0).amax(dim=1) for visible in visible_BVG.unbind(1)]
    return torch.stack(views, dim=1)


class Control(nn.Module):
    """A task in place of the view loss: every form trains this beside its own term."""

    def __init__(self, width: int, classes: int = 10) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, classes)

    def forward(self, output: StudentOutput, batch: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(self.classifier(output.embedding), batch["label"])


def make_batch(words: argparse.Namespace) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch = {
        "points": torch.randn(words.batch, words.points, 3, generator=generator),
        "visible": torch.rand(words.batch, words.views, words.points, generator=generator) < words.share,
        "target": torch.rand(words.batch, words.views, words.target, generator=generator),
        "label": torch.randint(10, (words.batch,), generator=generator),
    }
    return {name: value.to(words.device) for name, value in batch.items()}


def step_of(words: argparse.Namespace, batch: dict[str, Tensor], pool: Pool | None) -> Callable[[], None]:
    """One training step of a joint run: task, and the view loss pooled by ``pool`` (None: control)."""
    torch.manual_seed(0)
    block = {"kind": "pointnet", "widths": words.widths}
    block |= {"input_transform": words.transforms, "feature_transform": words.transforms}
    student = pointnet.build(parse(pointnet.Settings, block, "student")).to(words.device)
    task = Control(student.width).to(words.device)
    method_block = {"kind": "pointmcd", "weight": 0.0 if pool is None else 1.0}
    targets = target_statistics(batch["target"].cpu().numpy())
    method = pointmcd.build(parse(pointmcd.Settings, method_block, "method"), shape_of(student), targets).to(
        words.device
    )
    optimiser = torch.optim.SGD([*student.parameters(), *task.parameters(), *method.parameters()], lr=0.01)

    def step() -> None:
        output = student(batch["points"])
        pointmcd.visible_max_pool = pool if pool is not None else pointmcd.visible_max_pool
        losses = method(output, batch)
        total = task(output, batch) + sum(value for name, value in losses.items() if name.endswith("_loss"))
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()

    return step


def peak_bytes(step: Callable[[], None], device: str) -> int:
    """Highest sum of live tensor bytes during a step, above its start."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in trace.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    live = peak = 0
    for _, change in sorted(changes):
        live += change
        peak = max(peak, live)
    return peak


def interleaved(
    steps: dict[str, Callable[[], None]], repeats: int, device: str, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each, taken in turns, so that a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = clock()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--transforms", action="store_true", help="with the transform networks")
    for name, default in {"batch": 32, "points": 512, "views": 6, "target": 128, "repeats": 7, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--share", type=float, default=0.4, help="share of the points that a view sees")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--naive", action="store_true", help="also the form with the large array")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    batch = make_batch(words)
    pools: dict[str, Pool | None] = {"control": None, "bags": pointmcd.visible_max_pool, "masked loop": masked_pool}
    if words.naive:
        pools["naive"] = naive_pool
    steps = {name: step_of(words, batch, pool) for name, pool in pools.items()}
    seconds = interleaved(steps, words.repeats, words.device)
    peaks = {name: peak_bytes(step, words.device) for name, step in steps.items()}
    print(f"{'form':12} {'ms/step':>9} {'ratio':>7} {'peak MiB':>9} {'ratio':>7}")
    for name in steps:
        ratios = seconds[name] / seconds["control"], peaks[name] / peaks["control"]
        print(f"{name:12} {seconds[name] * 1e3:9.1f} {ratios[0]:7.2f} {peaks[name] / 2**20:9.1f} {ratios[1]:7.2f}")


if __name__ == "__main__":
    main()
