"""Mistakes of runs with a released file: a student that is another network, and what cannot be asked of such a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointlift.contracts.blocks import RunSettings, SuiteSettings, TaskSettings
from pointlift.contracts.released import student_mistakes

if TYPE_CHECKING:
    from pointlift.configuration import Config


def network_mistakes(config: Config, name: str, run: RunSettings) -> list[str]:
    """A released file fills the network of its layout and no other."""
    student = config.students.get(run.student)
    if run.released is None or student is None:
        return []
    wrong = student_mistakes(run.released.layout, student.model_dump(mode="json"))
    told = f"runs.{name}.student: {run.student!r} is not the network of layout {run.released.layout!r}"
    return [f"{told}: {'; '.join(wrong)}"] if wrong else []


def asked_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Tasks that would train what is replayed, seeds that would all give one number, embeddings with a random part."""
    found = []
    for run_name in suite.runs:
        run = config.runs[run_name]
        met = {task: config.tasks[task] for task in suite.task_names() if run_name in suite.runs_of(task)}
        if run.released is None:
            continue
        if run.replays and len(suite.seeds) > 1:
            found.append(
                f"suites.{name}.seeds: {run_name!r} is read from a file, and {len(suite.seeds)} seeds would give one "
                "number as often, with an interval of no width; put it into a suite with one seed"
            )
        key = f"suites.{name}.tasks"
        wrong = {task: _why_not(config, run, block) for task, block in met.items()}
        found += [
            f"{key}: {task!r} cannot be asked of run {run_name!r}: {why}; write {{task: {task}, runs: [...]}}"
            for task, why in wrong.items()
            if why is not None
        ]
    return found


def _why_not(config: Config, run: RunSettings, task: TaskSettings) -> str | None:
    if run.replays and task.finetunes and (task.kind != "classification" or task.protocol is not None):
        return "it is replayed, never trained, and answers task classification by our protocol alone"
    token = getattr(config.students.get(run.student), "class_token", False)
    frozen = not task.finetunes or getattr(task, "regime", "all") == "frozen"
    if frozen and run.released is not None and run.released.layout == "point_mae_pretrained" and token:
        return (
            "its file has no class token, and a random one would be in every embedding (class_token: false, pool: max)"
        )
    return None
