"""What the page may say in words. A claim takes at least five seeds and intervals of the difference that exclude 0, and
holds after its table's correction for several comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pointlift.contracts.released import RELEASED_ARMS
from pointlift.reporting.cells import HEADLINE_SELECTION, Cell, RunLine, interval, plain
from pointlift.reporting.statistics import Interval, mean_over_seeds
from pointlift.reporting.tables import UNKNOWN, Row

MIN_SEEDS = 5
MAX_P = 0.05
AUTHORS_CHOICE = "which ones to publish their authors chose, in this field often by scores on the test split"


def measured(suite: str, leaderboard: Sequence[Row]) -> str:
    """What was measured, in a sentence or two: runs, tasks, seeds, selection; and whose choice was not ours."""
    counts = sorted({int(row["n_seeds"]) for row in leaderboard})
    seeds = _plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    runs, tasks = ({row[key] for row in leaderboard} for key in ("run", "task"))
    last = {row["selection"] for row in leaderboard} == {HEADLINE_SELECTION}
    chosen = "Every number is" if last else "The headline tables are"
    return (
        f"Suite {suite}: {_plural(len(runs), 'run')} judged by {_plural(len(tasks), 'task')}, {seeds} each. "
        f"{chosen} of the last weights of a fixed schedule, over all seeds: "
        "no epoch and no seed was chosen by a test score." + _released(leaderboard)
    )


def _released(leaderboard: Sequence[Row]) -> str:
    runs = sorted({row["run"] for row in leaderboard if row["arm"] in RELEASED_ARMS})
    return f" Not so of weights that others released ({', '.join(runs)}): {AUTHORS_CHOICE}." if runs else ""


def verdicts(found: Iterable[Cell], summary: Sequence[Row]) -> list[str]:
    """What can be claimed of the methods, one sentence per run and cell; else one that says why nothing can."""
    candidates = [
        (cell, line)
        for cell in found
        if cell.selection == HEADLINE_SELECTION
        for line in cell.lines
        if line.comparisons and not line.is_control
    ]
    if not candidates:
        return ["No run stands beside a control, so nothing can be said about a method."]
    seeds = max(int(line.row["n_seeds"]) for _, line in candidates)
    if seeds < MIN_SEEDS:
        return [
            f"With {_plural(seeds, 'seed')} no claim can be made that a method works: it takes at least {MIN_SEEDS} "
            "seeds and an interval of the difference that excludes 0. What follows is a measurement, not a verdict."
        ]
    said = [sentence for cell, line in candidates if (sentence := _claim(cell, line, summary))]
    return said or [
        "No run differs from a control by more than the 95 % intervals over test items and over seeds, and beyond what "
        "so many comparisons find by chance: nothing here shows that a method works."
    ]


def _claim(cell: Cell, line: RunLine, summary: Sequence[Row]) -> str | None:
    signs = [_sign(cell, row, summary) for row in line.comparisons]
    if not any(signs):
        return None
    parts = []
    for sign, verb in ((1, "is higher than"), (-1, "is lower than"), (0, "is not shown to differ from")):
        rows = [row for row, own in zip(line.comparisons, signs, strict=True) if own == sign]
        if rows:
            parts.append(f"{verb} {', '.join(_compared(row, bool(sign)) for row in rows)}")
    return (
        f"{line.row['run']}, {cell.task} on {cell.dataset} ({cell.protocol}), {line.row['n_seeds']} seeds: "
        f"{cell.metric} {'; it '.join(parts)}."
    )


def _compared(row: Row, with_numbers: bool) -> str:
    numbers = f" by {plain(row['delta_vs_control'], True)} {interval(row, 'delta_ci95', True)}" if with_numbers else ""
    return f"{row['control']}{numbers}"


def _sign(cell: Cell, row: Row, summary: Sequence[Row]) -> int:
    """1 or -1 when the difference is beyond its intervals over items and over seeds, both, on one side; else 0.

    Nor does it hold as one of many: where its table's correction says so (``p_holm``), 0.
    The interval over items alone is of these very seeds; one unlucky control seed would pass for an effect. Where items
    are copies of objects that nobody names, it is too narrow to rest on: 0. So it is of a run that gives all seeds one
    number, see ``leaderboard.measured_values``: a file is one pretraining.
    """
    ours, theirs = _by_seed(cell, row["run"], summary), _by_seed(cell, row["control"], summary)
    common = sorted(set(ours) & set(theirs))
    seeds = min(len(common), int(row["n_seeds"]))
    if seeds < MIN_SEEDS or not row["delta_ci95_low"] or row["objects"] == UNKNOWN:
        return 0
    if row["p_holm"] and float(row["p_holm"]) > MAX_P:
        return 0
    over_seeds = mean_over_seeds([ours[seed] - theirs[seed] for seed in common]).interval
    over_items = Interval(float(row["delta_ci95_low"]), float(row["delta_ci95_high"]))
    if over_seeds is None or not (over_seeds.excludes_zero() and over_items.excludes_zero()):
        return 0
    sides = {over_seeds.low > 0, over_items.low > 0}
    return 0 if len(sides) > 1 else (1 if sides.pop() else -1)


def _by_seed(cell: Cell, run: str, summary: Sequence[Row]) -> dict[str, float]:
    keys = ("task", "dataset", "protocol", "selection", "metric")
    wanted = (*(getattr(cell, key) for key in keys), run)
    return {row["seed"]: float(row["value"]) for row in summary if tuple(row[key] for key in (*keys, "run")) == wanted}


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
