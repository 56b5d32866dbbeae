"""The linear probe: train rows alone decide, the shortcut changes nothing, small classes are met."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.tasks import linear_model
from pointlift.tasks.linear_model import choose_strength, fit_linear, stratified_folds
from pointlift.tasks.linear_probe import Settings, build
from pointlift.tasks.shapes import Shapes


def blobs(per_class: int, width: int, spread: float, seed: int = 0, classes: int = 3):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), per_class)
    centres = np.random.default_rng(100).normal(size=(classes, width))
    return (3.0 + centres[label] + spread * rng.normal(size=(len(label), width))).astype(np.float32), label


def shapes(spread: float = 1.0, width: int = 8) -> Shapes:
    parts = [blobs(20, width, spread, seed) for seed in range(3)]
    values, label = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    split = np.repeat([0, 1, 2], 60).astype(np.uint8)
    return Shapes(tuple(f"s{number:03d}" for number in range(180)), values, label, split, 3)


def probe(**changes):
    return build(parse(Settings, {"kind": "linear_probe", "dataset": "toy", **changes}, "task"))


@pytest.mark.parametrize("classifier", ["logistic", "svm"])
@pytest.mark.parametrize(("per_class", "width"), [(30, 5), (4, 40)])  # more rows than dimensions, and fewer
def test_the_fit_is_scikit_learns_own(classifier, per_class, width):
    embedding, label = blobs(per_class, width, 1.0)
    unseen = blobs(50, width, 1.0, seed=1)[0]
    estimators = {"logistic": LogisticRegression(C=0.5, tol=1e-8, max_iter=5000), "svm": SVC(C=0.5, kernel="linear")}
    reference = make_pipeline(StandardScaler(), estimators[classifier]).fit(embedding.astype(float), label)
    model = fit_linear(embedding, label, 0.5, classifier)
    agreement = (model.answer(unseen) == reference.predict(unseen.astype(float))).mean()
    assert agreement >= 0.99


def test_dead_dimensions_do_no_harm():
    embedding, label = blobs(10, 4, 0.3)
    dead = np.concatenate([embedding, np.full((30, 2), 7.0, np.float32)], axis=1)
    unseen = blobs(10, 4, 0.3, seed=1)[0]
    moved = np.concatenate([unseen, np.full((30, 2), 7.1, np.float32)], axis=1)
    np.testing.assert_array_equal(
        fit_linear(dead, label, 1.0).answer(moved), fit_linear(embedding, label, 1.0).answer(unseen)
    )


def test_units_of_the_embedding_do_not_matter():
    embedding, label = blobs(10, 4, 1.0)
    unseen = blobs(20, 4, 1.0, seed=1)[0]
    units = np.array([1e-3, 1.0, 50.0, 1e4], np.float32)
    np.testing.assert_array_equal(
        fit_linear(embedding * units, label, 1.0).answer(unseen * units),
        fit_linear(embedding, label, 1.0).answer(unseen),
    )


@pytest.mark.parametrize("sizes", [(10, 10, 10), (7, 3, 1), (1, 1, 1)])
def test_folds_are_stratified_also_for_small_classes(sizes):
    label = np.repeat(np.arange(3), sizes)
    folds = stratified_folds(label, 5, np.random.default_rng(0))
    for one in range(3):
        counts = np.bincount(folds[label == one], minlength=5)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(folds, minlength=min(5, len(label)))
    assert counts.max() - counts.min() <= 1


def reference_strength(embedding, label, strengths, folds) -> float:
    right = []
    for strength in strengths:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-8, max_iter=5000))
        held = [folds == fold for fold in np.unique(folds)]
        right.append(sum((model.fit(embedding[~h], label[~h]).predict(embedding[h]) == label[h]).sum() for h in held))
    return strengths[int(np.argmax(right))]


def test_the_strength_is_that_of_the_best_validation_accuracy():
    strengths, chosen = (1e-3, 1e-1, 10.0), []
    for seed in range(5):
        embedding, label = blobs(14, 12, 2.0, seed)
        folds = stratified_folds(label, 3, np.random.default_rng(seed))
        chosen.append(choose_strength(embedding, label, strengths, folds, "logistic"))
        assert chosen[-1] == reference_strength(embedding, label, strengths, folds)
    assert len(set(chosen)) > 1


def test_equally_good_strengths_give_the_smallest():
    embedding, label = blobs(10, 4, 0.01)
    folds = stratified_folds(label, 5, np.random.default_rng(0))
    assert choose_strength(embedding, label, (10.0, 0.1, 1.0), folds, "logistic") == 0.1


def test_equal_counts_are_equal_where_shares_would_round(monkeypatch):
    right = {(0.1, 49): 1, (0.1, 50): 1, (1.0, 49): 0, (1.0, 50): 2}  # 1 / 49 * 49 is less than 1

    class Scripted:
        def __init__(self, strength: float) -> None:
            self.strength = strength

        def answer(self, embedding):
            answer = 1 - embedding[:, 0]
            answer[: right[self.strength, len(answer)]] = embedding[: right[self.strength, len(answer)], 0]
            return answer

    monkeypatch.setattr(linear_model, "fit_linear", lambda embedding, label, strength, classifier: Scripted(strength))
    label, folds = np.arange(99) % 2, np.repeat([0, 1], [49, 50])
    assert choose_strength(label[:, None], label, (0.1, 1.0), folds, "logistic") == 0.1


def test_neither_val_nor_test_shapes_change_the_classifier():
    whole = shapes()
    one = probe().evaluate(whole)
    other = whole.values.copy()
    other[whole.split == 1] = 1e3
    changed = Shapes(whole.ids, other, whole.label, whole.split, 3)
    assert probe().evaluate(changed) == one
    fewer = np.flatnonzero((whole.split != 2) | (np.arange(180) % 2 == 0))
    part = Shapes(tuple(whole.ids[r] for r in fewer), whole.values[fewer], whole.label[fewer], whole.split[fewer], 3)
    answer = dict(zip(one.test_ids, one.outcomes["accuracy"], strict=True))
    found = probe().evaluate(part)
    assert found.outcomes["accuracy"] == tuple(answer[name] for name in found.test_ids)


def test_val_joins_train_where_asked():
    assert probe().evaluate(shapes()).n_train == 60
    assert probe(use_val=True).evaluate(shapes()).n_train == 120


def test_the_order_of_rows_does_not_matter():
    whole = shapes()
    order = np.random.default_rng(3).permutation(180)
    mixed = Shapes(tuple(whole.ids[r] for r in order), whole.values[order], whole.label[order], whole.split[order], 3)
    assert probe().evaluate(mixed).values == probe().evaluate(whole).values


def test_a_class_with_one_training_shape_is_met():
    embedding, label = blobs(6, 4, 0.05)
    kept = np.concatenate([np.arange(13), np.arange(18)])
    split = np.array([0] * 13 + [2] * 18, np.uint8)
    few = Shapes(tuple(f"x{number}" for number in range(31)), embedding[kept], label[kept], split, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe().evaluate(few).values[0].value == 1.0


def test_one_class_is_refused():
    with pytest.raises(ArtifactError, match="at least 2 classes"):
        fit_linear(np.zeros((4, 2), np.float32), np.zeros(4, int), 1.0)


def test_the_strength_best_on_test_is_reported_as_what_it_is():
    found = probe(protocol="best_strength_on_test", classifier="svm", strengths=[0.010, 0.011, 0.012])
    spread = shapes(spread=3.0)
    train, test = spread.rows("train"), spread.rows("test")
    scores = []
    for strength in (0.010, 0.011, 0.012):
        model = fit_linear(spread.values[train], spread.label[train], strength, "svm")
        scores.append((model.answer(spread.values[test]) == spread.label[test]).mean())
    (value,) = found.evaluate(spread).values
    assert value.selection == "oracle_test"
    assert value.value == np.floor(1000 * max(scores) + 1e-9) / 1000
