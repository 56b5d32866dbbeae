"""Data efficiency: shares per class, nested draws on ids alone, accuracies as scikit-learn finds them."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pointlift.contracts.settings import mistakes, parse
from pointlift.tasks.data_efficiency import Settings, build
from pointlift.tasks.shapes import Shapes
from tasks.toy_shapes import toy_shapes

SIZES = (40, 8, 13)


def shapes(spread: float = 1.0, seed: int = 0, sizes=SIZES) -> Shapes:
    return toy_shapes(spread, seed, sizes)


def task(**changes):
    return build(parse(Settings, {"kind": "data_efficiency", "dataset": "toy", **changes}, "task"))


def by_name(found):
    return {value.metric: value.value for value in found.values}


@pytest.mark.parametrize(
    "share, counts",
    [(0.01, [1, 1, 1]), (0.05, [2, 1, 1]), (0.1, [4, 1, 1]), (0.25, [10, 2, 3]), (0.5, [20, 4, 7]), (1.0, SIZES)],
)
def test_every_class_gives_its_share_and_at_least_one(share, counts):
    whole = shapes()
    for number in range(3):
        rows = task().draw(whole, share, number)
        assert np.bincount(whole.label[rows]).tolist() == list(counts)
        assert set(whole.split[rows].tolist()) == {0}
        assert (np.diff(rows) > 0).all()


def test_draws_are_nested_and_differ():
    whole = shapes()
    for number in range(5):
        sets = [set(task().draw(whole, share, number).tolist()) for share in (0.01, 0.05, 0.1, 0.25, 1.0)]
        assert all(small <= large for small, large in itertools.pairwise(sets))
    assert len({task().draw(whole, 0.1, number).tobytes() for number in range(10)}) == 10


def test_draws_hang_on_ids_alone():
    one, other = shapes(), shapes(spread=9.0, seed=1)
    order = np.random.default_rng(0).permutation(len(one.ids))
    mixed = Shapes(tuple(one.ids[r] for r in order), one.values[order], one.label[order], one.split[order], 3)
    for number in range(3):
        np.testing.assert_array_equal(task().draw(one, 0.1, number), task().draw(other, 0.1, number))
        names = [{whole.ids[row] for row in task().draw(whole, 0.1, number)} for whole in (one, mixed)]
        assert names[0] == names[1]


def test_every_shape_is_drawn_in_the_long_run():
    whole = shapes()
    counts = np.zeros(len(whole.ids))
    for number in range(600):
        counts[task().draw(whole, 0.25, number)] += 1
    large = counts[(whole.split == 0) & (whole.label == 0)]
    assert np.abs(large - 150).max() < 5 * np.sqrt(600 * 0.25 * 0.75)


def test_accuracies_are_scikit_learns():
    whole = shapes(spread=1.5)
    pool, test = whole.rows("train"), whole.rows("test")
    scaled = (whole.values - whole.values[pool].astype(float).mean(axis=0)) / whole.values[pool].astype(float).std(
        axis=0
    )
    found = task(draws=4, shares=[0.05, 0.25, 1.0]).evaluate(whole)
    for share, name in ((0.05, "5"), (0.25, "25"), (1.0, "100")):
        right = []
        for number in range(4):
            rows = task().draw(whole, share, number)
            model = LogisticRegression(C=1.0, max_iter=20_000, tol=1e-10).fit(scaled[rows], whole.label[rows])
            right.append(model.predict(scaled[test]) == whole.label[test])
        metric, each = f"accuracy_{name}_percent", np.mean(right, axis=1)
        assert by_name(found)[metric] == pytest.approx(np.mean(each))
        assert by_name(found)[f"{metric}_sd"] == pytest.approx(np.std(each, ddof=1))
        assert found.outcomes[metric] == pytest.approx(np.mean(right, axis=0))
    assert found.test_ids == tuple(whole.ids[row] for row in test)
    assert found.n_train == sum(SIZES)


def test_all_of_train_is_one_set_whatever_the_draw():
    found = by_name(task().evaluate(shapes()))
    assert list(found) == [f"accuracy_{n}_percent{end}" for n in (1, 5, 10, 25, 100) for end in ("", "_sd")]
    assert found["accuracy_100_percent_sd"] == 0.0 < found["accuracy_1_percent_sd"]
    assert found["accuracy_1_percent"] < found["accuracy_100_percent"]


def test_shares_that_are_the_same_shapes_are_each_reported():
    found = task(shares=[0.01, 0.02]).evaluate(shapes())
    assert by_name(found)["accuracy_1_percent"] == by_name(found)["accuracy_2_percent"]
    assert found.outcomes["accuracy_1_percent"] == found.outcomes["accuracy_2_percent"]
    assert found.n_train == 3


def test_labels_outside_the_share_stay_unread():
    whole, only = shapes(), task(shares=[0.1], draws=1)
    drawn = only.draw(whole, 0.1, 0)
    only.draw = lambda *_: drawn
    expected = only.evaluate(whole).outcomes
    label, others = whole.label.copy(), np.setdiff1d(np.flatnonzero(whole.split < 2), drawn)
    label[others] = (label[others] + 1) % 3
    assert only.evaluate(Shapes(whole.ids, whole.values, label, whole.split, 3)).outcomes == expected


def test_val_joins_where_asked_and_only_there():
    whole = shapes()
    assert task(use_val=True, draws=1).evaluate(whole).n_train == sum(SIZES) + 6
    values = whole.values.copy()
    values[whole.split == 1] = np.nan
    without = Shapes(whole.ids, values, whole.label, whole.split, 3)
    assert task(draws=2).evaluate(without) == task(draws=2).evaluate(whole)


@pytest.mark.parametrize("shares", [[], [0.0, 0.5], [0.5, 0.1], [0.1, 0.1], [1.5], [-0.1], [0.1, 0.10000000001]])
def test_shares_that_cannot_be_meant(shares):
    assert mistakes(Settings, {"kind": "data_efficiency", "dataset": "toy", "shares": shares}, "tasks.d")


def test_one_draw_has_no_spread_to_tell():
    assert all(not metric.endswith("_sd") for metric in by_name(task(draws=1, shares=[0.1, 1.0]).evaluate(shapes())))
