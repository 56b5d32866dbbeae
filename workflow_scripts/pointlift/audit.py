"""What the audit of duplicates compares: sets that something is trained on, with sets that a suite is judged by."""

from __future__ import annotations

from typing import Any

from pointlift.contracts.duplicates import duplicates_name
from pointlift.graph import Graph


def trained_sets(graph: Graph) -> list[tuple[str, str, str]]:
    """(use, set, judged set) of the suite, sorted. Uses: distillation, teacher, and task for a judged set's own train.

    A joint run distils on the judged set itself, whose pair of use task stands for it. Scenes are left out: what is
    compared are single shapes.
    """
    found = set()
    for run_name, _, judged in graph.evaluations:
        run = graph.config.runs[run_name]
        teacher = graph.config.teachers[run.image_model] if run.image_model else None
        taught = teacher.training.dataset if teacher is not None and teacher.training is not None else None
        uses = {"task": judged, "distillation": run.dataset, "teacher": taught}
        found |= {(use, name, judged) for use, name in uses.items() if name is not None}
    return sorted(row for row in found if not any(_has_scenes(graph, name) for name in row[1:]))


def audit_files(graph: Graph) -> list[str]:
    """The lists that the audit reads: of every compared pair, and those that distillation leaves out."""
    pairs = {f"{graph.results}/manifest/{duplicates_name(first, second)}" for _, first, second in trained_sets(graph)}
    return sorted(pairs | set(graph.all_duplicates()))


def audit_datasets(graph: Graph) -> list[str]:
    """Datasets that stand in a compared pair, sorted."""
    return sorted({name for _, *pair in trained_sets(graph) for name in pair})


def audit_settings(graph: Graph) -> dict[str, Any]:
    """What ``audit_duplicates`` is told: its rows, and whose duplicates distillation leaves out of each set."""
    sets = trained_sets(graph)
    left_out = {
        name: list(graph.config.datasets[name].exclude_duplicates_of) for use, name, _ in sets if use == "distillation"
    }
    return {"suite": graph.config.suite, "sets": [list(row) for row in sets], "left_out": left_out}


def _has_scenes(graph: Graph, dataset: str) -> bool:
    return bool(getattr(graph.config.datasets[dataset], "has_scenes", False))
