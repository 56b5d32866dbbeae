"""Small training sets, drawn several times: nested, the same for all runs; a linear classifier for each where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.tasks.linear_model import fit_linear
from pointlift.tasks.shapes import Shapes


@dataclass(frozen=True)
class Subset:
    """A small training set: the size it was asked for (shots per class, or a share), its draw, and its rows, rising."""

    size: float
    draw: int
    rows: Array


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


def draw_shots(shapes: Shapes, pool: Array, shots: int, number: int) -> Array:
    """Rows of draw ``number``, ascending: ``shots`` of every class that has rows in ``pool``.

    Raises ``ArtifactError`` naming the class that has fewer.
    """
    orders = drawn_orders(shapes, pool, "few_shot", number)
    for one, order in orders.items():
        if len(order) < shots:
            raise ArtifactError(
                f"{shots} shots need {shots} training shapes of every class, class {one} "
                f"(with {min(shapes.ids[row] for row in order)}) has {len(order)}; lower shots"
            )
    return np.sort(np.concatenate([order[:shots] for order in orders.values()]))


def draw_share(shapes: Shapes, pool: Array, share: float, number: int) -> Array:
    """Rows of draw ``number``, ascending: of every class its share, rounded half up, at least one shape."""
    orders = drawn_orders(shapes, pool, "data_efficiency", number).values()
    kept = [order[: max(1, int(np.floor(share * len(order) + 0.5)))] for order in orders]
    return np.sort(np.concatenate(kept))


def share_metric(share: float) -> str:
    """accuracy_5_percent."""
    return f"accuracy_{100 * share:g}_percent"


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
