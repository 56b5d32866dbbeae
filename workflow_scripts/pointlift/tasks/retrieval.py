"""Retrieval: does a test shape's frozen embedding find the other test shapes of its class?

Plain cosine similarity of embeddings as they are: nothing is centred, whitened or chosen, so that nothing is learnt.
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import FrozenSettings
from pointlift.tasks.directions import cosine, unit_rows
from pointlift.tasks.judgement import Judgement
from pointlift.tasks.shapes import Shapes

log = logging.getLogger(__name__)
_QUERIES_AT_ONCE = 256


class Settings(FrozenSettings):
    """Each test shape asks for all other test shapes. It has no keys of its own."""

    kind: Literal["retrieval"]


def build(settings: Settings) -> Retrieval:
    """The task."""
    return Retrieval(settings)


class Retrieval:
    """Mean average precision on the test split, and how often the nearest neighbour is of the same class."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, shapes: Shapes) -> Judgement:
        """``mean_average_precision`` and ``precision_at_1``, with the outcome of every query.

        Queries are the test shapes whose class has another test shape; the others are only found, never ask. Equal
        similarities are found together (see ``average_precision``), so that the order of shapes changes nothing.
        """
        test = shapes.rows("test")
        label, ids = shapes.label[test], [shapes.ids[row] for row in test]
        members = np.bincount(label)[label]
        queries = np.flatnonzero(members > 1)
        if not len(queries):
            raise ArtifactError("retrieval: no class has two test shapes; there is nothing to find")
        if len(queries) < len(test):
            log.info("%d test shapes are the only ones of their class: no queries", len(test) - len(queries))
        found = _judge(unit_rows(shapes.values[test]), label, queries)
        asked = tuple(ids[query] for query in queries)
        return Judgement(
            values=tuple(Value(metric=metric, value=float(each.mean())) for metric, each in found.items()),
            test_ids=tuple(ids),
            n_train=0,
            outcomes={metric: tuple(each.tolist()) for metric, each in found.items()},
            items={} if len(asked) == len(ids) else dict.fromkeys(found, asked),
        )


def average_precision(similarity: Array, relevant: Array) -> float:
    """Average precision of one query: similarity (S,) and relevant (S,) bool of what it may find, some of it relevant.

    AP = sum over the steps n of the ranking of (R_n - R_(n-1)) P_n, with recall R and precision P. Items of equal
    similarity are one step: what no similarity tells apart is not ranked by luck.
    """
    order = np.argsort(-similarity, kind="stable")
    last = np.flatnonzero(np.append(np.diff(similarity[order]) != 0.0, True))
    hits = np.cumsum(relevant[order])[last]
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (last + 1)).sum() / hits[-1])


def _judge(unit: Array, label: Array, queries: Array) -> dict[str, Array]:
    """Outcomes (Q,) of queries by row: both metrics."""
    precision, first = [], []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = queries[start : start + _QUERIES_AT_ONCE]
        for row, similarity in zip(rows, cosine(unit[rows], unit), strict=True):
            others = np.arange(len(label)) != row
            relevant, near = (label == label[row])[others], similarity[others]
            precision.append(average_precision(near, relevant))
            first.append(float(relevant[near == near.max()].mean()))  # of several nearest ones: the share
    return {"mean_average_precision": np.array(precision), "precision_at_1": np.array(first)}
