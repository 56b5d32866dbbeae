"""Speed to a target accuracy: a table per dataset and target, which says plainly who did not get there.

Steps are compared seed by seed where run and control both reached the target: control / run, above 1 where the run was
faster (Xu et al., "Image2Point", ECCV 2022). Ratios are averaged as logarithms, so that twice and half as fast cancel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pointlift.reporting.cells import MISSING
from pointlift.reporting.cost import job_costs
from pointlift.reporting.history import last_step
from pointlift.reporting.leaderboard import is_control
from pointlift.reporting.slices import CostEntry, SpeedEntry
from pointlift.reporting.statistics import Interval, mean_over_seeds
from pointlift.reporting.tables import Row

TASK = "speed_to_target"
#: Run, dataset, protocol, seed.
Job = tuple[str, str, str, str]


@dataclass(frozen=True)
class Ratio:
    """Steps of a control over those of a run: geometric mean over the seeds in which both reached the target."""

    mean: float
    interval: Interval | None
    num_seeds: int


@dataclass(frozen=True)
class SpeedLine:
    """One run, as text: who reached the target, and means over those seeds. Against: (control, ratio) pairs."""

    run: str
    arm: str
    is_control: bool
    reached: str
    steps: str
    epochs: str
    seconds: str
    accuracy: str
    against: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SpeedTable:
    """All runs with one target: ``protocol`` names it."""

    dataset: str
    protocol: str
    lines: tuple[SpeedLine, ...]


def step_ratio(control: Mapping[str, float], run: Mapping[str, float]) -> Ratio | None:
    """Of steps by seed, of the seeds that reached the target; None where no seed is in both."""
    common = sorted(set(control) & set(run))
    if not common:
        return None
    found = mean_over_seeds([math.log(control[seed] / run[seed]) for seed in common])
    around = found.interval
    interval = Interval(math.exp(around.low), math.exp(around.high)) if around is not None else None
    return Ratio(math.exp(found.mean), interval, len(common))


def seconds_per_step(entries: Iterable[SpeedEntry]) -> dict[Job, float]:
    """Wall time of every finetuning over its optimiser steps: with its start and its looks at val and test.

    A job whose time was not measured, or lies elsewhere (pulled artifacts), is left out. Of one that was killed and
    went on, Snakemake measures the last try alone, so that its steps look faster than they were.
    """
    found = {}
    for entry in entries:
        (cost,) = job_costs([CostEntry(path=entry.benchmark, phase=TASK)], [])
        steps = last_step(entry.history)
        if cost.wall_s is not None and steps:
            found[entry.run, entry.dataset, entry.protocol, str(entry.seed)] = cost.wall_s / steps
    return found


def speed_tables(summary: Sequence[Row], leaderboard: Sequence[Row], seconds: Mapping[Job, float]) -> list[SpeedTable]:
    """Tables of the suite's runs; none where no task asks for speed. Methods stand before controls."""
    rows = [row for row in summary if row["task"] == TASK]
    compared = {
        (row["dataset"], row["protocol"], row["run"], row["control"])
        for row in leaderboard
        if row["task"] == TASK and row["metric"] == "reached" and row["control"]
    }
    tables = []
    for place in sorted({(row["dataset"], row["protocol"]) for row in rows}):
        here = [row for row in rows if (row["dataset"], row["protocol"]) == place]
        lines = []
        for run in sorted({row["run"] for row in here}):
            controls = sorted(control for *where, name, control in compared if (tuple(where), name) == (place, run))
            lines.append(_line(run, here, controls, seconds))
        tables.append(SpeedTable(*place, tuple(sorted(lines, key=lambda line: line.is_control))))
    return tables


def _line(run: str, rows: Sequence[Row], controls: Sequence[str], seconds: Mapping[Job, float]) -> SpeedLine:
    first = next(row for row in rows if row["run"] == run)
    place = first["dataset"], first["protocol"]
    steps = _by_seed(rows, run, "steps_to_target")
    taken = [count * seconds[run, *place, seed] for seed, count in steps.items() if (run, *place, seed) in seconds]
    return SpeedLine(
        run=run,
        arm=first["arm"],
        is_control=is_control(first["arm"], first["protocol"]),
        reached=_who_reached(_by_seed(rows, run, "reached")),
        steps=_mean_text(list(steps.values()), 0),
        epochs=_mean_text(list(_by_seed(rows, run, "epochs_to_target").values()), 1),
        seconds=_mean_text(taken, 1),
        accuracy=_mean_text(list(_by_seed(rows, run, "accuracy_at_target").values()), 3),
        against=tuple(
            (other, _ratio_text(step_ratio(_by_seed(rows, other, "steps_to_target"), steps))) for other in controls
        ),
    )


def _by_seed(rows: Sequence[Row], run: str, metric: str) -> dict[str, float]:
    return {row["seed"]: float(row["value"]) for row in rows if (row["run"], row["metric"]) == (run, metric)}


def _who_reached(reached: Mapping[str, float]) -> str:
    """``5 of 5 seeds``, and who did not: ``not reached (2 of 5 seeds)``."""
    number_reached, all_seeds = int(sum(reached.values())), len(reached)
    missed = f"not reached ({all_seeds - number_reached} of {all_seeds} seeds)"
    if number_reached == 0:
        return missed
    return f"{number_reached} of {all_seeds} seeds" + (f"; {missed}" if number_reached < all_seeds else "")


def _mean_text(values: Sequence[float], decimals: int) -> str:
    if not values:
        return MISSING
    found = mean_over_seeds(values)
    spread = "" if found.sd is None else f" ± {found.sd:,.{decimals}f}"
    return f"{found.mean:,.{decimals}f}{spread}"


def _ratio_text(ratio: Ratio | None) -> str:
    if ratio is None:
        return "no seed in which both reached it"
    around = f" [{ratio.interval.low:.2f}, {ratio.interval.high:.2f}]" if ratio.interval is not None else ""
    return f"{ratio.mean:.2f}{around}, {ratio.num_seeds} seed{'' if ratio.num_seeds == 1 else 's'}"
