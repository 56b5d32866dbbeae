"""The headline rows as a text table for the end of ``make benchmark``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointlift.reporting.cells import HEADLINE_SELECTION, Cell, cells, interval, mean_and_sd, plain
from pointlift.reporting.tables import Row


def print_leaderboard(leaderboard: Sequence[Row], console: Console) -> None:
    """Print one table per task, dataset and protocol: primary metrics of the last weights, beside every control."""
    for cell in cells(leaderboard):
        if cell.primary and cell.selection == HEADLINE_SELECTION:
            console.print(_table(cell))
    console.print(
        Text(
            "mean ± sd over seeds; difference to the control with its 95 % interval over test items (episodes: folds)"
        ),
        style="dim",
    )


def _table(cell: Cell) -> Table:
    table = Table(title=Text(cell.title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("run")
    table.add_column("mean ± sd", justify="right")
    table.add_column("seeds", justify="right")
    table.add_column("control")
    table.add_column("difference", justify="right")
    for line in cell.lines:
        start = [line.row["run"], mean_and_sd(line.row), line.row["n_seeds"]]
        for row in () if line.is_control else line.comparisons:
            difference = f"{plain(row['delta_vs_control'], True)} {interval(row, 'delta_ci95', True)}"
            table.add_row(*map(Text, (*start, row["control"], difference)))
            start = ["", "", ""]
        if start[0]:
            table.add_row(*map(Text, start))
    return table
