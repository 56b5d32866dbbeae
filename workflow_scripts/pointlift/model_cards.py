"""What the model cards of a suite are told: of every run, its blocks and whose terms its weights stand under."""

from __future__ import annotations

from typing import Any

from pointlift import rooms
from pointlift.contracts.blocks import RunSettings
from pointlift.contracts.raw_data import Licence
from pointlift.contracts.teacher_blocks import TeacherSettings
from pointlift.graph import Graph

Card = dict[str, Any]
_SHOWN = {"form", "arm", "student", "method", "teacher", "rig", "dataset", "init"}


def cards_settings(graph: Graph) -> Card:
    """The suite, what makes it again, and one entry per run; see ``reporting.slices.CardsSettings``."""
    suite, chosen = graph.config.suite, graph.config.chosen
    return {
        "suite": suite,
        "seeds": list(chosen.seeds),
        "command": f"make benchmark SUITE={suite}{_local_files(graph)}",
        "blocks": _blocks(graph),
        "runs": [_card(graph, name) for name in chosen.runs],
    }


def _local_files(graph: Graph) -> str:
    """The word that a suite needs whose archives or weights are local files."""
    teachers = [graph.config.teachers[run.image_model] for run in _runs(graph) if run.image_model is not None]
    archives = [graph.config.datasets[name].archive for name in graph.datasets_used]
    local = any(t.local_files() for t in teachers) or any(run.released for run in _runs(graph))
    return " DATA=<folder of archives>" if any(archives) or local else ""


def _runs(graph: Graph) -> list[RunSettings]:
    return [graph.config.runs[name] for name in graph.config.chosen.runs]


def _card(graph: Graph, name: str) -> Card:
    run, config = graph.config.runs[name], graph.config
    tasks = [task for own, task, _ in graph.evaluations if own == name]
    met = [] if run.replays else [(task, dataset) for own, task, dataset in graph.evaluations if own == name]
    finetuned = [task for task, dataset in met if graph.finetunes(task, dataset)]
    dataset = config.datasets[run.dataset] if run.dataset is not None else None
    every_point = getattr(dataset, "subsample", None) == "all"
    return {
        "run": name,
        **run.model_dump(mode="json", include=_SHOWN),
        "source": run.inflation.source if run.inflation is not None else None,
        "released": None if run.released is None else f"{run.released.file}, layout {run.released.layout}",
        "teacher_weights": weights_source(config.teachers[run.image_model]) if run.image_model is not None else "",
        "num_points": None if dataset is None or every_point else dataset.num_points,
        "placed_by_mesh": dataset is not None and dataset.has_meshes,
        "keeps_coordinates": bool(getattr(dataset, "keep_coordinates", False)),
        "learned_from": _learned_from(graph, run),
        "finetuned_by": sorted(set(finetuned)),
        "not_judged_by": sorted(set(rooms.available("tasks")) - set(tasks)),
    }


def _blocks(graph: Graph) -> dict[str, Card]:
    """Blocks of the runs, of those that they start from, and of what these name, by family. Datasets are left out:
    their terms stand by themselves."""
    config, names = graph.config, list(graph.config.chosen.runs)
    for name in names:  # grows while it is read, as long as a run starts from one that is not there yet
        start = config.runs[name].init
        names += [start] if start is not None and start not in names else []
    found = {"runs": {name: config.runs[name].model_dump(mode="json") for name in names}}
    for word in ("student", "method", "teacher", "rig"):
        key = "image_model" if word == "teacher" else word
        used = sorted({getattr(config.runs[name], key) for name in names} - {None})
        found[f"{word}s"] = {name: getattr(config, f"{word}s")[name].model_dump(mode="json") for name in used}
    return found


def _learned_from(graph: Graph, run: RunSettings) -> list[Card]:
    """Whatever shaped the weights in the run's folder, the run that it started from included; none where none did."""
    if run.form == "joint":
        return []
    found = [] if run.method is None else [_of_dataset(graph, str(run.dataset), "shapes it was distilled on")]
    if run.released is not None:
        what = f"weights that others released, file {run.released.file}; their pretraining saw {run.released.saw}"
        found += [{"name": run.released.layout, "what": what, "made_here": False}]
    if run.image_model is not None:
        teacher, word = graph.config.teachers[run.image_model], "teacher" if run.inflation is None else "2D weights"
        found += [_of_teacher(run.image_model, teacher, word)]
        if teacher.training is not None:
            what = f"shapes its {word} {'was' if run.inflation is None else 'were'} trained on"
            found += [_of_dataset(graph, teacher.training.dataset, what)]
    if run.init is not None:
        found += _learned_from(graph, graph.config.runs[run.init])
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _of_dataset(graph: Graph, name: str, what: str) -> Card:
    """A dataset that has no folder of raw files is made by the program."""
    block = graph.config.datasets[name]
    told: Card = {"name": name, "what": what, "made_here": block.folder is None}
    if isinstance(block.licence, Licence):
        return {**told, "licence": block.licence.name, "terms": block.licence.terms, "page": block.licence.page}
    return {**told, "licence": block.licence}


def _of_teacher(name: str, block: TeacherSettings, word: str) -> Card:
    source = weights_source(block)
    return {"name": name, "what": f"{word}: {source}", "made_here": not _published(block)}


def weights_source(block: TeacherSettings) -> str:
    """Where a teacher's weights come from, in words."""
    start = _published(block)
    if block.training is not None:
        begun = f"from {start}" if start else "from random weights"
        labels = " and its labels" if block.learns_from_labels() else ""
        return f"trained in this graph on {block.training.dataset}{labels}, {begun}"
    return start or "random weights, never trained"


def _published(block: TeacherSettings) -> str | None:
    """Weights that somebody else made, which the teacher is or starts from; None where there are none.

    Kinds with a key ``backbone_file`` begin with ImageNet weights unless they say otherwise; others train from scratch.
    """
    values = block.model_dump(mode="json")
    files = block.local_files()
    model = values.get("model") or values.get("architecture")
    told = f" of {model}" if isinstance(model, str) else ""
    if files:
        return f"published weights{told}, local file {', '.join(files.values())}"
    if values.get("initialisation") == "random":
        return None
    if values.get("pretrained") is not None:
        return f"published weights {values['pretrained']}{told}"
    if block.training is not None and "backbone_file" not in values:
        return None
    return f"published weights{told}"
