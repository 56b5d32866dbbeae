"""What the weights of a suite's runs saw before a task: labels of the report, and the sets to look for copies in."""

from __future__ import annotations

from typing import Any

from pointlift.contracts.blocks import RunSettings
from pointlift.graph import Graph
from pointlift.model_cards import weights_source

Origin = dict[str, Any]
NOTHING = {"saw": "none", "told": "random weights"}


def origins(graph: Graph) -> list[Origin]:
    """One entry per run of the suite; see ``reporting.slices.Origin``."""
    return [_origin(graph, name) for name in graph.config.chosen.runs]


def _origin(graph: Graph, name: str) -> Origin:
    run = graph.config.runs[name]
    starts = _starts(graph, run)
    sets = _sets(graph, [run, *(graph.config.runs[start] for start in starts)])
    told: Origin = {"run": name, **_saw(graph, run), "sets": sets}
    if starts:
        told["starts_from"] = starts
    if run.matches is not None:
        told["matches"] = run.matches
    return told


def _starts(graph: Graph, run: RunSettings) -> list[str]:
    """The run that a run starts from, the one that this starts from, and so on."""
    return [] if run.init is None else [run.init, *_starts(graph, graph.config.runs[run.init])]


def _saw(graph: Graph, run: RunSettings) -> Origin:
    """The label, and beside it in words: whose weights, made of what."""
    if run.released is not None:
        saw: str = run.released.saw
        told = f"what the authors say of the weights that they released, {run.released.file}"
        if run.arm == "replayed" and saw != "labelled":
            told, saw = f"{told}; then labels: it is a classifier that they finetuned", f"{saw}, then labels"
        return {"saw": saw, "label": f"{saw}: released weights", "told": told}
    if run.inflation is not None:
        source = run.inflation.source
        weights = weights_source(graph.config.teachers[source])
        return {
            "saw": "2D weights",
            "label": f"2D weights: {source}{_outside(weights)}",
            "told": f"{source}: {weights}",
        }
    if run.method is None or run.arm == "control":
        return dict(NOTHING)
    place = "the task's train split" if run.form == "joint" else str(run.dataset)
    label, told = f"in-graph: {place}", f"distilled on {place}{', beside the task' if run.form == 'joint' else ''}"
    if run.teacher is not None:
        weights = weights_source(graph.config.teachers[run.teacher])
        label, told = f"{label}, teacher {run.teacher}{_outside(weights)}", f"{told}; teacher {run.teacher}: {weights}"
    start = f"; started from {run.init}" if run.init is not None else ""
    return {"saw": "in-graph", "label": label + start, "told": told + start}


def _outside(weights: str) -> str:
    """Said beside a name where its weights are not made here alone."""
    return " (published weights)" if "published" in weights else ""


def _sets(graph: Graph, runs: list[RunSettings]) -> list[list[str]]:
    """(use, dataset) pairs of what shaped these runs' weights, a joint run's own task aside; (published, whose) of
    weights whose pictures or shapes nobody here has."""
    found: list[list[str]] = []
    for run in [run for run in runs if run.arm != "control"]:  # which is taught with weight 0
        found += [["distillation", run.dataset]] if run.dataset is not None else []
        teacher = graph.config.teachers[run.image_model] if run.image_model is not None else None
        if teacher is not None and teacher.training is not None:
            found.append(["teacher", teacher.training.dataset])
        if teacher is not None and "published" in weights_source(teacher):
            found.append(["published", str(run.image_model)])
        found += [["published", run.released.file]] if run.released is not None else []
    return [pair for number, pair in enumerate(found) if pair not in found[:number]]
