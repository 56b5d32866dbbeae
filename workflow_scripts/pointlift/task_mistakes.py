"""Mistakes of tasks: what is asked of shapes is not asked of scenes, nor of clouds with too few points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointlift.contracts.blocks import SuiteSettings, TaskSettings
from pointlift.contracts.protocols import Protocol, differing, protocol_of

if TYPE_CHECKING:
    from pointlift.configuration import Config


def task_mistakes(config: Config, name: str, task: TaskSettings) -> list[str]:
    """What is wrong with one task, beside blocks that do not exist."""
    dataset = config.datasets.get(task.dataset)
    has_scenes = getattr(dataset, "has_scenes", False)
    if dataset is None or task.reads_scenes == has_scenes:
        return []
    wanted, given = ("scenes", "single shapes") if task.reads_scenes else ("single shapes", "scenes")
    fitting = [other for other, block in config.datasets.items() if getattr(block, "has_scenes", False) != has_scenes]
    return [
        f"tasks.{name}.dataset: {task.dataset!r} (kind {dataset.kind!r}) has {given}, and a task of kind {task.kind!r} "
        f"is about {wanted}; name one of {', '.join(fitting) or 'none that is here'}"
    ]


def cloud_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Students that need more points than the runs' distillation sets or the tasks that they meet give them."""
    found = []
    for run_name in suite.runs:
        run = config.runs[run_name]
        student = config.students.get(run.student)
        if student is None:
            continue
        told = f"student {run.student!r} of run {run_name!r} needs clouds of {student.least_points()} points"
        given = {f"tasks.{task}": _num_points(config, task) for task in suite.task_names()}
        met = {key: count for key, count in given.items() if run_name in suite.runs_of(key.removeprefix("tasks."))}
        if run.dataset in config.datasets:
            met[f"datasets.{run.dataset}"] = config.datasets[str(run.dataset)].num_points
        found += [
            f"suites.{name}.runs: {told}, and {key} gives it {count}; raise that number, or take a smaller student"
            for key, count in met.items()
            if count is not None and count < student.least_points()
        ]
    return found


def protocol_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Tasks of one kind whose numbers would bear one protocol's name, and are not measured alike."""
    found: list[str] = []
    known: dict[tuple[str, str], tuple[str, Protocol]] = {}
    for task_name in suite.task_names():
        task = config.tasks[task_name]
        if task.dataset not in config.datasets:
            continue
        protocol = protocol_of(config.datasets[task.dataset], task, "transfer")
        other, same = known.setdefault((task.kind, protocol.name), (task_name, protocol))
        if same != protocol:
            found.append(
                f"suites.{name}.tasks: {other!r} and {task_name!r} would both measure {task.kind} by protocol "
                f"{protocol.name!r}, and differ in {differing(same, protocol)}; say it in the protocol of a dataset"
            )
    return found


def _num_points(config: Config, task: str) -> int | None:
    """Points that a student is given at once by a task: its own number, or that of its dataset, where there is one."""
    block = config.tasks[task]
    own: int | None = getattr(block, "num_points", getattr(config.datasets.get(block.dataset), "num_points", None))
    return own
