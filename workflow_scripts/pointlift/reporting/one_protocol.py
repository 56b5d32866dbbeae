"""A table holds one protocol: numbers that were not measured alike never stand in it together."""

from __future__ import annotations

from collections.abc import Sequence

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.contracts.protocols import differing

_REMEDY = "delete the metrics files of one of them and run snakemake again"


def check_protocols(metrics: Sequence[Metrics]) -> Sequence[Metrics]:
    """The same metrics, when those under one task, dataset and protocol may stand in one table.

    Raises ``ArtifactError`` naming two that may not: they were measured by different protocols of one name, or judged
    on different test items. What a file of before protocols were written down was measured by is not known, nor asked.
    """
    first: dict[tuple[str, str, str], Metrics] = {}
    told: dict[tuple[str, str, str], Metrics] = {}
    for one in metrics:
        table = (one.task, one.dataset, one.protocol)
        other = first.setdefault(table, one)
        if set(one.test_ids) != set(other.test_ids):
            alone = sorted(set(one.test_ids) ^ set(other.test_ids))
            what = f"were not judged on the same test items ({alone[0]} is in one)"
            raise ArtifactError(f"{_both(other, one)}{what}; {_REMEDY}")
        if one.measured_by is None:
            continue
        other = told.setdefault(table, one)
        if other.measured_by is not None and one.measured_by != other.measured_by:
            what = f"differ in {differing(other.measured_by, one.measured_by)}"
            raise ArtifactError(f"{_both(other, one)}{what}; {_REMEDY}")
    return metrics


def _both(other: Metrics, one: Metrics) -> str:
    return f"{_name(other)} and {_name(one)} stand under {one.task}, {one.protocol}, and "


def _name(metrics: Metrics) -> str:
    return f"run {metrics.run} seed {metrics.seed}"
