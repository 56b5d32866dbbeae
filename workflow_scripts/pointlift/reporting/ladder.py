"""ladder.csv: what each habit of choosing by test scores would add to the same trained runs. An audit, never a result.

Rungs, each with the mean or the best of what the one before it had:

last          mean over seeds of the last epoch: the headline.
val           mean over seeds of the epoch that is best on val, which is no choice by test scores.
oracle_epoch  mean over seeds of the epoch that is best on test, among those that were looked at.
best_seed     the best seed of those; ``expected`` is what the largest of as many normal draws with their mean and
              standard deviation would be, so that nobody takes it for a better run.
best_vote     the best of that and of every test-time vote of every seed. Votes are of the last weights, whatever epoch
              the rungs before chose.

A rung that a run has nothing for is left out: no val split, one look, one seed, no votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.reporting.statistics import expected_maximum, mean_over_seeds
from pointlift.reporting.tables import LADDER_COLUMNS, Row, number

#: In the order in which they are climbed.
RUNGS = ("last", "val", "oracle_epoch", "best_seed", "best_vote")
_GROUP = ("task", "dataset", "protocol", "run")


@dataclass(frozen=True)
class Rung:
    """``k``: how many its choice was among: looks, seeds, or votes per seed; None: there was none."""

    name: str
    value: float
    k: int | None = None
    sd: float | None = None
    expected: float | None = None


def ladder_rows(suite: str, metrics: Iterable[Metrics]) -> list[Row]:
    """Rows of ``LADDER_COLUMNS``, sorted: the rungs of every run, task, dataset, protocol and audited metric.

    ``added`` is the difference to the rung before. Rows under a published protocol, which choose by test scores
    themselves, have no audit and so no ladder. Raises ``ArtifactError`` for an audit that is not of its own headline.
    """
    groups: dict[tuple[str, ...], list[Metrics]] = {}
    for item in metrics:
        groups.setdefault(tuple(str(getattr(item, name)) for name in _GROUP), []).append(item)
    rows: list[Row] = []
    for _, seeds in sorted(groups.items()):
        audited = set.intersection(*(set(item.audit.on_test) for item in seeds))
        for metric in sorted(audited):
            rows += _rows(suite, sorted(seeds, key=lambda item: item.seed), metric)
    return rows


def rungs(seeds: Sequence[Metrics], metric: str) -> list[Rung]:
    """The rungs of one run in one metric that every seed has audited, in order."""
    last = [_value(item, metric, "last") for item in seeds]
    for item, value in zip(seeds, last, strict=True):
        if value != item.audit.on_test[metric][-1]:
            raise ArtifactError(
                f"run {item.run}, {item.protocol}, seed {item.seed}: the last look of the audit of {metric} is not its "
                "headline; delete results/metrics and run snakemake again"
            )
    found = [_mean("last", [value for value in last if value is not None])]
    looks = max(len(item.audit.on_test[metric]) for item in seeds)
    oracle = [max(item.audit.on_test[metric]) for item in seeds]
    if looks > 1:
        val = [value for item in seeds if (value := _value(item, metric, "val")) is not None]
        found += [_mean("val", val, looks)] if len(val) == len(seeds) else []
        found.append(_mean("oracle_epoch", oracle, looks))
    if len(seeds) > 1:
        over = mean_over_seeds(oracle)
        expected = expected_maximum(len(seeds), over.mean, over.sd or 0.0)
        found.append(Rung("best_seed", max(oracle), len(seeds), expected=expected))
    votes = [item.audit.votes.get(metric, ()) for item in seeds]
    if all(votes):
        best = max(*oracle, *(vote for each in votes for vote in each))
        found.append(Rung("best_vote", best, max(map(len, votes))))
    return found


def _mean(name: str, values: Sequence[float], k: int | None = None) -> Rung:
    found = mean_over_seeds(values)
    return Rung(name, found.mean, k, found.sd)


def _value(item: Metrics, metric: str, selection: str) -> float | None:
    """A number of the results; None where there is none."""
    named = [value.value for value in item.values if (value.metric, value.selection) == (metric, selection)]
    return named[0] if named else None


def _rows(suite: str, seeds: Sequence[Metrics], metric: str) -> list[Row]:
    rows: list[Row] = []
    before: float | None = None
    for rung in rungs(seeds, metric):
        row = {"suite": suite, "metric": metric, "rung": rung.name}
        row["selection"] = rung.name if rung.name in ("last", "val") else "oracle_test"
        row |= {"k": "" if rung.k is None else str(rung.k), "value": number(rung.value), "sd": number(rung.sd)}
        row["added"] = number(None if before is None else rung.value - before)
        row["expected"] = number(rung.expected)
        rows.append(row | {name: str(getattr(seeds[0], name)) for name in LADDER_COLUMNS if name not in row})
        before = rung.value
    return rows
