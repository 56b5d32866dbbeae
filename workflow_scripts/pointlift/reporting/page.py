"""report.html: one file that needs no network, no script and no other file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pointlift.reporting import cells as reading
from pointlift.reporting.cells import HEADLINE_SELECTION, MISSING, Cell, cells
from pointlift.reporting.contact_sheet import Sheet
from pointlift.reporting.figures import NUM_COLOURS, interval_bar, line_chart
from pointlift.reporting.history import Points, Training
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.speed import TASK as SPEED
from pointlift.reporting.speed import seconds_per_step, speed_tables
from pointlift.reporting.tables import Row, number, to_number
from pointlift.reporting.task_curves import TaskCurves
from pointlift.reporting.verdict import measured, verdicts

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Panel:
    """One chart with its legend."""

    name: str
    chart: Markup
    legend: tuple[str, ...]


def render_page(
    settings: PageSettings,
    *,
    summary: Sequence[Row],
    leaderboard: Sequence[Row],
    cost: Sequence[Row],
    quarantine: Sequence[Row],
    trainings: Sequence[Training],
    sheets: Sequence[Sheet],
    provenance: Mapping[str, Any],
    curves: Sequence[TaskCurves] = (),
) -> str:
    """The page as text. Everything that comes from data is escaped; the same input gives the same text."""
    found = cells(leaderboard)
    headline = [cell for cell in found if cell.selection == HEADLINE_SELECTION]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"reading": reading, "bars": _bars, "num_colours": NUM_COLOURS}
    return environment.get_template("report.html.j2").render(
        suite=settings.suite,
        command=settings.command or f"make benchmark SUITE={settings.suite}",
        provenance=flatten(provenance),
        config=json.dumps(settings.config, indent=1, sort_keys=True) if settings.config else "",
        measured=measured(settings.suite, leaderboard) if leaderboard else "Nothing was measured.",
        verdicts=verdicts(found, summary),
        sections=[
            ("Results", [cell for cell in headline if _is_shown(cell)]),
            ("More metrics", [cell for cell in headline if not _is_shown(cell)]),
            ("Other selections, not the headline", [cell for cell in found if cell.selection != HEADLINE_SELECTION]),
        ],
        speeds=speed_tables(summary, leaderboard, seconds_per_step(settings.speeds)),
        panels=_panels(trainings) | _task_panels(curves),
        sheets=[sheet for sheet in sheets if sheet.strips],
        quarantine=quarantine,
        cost_by_phase=_cost_lines(_by_phase(cost)),
        cost=_cost_lines(cost),
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, text) of a nested mapping, in its own order."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        lines += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, str(value))]
    return lines


def _bars(cell: Cell) -> dict[tuple[str, str], Markup]:
    """A bar per (run, control) of a cell, all on one scale."""
    rows = [row for line in cell.lines if not line.is_control for row in line.comparisons]
    columns = ("delta_vs_control", "delta_ci95_low", "delta_ci95_high")
    numbers = {(row["run"], row["control"]): [to_number(row[name]) for name in columns] for row in rows}
    extent = max((abs(value) for values in numbers.values() for value in values if value is not None), default=0.0)
    return {key: interval_bar(delta or 0.0, low, high, extent or 1.0) for key, (delta, low, high) in numbers.items()}


def _panels(trainings: Iterable[Training]) -> dict[str, list[Panel]]:
    """Charts by phase; what differs in kind (losses, shares, others) never shares a scale."""
    panels: dict[str, list[Panel]] = {}
    for training in trainings:
        families: dict[str, dict[str, list[Points]]] = {}
        for name, lines in sorted(training.curves.items()):
            families.setdefault(_family(name, lines), {})[name] = lines
        for family, curves in sorted(families.items()):
            chart = line_chart(f"{training.phase}, {training.name}: {family} by epoch", curves)
            panels.setdefault(training.phase, []).append(Panel(training.name, chart, tuple(curves)))
    return panels


def _task_panels(curves: Iterable[TaskCurves]) -> dict[str, list[Panel]]:
    """Charts by task, dataset and protocol: one measure of all runs, or of some where they are many."""
    panels: dict[str, list[Panel]] = {}
    for each in curves:
        chart = line_chart(f"{each.title}: {each.measure} by epoch", each.lines)
        panels.setdefault(each.title, []).append(Panel(each.measure, chart, tuple(each.lines)))
    return panels


def _is_shown(cell: Cell) -> bool:
    """Whether a table stands first. What there is of speed stands in one table: means leave out who did not arrive."""
    return cell.primary and cell.task != SPEED


def _family(name: str, lines: Sequence[Points]) -> str:
    if name == "loss" or name.endswith("_loss"):
        return "losses"
    shares = all(0.0 <= y <= 1.0 for line in lines for _, y in line)
    return "shares" if shares else "other values"


def _by_phase(cost: Sequence[Row]) -> list[Row]:
    """Cost rows folded over runs, the slowest phase first, then the sum of all."""
    phases = [_total(phase, [row for row in cost if row["phase"] == phase]) for phase in {row["phase"] for row in cost}]
    phases.sort(key=lambda row: (-(to_number(row["wall_s"]) or 0.0), row["phase"]))
    return [*phases, _total("all", cost)] if cost else []


def _total(phase: str, rows: Sequence[Row]) -> Row:
    total = {"phase": phase, "run": "", "parameters": ""}
    for name in ("jobs", "wall_s", "cpu_hours", "gpu_hours", "peak_rss_mb", "bytes"):
        values = [value for row in rows if (value := to_number(row[name])) is not None]
        total[name] = number((max if name == "peak_rss_mb" else sum)(values)) if values else ""
    return total


def _cost_lines(rows: Sequence[Row]) -> list[Row]:
    return [
        {
            **row,
            "wall": _scaled(row["wall_s"], 1, "{:,.1f}"),
            "cpu": _scaled(row["cpu_hours"], 1 / 60, "{:,.2f}"),
            "gpu": _scaled(row["gpu_hours"], 1 / 60, "{:,.2f}"),
            "memory": _scaled(row["peak_rss_mb"], 1, "{:,.0f}"),
            "size": _scaled(row["bytes"], 1e6, "{:,.2f}"),
            "weights": _scaled(row["parameters"], 1, "{:,.0f}"),
        }
        for row in rows
    ]


def _scaled(text: str, unit: float, form: str) -> str:
    value = to_number(text)
    return MISSING if value is None else form.format(value / unit)
