"""Speed to a target accuracy: after how many optimiser steps a classifier is right often enough on the val split.

Training is that of classification. Xu et al., "Image2Point", ECCV 2022, count epochs until accuracy first reaches a
target; that on the test split, here that on val, averaged over a few epochs so that one lucky epoch reaches nothing.
A run that never gets there has no number of steps: it says so, and nothing is put in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from pointlift.contracts.blocks import Answers
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.metrics import Value
from pointlift.contracts.recipe import steps_per_epoch
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import ClassificationSettings
from pointlift.tasks.classifier_task import ClassifierTask
from pointlift.tasks.judgement import Judgement, accuracy
from pointlift.tasks.shapes import Predictions, Shapes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.classifier import Classifier

#: Shares that are the same but for their last digits are the same.
_ROUNDING = 1e-9


class Settings(ClassificationSettings):
    """Training as of kind classification, until the val split is answered well enough and on to the recipe's end."""

    kind: Literal["speed_to_target"]
    target: float = Field(gt=0.0, le=1.0)
    """Accuracy on val that is to be reached, smoothed. It stands in the protocol of a row: 0.75 as ``target75``."""
    window: int = Field(default=3, ge=1)
    """Epochs whose mean is the smoothed accuracy: one and those before it. No epoch before the first whole window has
    one."""
    log_every: int = Field(default=1, ge=1, le=1)
    """Every epoch is looked at."""
    answers: ClassVar[Answers] = "predictions"
    measures: ClassVar[tuple[str, ...]] = ("target", "window")
    protocols: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _whole_window(self) -> Settings:
        if self.window > self.recipe.epochs:
            raise ValueError(f"window {self.window} is longer than the recipe's {self.recipe.epochs} epochs")
        return self

    def protocol_words(self) -> tuple[str, ...]:
        """What stands in a row's protocol: steps to one target are never compared with those to another."""
        return (*super().protocol_words(), f"target{100 * self.target:g}")


def build(settings: Settings) -> SpeedToTarget:
    """The task."""
    return SpeedToTarget(settings)


class SpeedToTarget(ClassifierTask):
    """Whether and when the target is reached, and what the student knows of the test split at that moment."""

    settings: Settings

    def model(self, student: nn.Module, shapes: Shapes, method: nn.Module | None) -> Classifier:
        """What is trained. Raises ``ConfigError`` for a dataset without a val split."""
        _require_val(shapes.rows("val"))
        return super().model(student, shapes, method)

    def evaluate(self, predictions: Predictions) -> Judgement:
        """``reached`` (0 or 1) and, only where it is 1, ``epochs_to_target``, ``steps_to_target`` and the accuracy on
        test of the weights of that epoch, ``accuracy_at_target`` (selection ``val``: val chose them).

        Outcomes: the smoothed accuracy on val by the number of epochs done, ``val_accuracy_by_epoch``.
        """
        test, val = predictions.rows("test"), predictions.rows("val")
        _require_val(val)
        if not np.array_equal(predictions.epoch, np.arange(len(predictions.epoch))):
            raise ArtifactError(
                "speed_to_target: the predictions are not of every epoch; delete them and make them anew"
            )
        answer = predictions.logits.argmax(axis=-1)
        smoothed = trailing_means(
            [accuracy(each[val], predictions.label[val]) for each in answer], self.settings.window
        )
        done = first_reached(smoothed, self.settings.target)
        values = [Value(metric="reached", value=float(done is not None))]
        if done is not None:
            steps = done * steps_per_epoch(predictions.num_train, self.settings.recipe.batch_size)
            then = accuracy(answer[done - 1, test], predictions.label[test])
            values += [
                Value(metric="epochs_to_target", value=float(done)),
                Value(metric="steps_to_target", value=float(steps)),
                Value(metric="accuracy_at_target", value=then, selection="val"),
            ]
        return Judgement(
            values=tuple(values),
            test_ids=tuple(predictions.ids[row] for row in test),
            n_train=predictions.num_train,
            outcomes={"val_accuracy_by_epoch": tuple(smoothed.values())},
            items={"val_accuracy_by_epoch": tuple(str(epochs) for epochs in smoothed)},
        )


def trailing_means(values: list[float], window: int) -> dict[int, float]:
    """By the number of values up to a place, the mean of the last ``window`` of them; from the first whole one on."""
    return {end: sum(values[end - window : end]) / window for end in range(window, len(values) + 1)}


def first_reached(smoothed: dict[int, float], target: float) -> int | None:
    """The first key at which a value is the target or more; None where none is."""
    return next((key for key, value in smoothed.items() if value >= target - _ROUNDING), None)


def _require_val(rows: Array) -> None:
    if not len(rows):
        raise ConfigError(
            "speed_to_target: the dataset has no val split, and a target is never looked for on test; "
            "give it one (splits: val above 0), or leave this task out"
        )
