"""leaderboard.csv: the summary folded over seeds, every run beside each of its controls."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.contracts.released import RELEASED_ARMS
from pointlift.reporting.statistics import Difference, Interval, holm, mean_over_seeds, paired_difference
from pointlift.reporting.tables import COMPARISON_COLUMNS, UNKNOWN, Row, number

log = logging.getLogger(__name__)

JOINT_CONTROLS = ("control",)
TRANSFER_CONTROLS = (
    "scratch",
    "scratch_matched",
    "shuffled",
    "random_teacher",
    "all_visible",
    "random_visibility",
    "same_class_shuffled",
    "m1",
    "mean_pool",
    "other_teacher",
    "point_mae",
    "frozen_random",
)
# What a control must share with a run beside the student: the same distillation but for the one thing it takes away.
_SHARED = {
    "control": ("method",),
    "shuffled": ("method", "teacher", "pretrain_dataset"),
    "all_visible": ("method", "teacher", "pretrain_dataset"),
    "random_visibility": ("method", "teacher", "pretrain_dataset"),
    "random_teacher": ("method", "pretrain_dataset"),
    "same_class_shuffled": ("method", "teacher", "pretrain_dataset"),
    "m1": ("method", "teacher", "pretrain_dataset"),
    "mean_pool": ("method", "teacher", "pretrain_dataset"),
    "other_teacher": ("method", "pretrain_dataset"),
    "point_mae": ("pretrain_dataset",),
    "frozen_random": ("method",),
}
# A frozen random backbone differs from these alone in one thing: the others are trained where it is not.
_ONLY_BESIDE = {"frozen_random": ("io",)}
# A run that starts from another's student has these controls alone: all others start from scratch, and would differ
# from it in two things. A replayed classifier has none: nothing here was trained by its authors' recipe, nor chosen as
# they chose it.
_OF_STARTED: dict[str, tuple[str, ...]] = {
    "init_point_mae": ("scratch", "scratch_matched", "point_mae"),
    "init_released": ("scratch",),
    "replayed": (),
}
_CELL = ("task", "dataset", "protocol", "selection", "metric")
_RUN = ("run", "method", "arm", "student", "teacher", "pretrain_dataset")
_AGREES = 1e-6


@dataclass
class _Scores:
    """One run in one cell: its value by seed and, where the metric has them, its outcome by seed and test item.

    objects : by seed the object that each test item is a copy of, empty where every item is its own, or where
    ``copies_unknown``.
    """

    about: Row
    values: dict[int, float] = field(default_factory=dict)
    outcomes: dict[int, dict[str, float]] = field(default_factory=dict)
    objects: dict[int, dict[str, str]] = field(default_factory=dict)
    copies_unknown: bool = False


def is_control(arm: str, protocol: str) -> bool:
    """Whether runs of this arm are what others are compared with, under this protocol."""
    return arm in controls_of(protocol)


def controls_of(protocol: str) -> tuple[str, ...]:
    """Arms that are controls: joint protocols compare with distillation weight 0, transfer ones with all others."""
    return JOINT_CONTROLS if protocol.endswith("/joint") else TRANSFER_CONTROLS


def leaderboard_rows(
    suite: str, metrics: Iterable[Metrics], matches: Mapping[str, str] = MappingProxyType({})
) -> list[Row]:
    """Rows of ``LEADERBOARD_COLUMNS``, sorted: one per run, task, dataset, protocol, selection, metric and control.

    A control of a run is another run of a control arm in the same cell, with the same student and, where it distils,
    the same distillation but for what its arm takes away. matches : by control, the one run that it is a control of,
    where it was made to cost the same. A run without any has one row with empty control columns.
    Items that are copies of one object count together: see ``paired_difference``. Raises ``ArtifactError`` when run and
    control were not tested on the same items, or do not agree which of them are copies.
    """
    rows: list[Row] = []
    for cell, runs in sorted(_cells(metrics).items()):
        family: list[Row] = []
        for name in sorted(runs):
            start = {"suite": suite, **dict(zip(_CELL, cell, strict=True)), **runs[name].about}
            start |= _mean_columns(runs[name])
            family += [start | columns for columns in _control_columns(cell, name, runs, matches)]
        _correct(family)
        rows += family
    return rows


def _correct(family: list[Row]) -> None:
    """Fill in ``p_holm`` of what a cell asks: every run that is no control itself against each of its controls."""
    asked = [row for row in family if row["p_value"] and not is_control(row["arm"], row["protocol"])]
    for row, value in zip(asked, holm([float(row["p_value"]) for row in asked]), strict=True):
        row["p_holm"] = number(value)


def _cells(metrics: Iterable[Metrics]) -> dict[tuple[str, ...], dict[str, _Scores]]:
    cells: dict[tuple[str, ...], dict[str, _Scores]] = {}
    for item in metrics:
        for value in item.values:
            cell = (item.task, item.dataset, item.protocol, value.selection, value.metric)
            about = {key: str(getattr(item, key)) for key in _RUN}
            scores = cells.setdefault(cell, {}).setdefault(item.run, _Scores(about))
            scores.values[item.seed] = value.value
            if value.selection == "last" and value.metric in item.outcomes:
                scores.outcomes[item.seed] = _outcomes(item, value.metric, value.value)
                scores.objects[item.seed] = _objects(item, value.metric)
                scores.copies_unknown |= item.copies_unknown
    return cells


def _outcomes(item: Metrics, metric: str, value: float) -> dict[str, float]:
    """Outcome by test item; empty when their mean is not the metric, as then they do not tell its spread."""
    outcomes = item.outcomes[metric]
    if abs(float(np.mean(outcomes)) - value) > _AGREES:
        log.warning("%s %s: the outcomes of %s do not average to its value", item.run, item.protocol, metric)
        return {}
    return dict(zip(item.items_of(metric), outcomes, strict=True))


def _objects(item: Metrics, metric: str) -> dict[str, str]:
    """Object by test item; empty for items that are no test ids, such as folds and classes: each is its own."""
    of = dict(zip(item.test_ids, item.clusters, strict=True)) if item.clusters else {}
    names = item.items_of(metric)
    return {name: of[name] for name in names} if set(names) <= set(of) else {}


def measured_values(arm: str, values: Sequence[float]) -> Sequence[float]:
    """Of values by seed those that were measured apart. Released weights that no task trains give every seed the same
    number: it counts once, as a spread of 0 was never measured."""
    return values[:1] if arm in RELEASED_ARMS and len(set(values)) == 1 else values


def _mean_columns(scores: _Scores) -> Row:
    values = measured_values(scores.about["arm"], [scores.values[seed] for seed in sorted(scores.values)])
    found = mean_over_seeds(values)
    columns = {"mean": number(found.mean), "sd": number(found.sd), "n_seeds": str(len(values))}
    return columns | _interval_columns("ci95", found.interval)


def _control_columns(
    cell: tuple[str, ...], name: str, runs: dict[str, _Scores], matches: Mapping[str, str]
) -> Iterator[Row]:
    controls = [
        other
        for other in sorted(runs)
        if other != name
        and matches.get(other, name) == name
        and _is_control_of(runs[other].about, runs[name].about, protocol=cell[2])
        and set(runs[other].values) & set(runs[name].values)
    ]
    for other in controls:
        found, objects = _difference(runs[name], runs[other])
        yield _difference_columns(other, found) | {"objects": objects}
    if not controls:
        yield dict.fromkeys(COMPARISON_COLUMNS, "")


def _is_control_of(control: Row, run: Row, protocol: str) -> bool:
    arms = _OF_STARTED.get(run["arm"], controls_of(protocol))
    if run["arm"] not in _ONLY_BESIDE.get(control["arm"], (run["arm"],)):
        return False
    shared = ("student", *_SHARED.get(control["arm"], ()))
    return control["arm"] in arms and all(control[key] == run[key] for key in shared)


def _difference_columns(control: str, found: Difference) -> Row:
    columns = {"control": control, "delta_vs_control": number(found.mean)}
    columns |= _interval_columns("delta_ci95", found.interval)
    return columns | {"p_value": number(found.p_value), "p_holm": "", "detectable": number(found.detectable)}


def _interval_columns(name: str, interval: Interval | None) -> Row:
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{name}_low": number(low), f"{name}_high": number(high)}


def _difference(run: _Scores, control: _Scores) -> tuple[Difference, str]:
    """Over the seeds both have: paired over items where outcomes exist, else the difference of means alone.

    And what the column ``objects`` says of it.
    """
    seeds = sorted(set(run.values) & set(control.values))
    items = _item_differences(run, control, seeds)
    if not items:
        mean = float(np.mean([run.values[seed] - control.values[seed] for seed in seeds]))
        return Difference(mean, None, None), ""
    objects = _shared_objects(run, control, seeds)
    differences = np.array([items[name] for name in sorted(items)])
    if not objects:
        return paired_difference(differences), UNKNOWN if run.copies_unknown or control.copies_unknown else ""
    clusters = [objects[name] for name in sorted(items)]
    return paired_difference(differences, clusters=clusters), str(len(set(clusters)))


def _shared_objects(run: _Scores, control: _Scores, seeds: list[int]) -> dict[str, str]:
    """Object by test item, of all seeds of both; empty where each item is its own. Raises where they disagree."""
    found: dict[str, str] = {}
    told = [scores.objects[seed] for seed in seeds for scores in (run, control)]
    agree = all(map(bool, told)) or not any(told)
    for objects in told:
        agree &= all(found.setdefault(name, one) == one for name, one in objects.items())
    if not agree:
        raise ArtifactError(
            f"{run.about['run']} and {control.about['run']} do not agree which test items are copies of one object; "
            "delete their metrics files and run snakemake again"
        )
    return found


def _item_differences(run: _Scores, control: _Scores, seeds: list[int]) -> dict[str, float]:
    """Run minus control by test item, averaged over the seeds that tested it: seeds are blocks, and never multiply the
    items. Empty without outcomes."""
    by_item: dict[str, list[float]] = {}
    for seed in seeds:
        ours, theirs = run.outcomes.get(seed), control.outcomes.get(seed)
        if not ours or not theirs:
            return {}
        if set(ours) != set(theirs):
            raise ArtifactError(
                f"{run.about['run']} and {control.about['run']} were not tested on the same items (seed {seed}); "
                "delete their metrics files and run snakemake again"
            )
        for shape_id in ours:
            by_item.setdefault(shape_id, []).append(ours[shape_id] - theirs[shape_id])
    return {shape_id: float(np.mean(values)) for shape_id, values in by_item.items()}
