"""What a task finds, and the two accuracies of classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pointlift.contracts.metrics import Audit, Value
from pointlift.contracts.shards import Array


@dataclass(frozen=True)
class Judgement:
    """Values by metric; per metric that has them, the outcome of every test item.

    items : by name in ``outcomes``, what these are of, where it is not ``test_ids``. clusters : of ``test_ids``, the
    object each is a copy of; copies_unknown : the set has copies, and nothing says which. ``told_apart`` fills in both.
    audit : what a choice by test scores would have had to choose from.
    """

    values: tuple[Value, ...]
    test_ids: tuple[str, ...]
    n_train: int
    outcomes: dict[str, tuple[float, ...]] = field(default_factory=dict)
    items: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    copies_unknown: bool = False
    audit: Audit = field(default_factory=Audit)


def accuracy(answer: Array, label: Array) -> float:
    """Share of right answers, (S,) class numbers against (S,) labels: overall accuracy."""
    return float((answer == label).mean())


def mean_class_accuracy(answer: Array, label: Array) -> float:
    """Mean over the classes that occur in ``label`` of each class's share of right answers."""
    return float(np.mean([accuracy(answer[label == one], label[label == one]) for one in np.unique(label)]))


def right(answer: Array, label: Array) -> tuple[float, ...]:
    """1.0 for every right answer, else 0.0."""
    return tuple((answer == label).astype(float).tolist())


def best_on_test(
    metric: str, on_test: Sequence[float], test_ids: Sequence[str], n_train: int, *, cut: bool = True
) -> Judgement:
    """The best of several values on the test split; ``cut``: down to a tenth of a percent, as PointMCD's authors do.

    It is ``oracle_test`` and nothing else: who selects on the test split has no unbiased number to report beside it.
    """
    best = math.floor(1000 * max(on_test) + 1e-9) / 1000 if cut else max(on_test)
    value = Value(metric=metric, value=best, selection="oracle_test")
    return Judgement(values=(value,), test_ids=tuple(test_ids), n_train=n_train)
