"""The inflation ladder as a reader sees it: a step chart and a table per primary metric, watermarked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pointlift.reporting.cells import Cell, plain
from pointlift.reporting.figures import NUM_COLOURS, nice_ticks
from pointlift.reporting.ladder import RUNGS
from pointlift.reporting.tables import Row, to_number

WATERMARK = "audit, no result"
_NAMES = dict(zip(RUNGS, ("last", "best val", "best test", "best seed", "best vote"), strict=True))
_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24


@dataclass(frozen=True)
class LadderLine:
    """One run, as text: of every rung of its table its number, what it adds, and what its choice was among."""

    run: str
    arm: str
    steps: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class LadderTable:
    """All runs in one metric. ``charts`` with their legends: runs that would share a colour stand in several."""

    task: str
    dataset: str
    protocol: str
    metric: str
    rungs: tuple[str, ...]
    lines: tuple[LadderLine, ...]
    charts: tuple[tuple[Markup, tuple[str, ...]], ...]

    @property
    def title(self) -> str:
        """Task, dataset, protocol and metric in words."""
        return f"{self.task} on {self.dataset}, {self.protocol}: {self.metric}"


def ladder_tables(ladder: Sequence[Row], shown: Collection[Cell]) -> list[LadderTable]:
    """A table for every one of the cells that has a ladder with more than the headline, in their order."""
    tables = []
    for cell in shown:
        key = (cell.task, cell.dataset, cell.protocol, cell.metric)
        rows = [row for row in ladder if (row["task"], row["dataset"], row["protocol"], row["metric"]) == key]
        names = tuple(name for name in RUNGS if any(row["rung"] == name for row in rows))
        if len(names) > 1:
            tables.append(_table(key, names, rows))
    return tables


def step_chart(title: str, names: Sequence[str], runs: Mapping[str, Mapping[str, float]]) -> Markup:
    """Values by rung of named runs, a stair each; where a run lacks a rung it stays where it was.

    names : of the rungs, left to right; every run has the first. ``title`` is read aloud, not drawn.
    """
    values = [value for steps in runs.values() for value in steps.values()]
    low, high = min(values), max(values)
    ticks = nice_ticks(low, high) if high - low > 1e-9 else nice_ticks(low - 0.05, high + 0.05)

    def across(position: float) -> float:
        return _LEFT + position / len(names) * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return _TOP + (ticks[-1] - value) / (ticks[-1] - ticks[0]) * (_HEIGHT - _TOP - _BOTTOM)

    line = Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
    text = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    parts = [line.format(across(0), across(len(names)), down(tick), down(tick)) for tick in ticks]
    parts += [text.format("tick", _LEFT - 5, down(tick) + 3.5, "end", f"{tick + 0.0:.4g}") for tick in ticks]
    parts += [text.format("tick", across(at + 0.5), _HEIGHT - 8, "middle", _NAMES[n]) for at, n in enumerate(names)]
    parts.append(
        text.format("watermark", (_LEFT + _WIDTH - _RIGHT) / 2, (_HEIGHT - _BOTTOM) / 2 + 8, "middle", WATERMARK)
    )
    curve = Markup('<polyline class="curve c{}" points="{}"><title>{}</title></polyline>')
    for index, (run, steps) in enumerate(runs.items()):
        corners = [f"{across(x):.1f},{down(y):.1f}" for x, y in _stair(names, steps)]
        parts.append(curve.format(index % NUM_COLOURS, " ".join(corners), run))
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"{title}, {WATERMARK}", Markup("").join(parts)
    )


def _stair(names: Sequence[str], steps: Mapping[str, float]) -> list[tuple[float, float]]:
    """Corners of a stair: a step of length 1 for every rung."""
    corners: list[tuple[float, float]] = []
    height = steps[names[0]]
    for at, name in enumerate(names):
        height = steps.get(name, height)
        corners += [(at, height), (at + 1, height)]
    return corners


def _table(key: tuple[str, str, str, str], names: tuple[str, ...], rows: Sequence[Row]) -> LadderTable:
    runs = sorted({row["run"] for row in rows})
    by_run = {run: {row["rung"]: row for row in rows if row["run"] == run} for run in runs}
    lines = [
        LadderLine(run, by_run[run]["last"]["arm"], tuple(_step(by_run[run].get(n)) for n in names)) for run in runs
    ]
    charts = []
    for part in _parts(runs):
        values = {run: {name: to_number(row["value"]) or 0.0 for name, row in by_run[run].items()} for run in part}
        charts.append((step_chart(f"{key[0]} on {key[1]}, {key[2]}: {key[3]} by rung", names, values), part))
    return LadderTable(*key, tuple(_NAMES[name] for name in names), tuple(lines), tuple(charts))


def _parts(runs: Sequence[str]) -> list[tuple[str, ...]]:
    """At most as many as there are colours, in parts of about one size."""
    size = -(-len(runs) // -(-len(runs) // NUM_COLOURS))
    return [tuple(runs[first : first + size]) for first in range(0, len(runs), size)]


def _step(row: Row | None) -> tuple[str, str, str]:
    """Number, what it adds, and what it was chosen from."""
    if row is None:
        return plain(""), "", ""
    among = {"val": "looks", "oracle_epoch": "looks", "best_seed": "seeds", "best_vote": "votes a seed"}
    told = f"of {row['k']} {among[row['rung']]}" if row["k"] else ""
    if row["expected"]:
        told += f"; {plain(row['expected'])} by chance"
    return plain(row["value"]), plain(row["added"], signed=True) if row["added"] else "", told
