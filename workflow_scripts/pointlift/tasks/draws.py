"""Small training sets, drawn several times: nested, the same for all runs; one linear classifier for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.tasks.linear_model import fit_linear
from pointlift.tasks.shapes import Shapes


def drawn_orders(shapes: Shapes, pool: Array, word: str, number: int) -> dict[int, Array]:
    """Per class that has rows in ``pool``, all of these in the order in which draw ``number`` takes them.

    It hangs on ``word``, the number and the ids of the class alone. Who takes the first few of every class has nested
    training sets.
    """
    orders = {}
    for one in np.unique(shapes.label[pool]):
        members = np.array(sorted(pool[shapes.label[pool] == one], key=lambda row: shapes.ids[row]))
        rng = np.random.default_rng(stable_seed(word, number, *(shapes.ids[row] for row in members)))
        orders[int(one)] = members[rng.permutation(len(members))]
    return orders


def right_over_draws(shapes: Shapes, draws: Sequence[Array], pool: Array, strength: float) -> Array:
    """Whether each test shape is answered right, (draws, test shapes) bool; draws that are the same are fitted once.

    draws : rows to learn from. Embeddings are standardised by all rows of ``pool``, whose labels stay unread.
    """
    known: dict[bytes, Array] = {}
    test = shapes.rows("test")
    for rows in draws:
        if rows.tobytes() not in known:
            model = fit_linear(shapes.values[rows], shapes.label[rows], strength, reference=shapes.values[pool])
            known[rows.tobytes()] = model.answer(shapes.values[test]) == shapes.label[test]
    return np.stack([known[rows.tobytes()] for rows in draws])


def mean_and_spread(metric: str, mean: float, each: Array) -> list[Value]:
    """A mean over draws or folds; from 2 on their sample spread, ``_sd``."""
    values = [Value(metric=metric, value=mean)]
    if len(each) > 1:
        values.append(Value(metric=f"{metric}_sd", value=float(each.std(ddof=1))))
    return values
