"""summary.csv: one row per run, task, dataset, protocol, seed and metric."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.reporting.tables import SUMMARY_COLUMNS, Row, number

log = logging.getLogger(__name__)

WHAT_A_RUN_IS = ("method", "arm", "student", "teacher", "pretrain_dataset")
_ORDER = ("suite", "task", "dataset", "protocol", "selection", "metric", "run")


def summary_rows(suite: str, metrics: Iterable[Metrics]) -> list[Row]:
    """Rows of ``SUMMARY_COLUMNS`` as text, sorted, whatever the order of the input.

    Raises ``ArtifactError`` when a number stands twice.
    """
    rows = [_row(suite, found, index) for found in metrics for index in range(len(found.values))]
    rows.sort(key=_sort_key)
    for before, after in itertools.pairwise(rows):
        if _sort_key(before) == _sort_key(after):
            raise ArtifactError(f"{_name(after)}: {after['metric']} of seed {after['seed']} was handed in twice")
    return rows


def check_seeds(metrics: Sequence[Metrics], seeds: Sequence[int]) -> None:
    """Raise ``ArtifactError`` for a seed the suite does not have, or a run that is not the same thing everywhere.

    A missing seed is only logged: ``n_seeds`` of the leaderboard tells it. Without ``seeds``, seeds are not checked.
    """
    runs: dict[str, tuple[str, ...]] = {}
    found: dict[tuple[str, str, str, str], set[int]] = {}
    for item in metrics:
        what = tuple(str(getattr(item, key)) for key in WHAT_A_RUN_IS)
        if runs.setdefault(item.run, what) != what:
            raise ArtifactError(
                f"run {item.run} is {what} in one metrics file and {runs[item.run]} in another; "
                "delete results/metrics and run snakemake again"
            )
        if seeds and item.seed not in seeds:
            raise ArtifactError(f"run {item.run}, {item.protocol}: seed {item.seed} is not of the suite {list(seeds)}")
        found.setdefault((item.run, item.task, item.dataset, item.protocol), set()).add(item.seed)
    for name, has in sorted(found.items()):
        if missing := sorted(set(seeds) - has):
            log.warning("%s has no numbers for seeds %s", " ".join(name), missing)


def _row(suite: str, metrics: Metrics, index: int) -> Row:
    value = metrics.values[index]
    row = {"suite": suite, "selection": value.selection, "metric": value.metric, "value": number(value.value)}
    return row | {name: str(getattr(metrics, name)) for name in SUMMARY_COLUMNS if name not in row}


def _sort_key(row: Row) -> tuple[tuple[str, ...], int]:
    return tuple(row[name] for name in _ORDER), int(row["seed"])


def _name(row: Row) -> str:
    return " ".join(row[name] for name in ("run", "task", "dataset", "protocol", "selection"))
