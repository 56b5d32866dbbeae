"""report.html: one file that needs no network, no script and no other file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pointlift.contracts.released import RELEASED_ARMS
from pointlift.reporting import cells as reading
from pointlift.reporting import contamination
from pointlift.reporting.cells import HEADLINE_SELECTION, Cell, cells
from pointlift.reporting.contact_sheet import Sheet
from pointlift.reporting.figures import NUM_COLOURS, Mark, interval_bar, line_chart, mark_chart
from pointlift.reporting.history import Points, Training
from pointlift.reporting.ladder_page import ladder_tables
from pointlift.reporting.provenance import flatten
from pointlift.reporting.reported import beside, elsewhere
from pointlift.reporting.run_cost import RunCost, by_phase, cost_lines, run_cost
from pointlift.reporting.slices import Origin, PageSettings
from pointlift.reporting.speed import TASK as SPEED
from pointlift.reporting.speed import seconds_per_step, speed_tables
from pointlift.reporting.tables import Row, to_number
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
    ladder: Sequence[Row] = (),
    cost: Sequence[Row],
    quarantine: Sequence[Row],
    trainings: Sequence[Training],
    sheets: Sequence[Sheet],
    provenance: Mapping[str, Any],
    curves: Sequence[TaskCurves] = (),
    duplicates: contamination.Lists | None = None,
    reported: Sequence[Row] = (),
) -> str:
    """The page as text. Everything that comes from data is escaped; the same input gives the same text.

    duplicates : lists of near-duplicates by both datasets; reported : numbers of other systems.
    """
    found = cells(leaderboard)
    headline = [cell for cell in found if cell.selection == HEADLINE_SELECTION]
    beneath = Beneath(settings, cost, duplicates or {}, reported)
    return _template(beneath).render(
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
        cost_charts=[chart for cell in headline if _is_shown(cell) and (chart := beneath.chart(cell)) is not None],
        origins=settings.origins,
        elsewhere=elsewhere(reported, found),
        ladders=ladder_tables(ladder, [cell for cell in headline if cell.primary]),
        speeds=speed_tables(summary, leaderboard, seconds_per_step(settings.speeds)),
        panels=_panels(trainings) | _task_panels(curves),
        sheets=[sheet for sheet in sheets if sheet.strips],
        quarantine=quarantine,
        cost_by_phase=cost_lines(by_phase(cost)),
        cost=cost_lines(cost),
    )


def _template(beneath: Beneath) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"reading": reading, "bars": _bars, "num_colours": NUM_COLOURS, "beneath": beneath}
    return environment.get_template("report.html.j2")


@dataclass(frozen=True)
class Beneath:
    """What stands in a comparison table beside its scores: cost, what weights saw, copies, numbers of others."""

    settings: PageSettings
    rows: Sequence[Row]
    duplicates: contamination.Lists
    reported: Sequence[Row]

    def cost(self, cell: Cell, run: str) -> RunCost:
        """What this run's number took."""
        return run_cost(self.settings, self.rows, run, cell.task, cell.dataset)

    def origin(self, run: str) -> Origin | None:
        """What its weights saw; None where nobody said it."""
        return next((origin for origin in self.settings.origins if origin.run == run), None)

    def footer(self, dataset: str, runs: Iterable[str]) -> list[str]:
        """Sentences on copies of the dataset's shapes."""
        return contamination.footer(self.settings.origins, self.duplicates, dataset, set(runs))

    def beside(self, cell: Cell) -> list[Row]:
        """Numbers of others that may stand in the table."""
        return beside(self.reported, cell)

    def chart(self, cell: Cell) -> Panel | None:
        """The scores of a table over what they took; None where fewer than two runs were measured.

        Released weights have no mark: what they took was spent elsewhere.
        """
        costs = {line.row["run"]: self.cost(cell, line.row["run"]) for line in cell.lines}
        on_gpu = any(cost.gpu_hours for cost in costs.values())
        marks = []
        for line in cell.lines:
            cost = costs[line.row["run"]]
            hours = cost.gpu_hours if on_gpu else cost.cpu_hours
            if hours is not None and line.row["arm"] not in RELEASED_ARMS:
                taken = hours if on_gpu else 60 * hours
                spread = to_number(line.row["sd"])
                marks.append(Mark(line.row["run"], taken, float(line.row["mean"]), spread, line.is_control))
        unit = "GPU hours" if on_gpu else "CPU minutes"
        return (
            Panel(cell.title, mark_chart(f"{cell.title}, over {unit} per seed", unit, marks), ()) if marks[1:] else None
        )


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
