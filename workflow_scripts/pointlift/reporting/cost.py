"""cost.csv: what each run and phase took, from Snakemake's benchmark files and the artifacts themselves."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pointlift.contracts.errors import ArtifactError
from pointlift.reporting.slices import CostEntry
from pointlift.reporting.tables import Row, number


@dataclass(frozen=True)
class JobCost:
    """What one job took; None where it was not measured (Snakemake writes NA for jobs too short to sample)."""

    run: str
    phase: str
    task: str
    dataset: str
    wall_s: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    peak_rss_mb: float | None
    bytes: float | None
    cache_bytes: float | None
    parameters: float | None


def job_costs(entries: Sequence[CostEntry], benchmarks: Iterable[Path]) -> list[JobCost]:
    """The cost of every entry and benchmark file; a file without an entry is of the phase its folder is named after."""
    known = {entry.path for entry in entries}
    more = [CostEntry(path=str(path), phase=path.parent.name) for path in benchmarks if str(path) not in known]
    return [_job_cost(entry) for entry in (*entries, *more)]


def cost_rows(jobs: Iterable[JobCost]) -> list[Row]:
    """Rows of ``COST_COLUMNS``, one per run, phase, task and dataset, sorted, over all seeds: times and bytes added up,
    the rest the largest. Phases that runs share have no run, those that tasks share no task.

    A sum of less than all would look like a small one: cpu_hours is empty where a job whose time was measured has none,
    cache_bytes where a job's cache is not there (any more).
    """
    groups: dict[tuple[str, ...], list[JobCost]] = {}
    for job in jobs:
        groups.setdefault((job.run, job.phase, job.task, job.dataset), []).append(job)
    return [
        {
            "run": run,
            "phase": phase,
            "task": task,
            "dataset": dataset,
            "jobs": str(len(group)),
            "measured": str(sum(job.wall_s is not None for job in group)),
            "wall_s": _fold(sum, [job.wall_s for job in group]),
            "cpu_hours": _whole([job.cpu_hours for job in group if job.wall_s is not None]),
            "gpu_hours": _fold(sum, [job.gpu_hours for job in group]),
            "peak_rss_mb": _fold(max, [job.peak_rss_mb for job in group]),
            "bytes": _fold(sum, [job.bytes for job in group]),
            "cache_bytes": _whole([job.cache_bytes for job in group]),
            "parameters": _fold(max, [job.parameters for job in group]),
        }
        for (run, phase, task, dataset), group in sorted(groups.items())
    ]


def _fold(combine: Callable[[list[float]], float], values: list[float | None]) -> str:
    measured = [value for value in values if value is not None]
    return number(combine(measured) if measured else None)


def _whole(values: list[float | None]) -> str:
    """Their sum; empty where one is missing, or all are."""
    return "" if None in values else _fold(sum, values)


def _job_cost(entry: CostEntry) -> JobCost:
    lines = _benchmark(Path(entry.path))
    wall, cpu = _mean(lines, "s"), _mean(lines, "cpu_time")
    return JobCost(
        entry.run,
        entry.phase,
        entry.task,
        entry.dataset,
        wall_s=wall,
        cpu_hours=None if cpu is None else cpu / 3600,
        gpu_hours=None if wall is None else entry.gpus * wall / 3600,
        peak_rss_mb=_mean(lines, "max_rss"),
        bytes=_size(entry.files) if any(Path(name).is_file() for name in entry.files) else None,
        cache_bytes=_size(entry.reads) if all(Path(name).is_file() for name in entry.reads) else None,
        parameters=_count(Path(entry.weights)) if entry.weights else None,
    )


def _size(files: Iterable[str]) -> float:
    """Bytes of those that exist."""
    return float(sum(Path(name).stat().st_size for name in files if Path(name).is_file()))


def _benchmark(path: Path) -> list[Row]:
    """Lines of a benchmark file, one per repetition; none when it does not exist (pulled artifacts have none)."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))
    except FileNotFoundError:
        return []


def _mean(lines: list[Row], column: str) -> float | None:
    values = [value for line in lines if (value := _measured(line.get(column))) is not None]
    return sum(values) / len(values) if values else None


def _measured(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _count(path: Path) -> float | None:
    """How many numbers a safetensors file holds, from its header; None when there is no such file."""
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="numpy") as stream:
            return float(sum(math.prod(stream.get_slice(name).get_shape()) for name in stream.keys()))  # noqa: SIM118
    except SafetensorError as error:
        raise ArtifactError(f"{path}: not readable weights ({error}); delete it and run snakemake again") from None
