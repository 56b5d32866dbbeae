"""Linear probe: how much of the classes a linear classifier reads from the frozen embedding."""

from __future__ import annotations

import logging
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from pointlift.contracts.hashing import digest, stable_seed
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import FrozenSettings
from pointlift.tasks.judgement import Judgement, accuracy, best_on_test, mean_class_accuracy, right
from pointlift.tasks.linear_model import choose_strength, fit_linear, single_threaded, stratified_folds
from pointlift.tasks.shapes import Shapes

log = logging.getLogger(__name__)


class Settings(FrozenSettings):
    """A linear classifier on the frozen embedding, its strength chosen by cross-validation on train alone."""

    kind: Literal["linear_probe"]
    classifier: Literal["logistic", "svm"] = "logistic"
    strengths: tuple[float, ...] = Field(default=(0.001, 0.01, 0.1, 1.0, 10.0), min_length=1)
    """scikit-learn's C to choose from."""
    folds: int = Field(default=5, ge=2)
    use_val: bool = False
    """Train on train and val. Else the val split is left alone, so that all tasks see the same training shapes."""
    measures: ClassVar[tuple[str, ...]] = ("classifier", "strengths", "folds", "use_val")
    protocols: ClassVar[tuple[str, ...]] = ("best_strength_on_test",)
    """best_strength_on_test: of all ``strengths`` the one that is best on test, as linear SVMs are often reported (by
    PointMCD's first author in PointVST, with classifier svm and strengths 0.010, 0.011 and 0.012)."""


def build(settings: Settings) -> LinearProbe:
    """The task."""
    return LinearProbe(settings)


class LinearProbe:
    """Accuracy of the probe on the test split. Nothing in it is random but the folds, which hang on the ids alone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, shapes: Shapes) -> Judgement:
        """Overall and mean class accuracy on test."""
        settings = self.settings
        train = shapes.rows("train", "val") if settings.use_val else shapes.rows("train")
        train = train[np.argsort([shapes.ids[row] for row in train])]
        test = shapes.rows("test")
        embedding, label = shapes.values[train], shapes.label[train]
        rng = np.random.default_rng(stable_seed(digest([shapes.ids[row] for row in train]), "folds"))
        folds = stratified_folds(label, settings.folds, rng)
        if self.settings.protocol is not None:
            return self._best_on_test(shapes, train, test)
        with single_threaded():
            strength = choose_strength(embedding, label, settings.strengths, folds, settings.classifier)
            answer = fit_linear(embedding, label, strength, settings.classifier).answer(shapes.values[test])
        log.info("cross-validation on train chose C = %g", strength)
        found = {
            "accuracy": accuracy(answer, shapes.label[test]),
            "mean_class_accuracy": mean_class_accuracy(answer, shapes.label[test]),
        }
        return Judgement(
            values=tuple(Value(metric=metric, value=value) for metric, value in found.items()),
            test_ids=tuple(shapes.ids[row] for row in test),
            n_train=len(train),
            outcomes={"accuracy": right(answer, shapes.label[test])},
        )

    def _best_on_test(self, shapes: Shapes, train: Array, test: Array) -> Judgement:
        with single_threaded():
            models = [
                fit_linear(shapes.values[train], shapes.label[train], strength, self.settings.classifier)
                for strength in self.settings.strengths
            ]
            on_test = [accuracy(model.answer(shapes.values[test]), shapes.label[test]) for model in models]
        return best_on_test("accuracy", on_test, [shapes.ids[row] for row in test], len(train))
