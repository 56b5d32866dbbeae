"""Retrieval: average precision as scikit-learn has it, cases by hand, ties that no order decides."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.tasks.retrieval import Settings, average_precision, build
from pointlift.tasks.shapes import Shapes


def evaluate(values, label, split=None, ids=None):
    values, label = np.asarray(values, dtype=np.float32), np.asarray(label)
    split = np.full(len(label), 2, np.uint8) if split is None else np.asarray(split, np.uint8)
    ids = tuple(f"s{row:04d}" for row in range(len(label))) if ids is None else ids
    task = build(parse(Settings, {"kind": "retrieval", "dataset": "toy"}, "task"))
    return task.evaluate(Shapes(ids, values, label, split, int(label.max()) + 1))


def by_name(found):
    return {value.metric: value.value for value in found.values}


def cloud(seed, count=40, width=6, classes=4):
    rng = np.random.default_rng(seed)
    label = rng.integers(classes, size=count)
    return rng.normal(size=(classes, width))[label] + rng.normal(size=(count, width)), label


@pytest.mark.parametrize("seed", range(4))
def test_every_query_is_as_scikit_learn_says(seed):
    values, label = cloud(seed)
    found = evaluate(values, label)
    unit = values.astype(np.float32).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    others = ~np.eye(len(label), dtype=bool)
    expected = [
        average_precision_score(label[others[row]] == label[row], (unit @ unit[row])[others[row]]) for row in range(40)
    ]
    nearest = np.where(others, unit @ unit.T, -2.0).argmax(axis=1)
    assert found.outcomes["mean_average_precision"] == pytest.approx(expected)
    assert found.outcomes["precision_at_1"] == tuple((label[nearest] == label).astype(float))
    assert by_name(found)["mean_average_precision"] == pytest.approx(np.mean(expected))
    assert found.items == {} and len(found.test_ids) == 40 and found.n_train == 0


@pytest.mark.parametrize("seed", range(20))
def test_ties_are_scikit_learns_too(seed):
    rng = np.random.default_rng(seed)
    similarity, relevant = rng.integers(5, size=30) / 4.0, rng.random(30) < 0.3
    relevant[rng.integers(30)] = True
    assert average_precision(similarity, relevant) == pytest.approx(average_precision_score(relevant, similarity))


def test_a_ranking_by_hand():
    """Right at ranks 1, 3 and 6: (1/1 + 2/3 + 3/6) / 3."""
    relevant = np.array([True, False, True, False, False, True])
    assert average_precision(-np.arange(6.0), relevant) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)


def test_neighbours_on_a_circle_by_hand():
    """At 0, 10, 15 and 100 degrees, classes a b a b: who is nearest, and which ranks are right."""
    angle = np.radians([0, 10, 15, 100])
    found = evaluate(np.stack([np.cos(angle), np.sin(angle)], axis=1), [0, 1, 0, 1])
    assert found.outcomes["precision_at_1"] == (0.0, 0.0, 0.0, 0.0)
    assert found.outcomes["mean_average_precision"] == pytest.approx((1 / 2, 1 / 3, 1 / 2, 1 / 2))


def test_what_collapsed_to_one_point_finds_no_more_than_chance():
    label = np.repeat([0, 1, 2], [4, 3, 5])
    direction = np.random.default_rng(0).normal(size=7)
    found = evaluate(np.outer(np.random.default_rng(1).uniform(0.5, 2.0, size=12), direction), label)
    share = tuple((np.bincount(label)[label] - 1) / 11)
    assert found.outcomes["mean_average_precision"] == pytest.approx(share)
    assert found.outcomes["precision_at_1"] == pytest.approx(share)


def test_the_order_of_shapes_does_not_matter():
    values, label = cloud(5)
    values[10:20] = values[:10]  # identical shapes: ties
    ids = tuple(f"s{row:04d}" for row in range(40))
    order = np.random.default_rng(2).permutation(40)
    one, other = evaluate(values, label), evaluate(values[order], label[order], ids=tuple(ids[row] for row in order))
    for metric, outcomes in one.outcomes.items():
        known = dict(zip(one.test_ids, outcomes, strict=True))
        assert other.outcomes[metric] == tuple(known[name] for name in other.test_ids)
        assert by_name(other)[metric] == pytest.approx(by_name(one)[metric])


def test_turned_and_scaled_embeddings_find_the_same():
    values, label = cloud(6)
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    scale = np.random.default_rng(1).uniform(0.1, 9.0, size=(40, 1))
    one, other = evaluate(values, label), evaluate(values @ turned * scale, label)
    assert other.outcomes["mean_average_precision"] == pytest.approx(one.outcomes["mean_average_precision"])


def test_many_queries_are_as_one_by_one():
    values, label = cloud(7, count=600, width=3)
    found = evaluate(values, label).outcomes["mean_average_precision"]
    unit = values.astype(np.float32).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for row in (0, 255, 256, 599):
        others = np.arange(600) != row
        assert found[row] == pytest.approx(
            average_precision_score(label[others] == label[row], unit[others] @ unit[row])
        )


def test_train_and_val_shapes_are_neither_queries_nor_found():
    values, label = cloud(8)
    split = np.arange(40) % 4
    split[split == 3] = 2
    found = evaluate(values, label, split)
    kept = np.flatnonzero(split == 2)
    alone = evaluate(values[kept], label[kept])
    assert found.outcomes == alone.outcomes
    assert found.test_ids == tuple(f"s{row:04d}" for row in kept)


def test_a_class_of_one_test_shape_is_found_but_never_asks(caplog):
    caplog.set_level("INFO")
    found = evaluate([[1, 0], [0.9, 0.1], [0, 1]], [0, 0, 1])
    assert found.test_ids == ("s0000", "s0001", "s0002")
    assert found.items == dict.fromkeys(("mean_average_precision", "precision_at_1"), ("s0000", "s0001"))
    assert found.outcomes["mean_average_precision"] == (1.0, 1.0)
    assert "1 test shapes are the only ones of their class" in caplog.text


def test_nothing_to_find_is_told():
    with pytest.raises(ArtifactError, match="no class has two test shapes"):
        evaluate(np.eye(3), [0, 1, 2])
