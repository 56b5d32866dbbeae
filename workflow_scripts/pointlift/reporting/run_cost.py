"""What a number took: the rows of cost.csv that one run met by one task rests on, per seed; and tables of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pointlift.reporting.cells import MISSING
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.tables import Row, number, to_number


@dataclass(frozen=True)
class RunCost:
    """Of one seed: its distillation, with that of the runs it starts from, its finetuning or embedding, its evaluation.

    None: not measured. peak_rss_mb is the largest; cache_bytes is what it reads of a teacher's cache; parameters are
    numbers of the student that is deployed. seconds_ratio: its seconds over those of the run that it is to match.
    """

    wall_s: float | None = None
    cpu_hours: float | None = None
    gpu_hours: float | None = None
    peak_rss_mb: float | None = None
    cache_bytes: float | None = None
    parameters: float | None = None
    matches: str | None = None
    seconds_ratio: float | None = None

    def words(self) -> list[tuple[str, str]]:
        """(what, how much) pairs for a reader."""
        told = [
            ("seconds", _scaled(self.wall_s, 1, "{:,.1f}")),
            ("CPU min", _scaled(self.cpu_hours, 1 / 60, "{:,.2f}")),
            ("GPU min", _scaled(self.gpu_hours, 1 / 60, "{:,.2f}")),
            ("peak MB", _scaled(self.peak_rss_mb, 1, "{:,.0f}")),
            ("cache MB", _scaled(self.cache_bytes, 1e6, "{:,.2f}")),
            ("parameters", _scaled(self.parameters, 1, "{:,.0f}")),
        ]
        if self.matches is not None:
            told.append((f"seconds / {self.matches}'s", _scaled(self.seconds_ratio, 1, "{:.2f}")))
        return told


def run_cost(settings: PageSettings, cost: Sequence[Row], run: str, task: str, dataset: str) -> RunCost:
    """Means over the suite's seeds. What runs share (renders, teachers and their cache) is in none of them."""
    origin = next((one for one in settings.origins if one.run == run), None)
    starts = origin.starts_from if origin is not None else ()
    before = [row for row in cost if row["run"] in starts and row["phase"] == "train_student"]
    rows = _rows(cost, run, task, dataset) + before
    seeds = len(settings.seeds)
    whole = bool(rows) and len(before) == len(starts) and all(row["measured"] == row["jobs"] for row in rows)
    wall = _sum(rows, "wall_s", seeds) if whole else None
    cached = _values(rows, "cache_bytes")
    ratio, matches = None, origin.matches if origin is not None else None
    if matches is not None and wall is not None:
        other = run_cost(settings, cost, matches, task, dataset).wall_s
        ratio = wall / other if other else None
    return RunCost(
        wall_s=wall,
        cpu_hours=_sum(rows, "cpu_hours", seeds) if whole else None,
        gpu_hours=_sum(rows, "gpu_hours", seeds) if whole else None,
        peak_rss_mb=max(_values(rows, "peak_rss_mb"), default=None),
        cache_bytes=sum(cached) if len(cached) == len(rows) and rows else None,
        parameters=max(_values([row for row in rows if not row["task"]], "parameters"), default=None),
        matches=matches,
        seconds_ratio=ratio,
    )


def _rows(cost: Iterable[Row], run: str, task: str, dataset: str) -> list[Row]:
    """Rows of a run that one of its numbers rests on: a task that trains the student embeds nothing."""
    own = [row for row in cost if row["run"] == run and row["task"] in ("", task) and row["dataset"] in ("", dataset)]
    trained = any(row["phase"] in ("finetune_student", "replay_student") for row in own)
    return [row for row in own if not (trained and row["phase"] == "embed_shapes")]


def _values(rows: Iterable[Row], column: str) -> list[float]:
    return [value for row in rows if (value := to_number(row[column])) is not None]


def _sum(rows: Sequence[Row], column: str, seeds: int) -> float | None:
    """Per seed; None where a row lacks it."""
    values = _values(rows, column)
    return sum(values) / seeds if len(values) == len(rows) else None


def by_phase(cost: Sequence[Row]) -> list[Row]:
    """Cost rows folded over runs, the slowest phase first, then the sum of all."""
    phases = [_total(phase, [row for row in cost if row["phase"] == phase]) for phase in {row["phase"] for row in cost}]
    phases.sort(key=lambda row: (-(to_number(row["wall_s"]) or 0.0), row["phase"]))
    return [*phases, _total("all", cost)] if cost else []


def _total(phase: str, rows: Sequence[Row]) -> Row:
    total = {"phase": phase, "run": "", "task": "", "dataset": "", "parameters": ""}
    folds: dict[str, Callable[[list[float]], float]] = {"peak_rss_mb": max}
    for name in ("jobs", "wall_s", "cpu_hours", "gpu_hours", "peak_rss_mb", "bytes"):
        values = _values(rows, name)
        total[name] = number(folds.get(name, sum)(values)) if values else ""
    return total


def cost_lines(rows: Sequence[Row]) -> list[Row]:
    """Cost rows with their numbers in a reader's units."""
    return [
        {
            **row,
            "wall": _scaled(to_number(row["wall_s"]), 1, "{:,.1f}"),
            "cpu": _scaled(to_number(row["cpu_hours"]), 1 / 60, "{:,.2f}"),
            "gpu": _scaled(to_number(row["gpu_hours"]), 1 / 60, "{:,.2f}"),
            "memory": _scaled(to_number(row["peak_rss_mb"]), 1, "{:,.0f}"),
            "size": _scaled(to_number(row["bytes"]), 1e6, "{:,.2f}"),
            "weights": _scaled(to_number(row["parameters"]), 1, "{:,.0f}"),
        }
        for row in rows
    ]


def _scaled(value: float | None, unit: float, form: str) -> str:
    return MISSING if value is None else form.format(value / unit)
