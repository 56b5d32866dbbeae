"""The leaderboard as a reader sees it: one cell per task, dataset, protocol, selection and metric, never two in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pointlift.reporting.leaderboard import is_control
from pointlift.reporting.tables import UNKNOWN, Row, to_number

HEADLINE_SELECTION = "last"
MISSING = "\N{EN DASH}"

#: What the field names first, of tasks whose metrics with intervals are others: those are over scenes, one by one.
_NAMED = {"semantic_segmentation": ("mean_iou", "scene_mean_iou"), "detection": ("map_25", "map_50", "scene_recall_25")}


@dataclass(frozen=True)
class RunLine:
    """One run in a cell: ``row`` has its mean, ``comparisons`` one leaderboard row per control."""

    row: Row
    comparisons: tuple[Row, ...]
    is_control: bool


@dataclass(frozen=True)
class Cell:
    """Runs that may be compared. ``primary``: shown first; with intervals of its differences, where any has."""

    task: str
    dataset: str
    protocol: str
    selection: str
    metric: str
    lines: tuple[RunLine, ...]
    primary: bool

    @property
    def title(self) -> str:
        """Task, dataset, protocol and metric in words."""
        return f"{self.task} on {self.dataset}, {self.protocol}: {self.metric}"


def cells(leaderboard: Iterable[Row]) -> list[Cell]:
    """Cells in order of task, dataset, protocol, selection, metric; methods stand before their controls."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in leaderboard:
        key = tuple(row[name] for name in ("task", "dataset", "protocol", "selection", "metric"))
        groups.setdefault(key, []).append(row)
    return [_cell(key, groups) for key in sorted(groups, key=as_read)]


def as_read(key: tuple[str, ...]) -> list[tuple[int | str, ...]]:
    """A sort key under which 3 shots stand before 12."""
    pieces = [piece for word in key for piece in (*re.split(r"(\d+)", word), "")]
    return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in pieces]


def _cell(key: tuple[str, ...], groups: dict[tuple[str, ...], list[Row]]) -> Cell:
    task, dataset, protocol, selection, metric = key
    return Cell(task, dataset, protocol, selection, metric, _lines(groups[key]), metric in _primary(key, groups))


def _lines(rows: Sequence[Row]) -> tuple[RunLine, ...]:
    lines = []
    for run in sorted({row["run"] for row in rows}):
        own = [row for row in rows if row["run"] == run]
        compared = tuple(row for row in own if row["control"])
        lines.append(RunLine(own[0], compared, is_control(own[0]["arm"], own[0]["protocol"])))
    return tuple(sorted(lines, key=lambda line: line.is_control))


def _primary(key: tuple[str, ...], groups: dict[tuple[str, ...], list[Row]]) -> set[str]:
    """Metrics to show first among those of the same task, dataset, protocol and selection."""
    siblings = {other[-1]: rows for other, rows in groups.items() if other[:-1] == key[:-1]}
    named = set(_NAMED.get(key[0], ())) & set(siblings)
    if named:
        return named
    known = {metric for metric, rows in siblings.items() if any(row["delta_ci95_low"] for row in rows)}
    return known or {min(siblings)}


def detectable_text(cell: Cell) -> str:
    """What a table could have shown at all, in words; empty where nothing in it is compared."""
    rows = [row for line in cell.lines if not line.is_control for row in line.comparisons]
    found = sorted(value for row in rows if (value := to_number(row["detectable"])) is not None)
    if not rows:
        return ""
    if not found:
        why = (
            "runs differ alike, or nowhere," if any(row["p_value"] for row in rows) else "nothing here tells the spread"
        )
        return f"What difference could have been found is not known: {why} over test items."
    least, most = plain(str(found[0])), plain(str(found[-1]))
    upto = "" if least == most else f" (or of {most}, where a comparison is least sharp)"
    return f"Differences of at least {least}{upto} would have been found four times in five."


def copies_text(cell: Cell) -> str:
    """What a reader must know of test items that are copies of one object, in words; empty where there are none."""
    found = {row["objects"] for line in cell.lines for row in line.comparisons} - {""}
    if UNKNOWN in found:
        return (
            "Test items are copies of fewer objects, and nothing says which: intervals and p values take copies as "
            "independent, so that intervals are too narrow and p values too small. No claim rests on them."
        )
    if not found:
        return ""
    least, most = min(found, key=int), max(found, key=int)
    counted = least if least == most else f"{least} to {most}"
    return f"Test items are copies of {counted} objects: intervals and p values resample and flip whole objects."


def plain(text: str, signed: bool = False) -> str:
    """A number of a table, rounded for reading: three decimals, or four digits when it is large. Empty: a dash."""
    value = to_number(text)
    if value is None:
        return MISSING
    sign = "+" if signed else ""
    return f"{value:{sign}.3f}" if abs(value) < 100 else f"{value:{sign}.4g}"


def p_text(text: str) -> str:
    """A p value of a table, rounded for reading. Empty: a dash."""
    value = to_number(text)
    return "< 0.001" if value is not None and value < 0.001 else plain(text)


def interval(row: Row, name: str, signed: bool = False) -> str:
    """``[low, high]`` of ``{name}_low`` and ``{name}_high``, or a dash."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"[{plain(low, signed)}, {plain(high, signed)}]" if low else MISSING


def mean_and_sd(row: Row) -> str:
    """``mean ± sd``, without a spread where one seed has none."""
    return f"{plain(row['mean'])} ± {plain(row['sd'])}" if row["sd"] else plain(row["mean"])
