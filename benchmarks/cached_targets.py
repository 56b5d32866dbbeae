"""A distillation step with cached targets beside the same step with the teacher online, in one run.

    python benchmarks/cached_targets.py --model ViT-B-32 --student point_transformer --batch 16 --points 1024 --views 12

Prints milliseconds a step (medians, taken in turns), the memory that a step needs at its peak above what was there
before it, the ratio of the two forms, and the bytes of a shape in the cache. The teacher is open_clip's own network of
that architecture with random weights: its time does not hang on them. Online it sees pictures that are decoded already,
which real ones are not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

import torch
from distillation_step import interleaved, peak_bytes
from torch import Tensor

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.distillation.methods import build_method, method_settings
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics
from pointlift.teachers.teacher import Teacher


def teacher_of(model: str, device: str) -> Teacher:
    """open_clip's network with random weights."""
    member = rooms.load("teachers", "clip")
    block = {"kind": "clip", "model": model, "initialisation": "random"}
    teacher: Teacher = member.build(parse(member.Settings, block, "teacher"), None).to(device)
    return teacher


def step_of(words: argparse.Namespace, told: Callable[[], Tensor]) -> Callable[[], None]:
    """One step of student and method, whose targets (B, V, D) ``told`` gives."""
    torch.manual_seed(0)
    member = rooms.load("students", words.student)
    student = member.build(parse(member.Settings, {"kind": words.student}, "student")).to(words.device)
    statistics = target_statistics(told().cpu().numpy())
    method = build_method(method_settings(words.method), shape_of(student), statistics, 0).to(words.device)
    optimiser = torch.optim.AdamW([*student.parameters(), *method.parameters()], lr=1e-4, fused=True)
    points = torch.randn(words.batch, words.points, 3, generator=torch.Generator().manual_seed(0)).to(words.device)
    visible = torch.ones(words.batch, words.views, words.points, dtype=torch.bool, device=words.device)

    def step() -> None:
        losses = method(student(points), {"points": points, "target": told(), "visible": visible})
        total = torch.stack([value for name, value in losses.items() if name.endswith("_loss")]).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="an architecture of open_clip")
    parser.add_argument("--student", default="point_transformer", choices=rooms.available("students"))
    parser.add_argument("--kind", default="concept", choices=rooms.available("distillation"), help="of the method")
    for name, default in {"batch": 16, "points": 1024, "views": 12, "repeats": 5, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    words = parser.parse_args()
    words.method = {"kind": words.kind} | ({"num_views": None} if words.kind == "concept" else {})
    torch.set_num_threads(words.threads)
    teacher = teacher_of(words.model, words.device)
    size = teacher.preprocessing.size
    images = torch.randint(0, 256, (words.batch * words.views, size, size, 3), dtype=torch.uint8)

    def online() -> Tensor:
        return teacher.encode(images).embedding.unflatten(0, (words.batch, words.views))

    stored = online().half().cpu()
    patches = teacher.encode(images[:1], tokens=True).tokens
    steps = {"cached": step_of(words, lambda: stored.to(words.device).float()), "online": step_of(words, online)}
    clock = time.process_time if words.device == "cpu" and words.threads == 1 else time.perf_counter
    seconds = interleaved(steps, words.repeats, words.device, clock)
    peaks = {name: peak_bytes(step, words.device) for name, step in steps.items()}
    print(f"{'targets':8} {'ms/step':>9} {'ratio':>7} {'peak MiB':>9} {'ratio':>7}")
    for name in steps:
        ratios = seconds[name] / seconds["cached"], peaks[name] / peaks["cached"]
        print(f"{name:8} {seconds[name] * 1e3:9.1f} {ratios[0]:7.1f} {peaks[name] / 2**20:9.1f} {ratios[1]:7.2f}")
    print(f"cache: {stored[0].numel() * 2:,} bytes a shape ({words.views} views x {teacher.width} x 2)")
    if patches is not None:
        count, width = patches.shape[1], teacher.width
        print(f"patch tokens, where a loss reads them: {words.views * count * width * 2:,} bytes a shape")


if __name__ == "__main__":
    main()
