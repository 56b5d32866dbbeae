"""Archives and weights that a suite reads from the folder of local files: what is missing, and whom to ask for it."""

from __future__ import annotations

from pathlib import Path

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.raw_data import Licence
from pointlift.graph import Graph


def require_local_files(graph: Graph) -> None:
    """Raise ``ConfigError`` naming every archive and weights file of the suite that is not where it must be.

    An archive that was unpacked already is not asked for.
    """
    place, missing = graph.config.paths.archives, _wanted(graph)
    if place is not None:
        missing = [(key, name) for key, name in missing if not (Path(place) / name).is_file()]
    if missing:
        told = "is not set" if place is None else f"is {place}, which lacks some of them"
        heading = f"suite {graph.config.suite} reads local files, and paths.archives {told}; name their folder:"
        remedy = "make benchmark DATA=<folder>, or paths.archives in config.yaml"
        lines = [f"{key}: {name}{_owner(graph, key)}" for key, name in missing]
        if any(key.startswith("runs.") for key, _ in missing):
            lines.append("take runs whose released file you do not have out of the suite (docs/replay.md)")
        raise ConfigError("\n  ".join([f"{heading} {remedy}", *lines]))


def _wanted(graph: Graph) -> list[tuple[str, str]]:
    """(key of config.yaml, name of a file)."""
    datasets, teachers = graph.config.datasets, graph.config.teachers
    wanted = [
        (f"datasets.{name}.archive", str(datasets[name].archive))
        for name in graph.datasets_used
        if datasets[name].archive is not None and not Path(graph.raw_index(name)[0]).is_file()
    ]
    used = {graph.config.runs[run].image_model for run in graph.config.chosen.runs} - {None}
    for teacher in sorted(str(name) for name in used):
        wanted += [(f"teachers.{teacher}.{key}", file) for key, file in teachers[teacher].local_files().items()]
    released = {name: graph.config.runs[name].released for name in graph.config.chosen.runs}
    return wanted + [(f"runs.{name}.released", block.file) for name, block in released.items() if block is not None]


def _owner(graph: Graph, key: str) -> str:
    """Whom to ask for the file that a key names, when its owner alone gives it."""
    family, name, _ = key.split(".")
    licence = graph.config.datasets[name].licence if family == "datasets" else None
    return f" (ask at {licence.page}; {licence.name}: {licence.terms})" if isinstance(licence, Licence) else ""
