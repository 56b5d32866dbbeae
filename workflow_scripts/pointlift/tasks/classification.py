"""Shape classification: the student is trained with a head on the train split, alone or with a distillation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pointlift.contracts.blocks import Answers, FinetuningSettings
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.tasks.judgement import Judgement, accuracy, best_on_test, mean_class_accuracy, right
from pointlift.tasks.shapes import Predictions, Shapes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.classifier import Classifier


class Settings(FinetuningSettings):
    """Finetuning for classification."""

    kind: Literal["classification"]
    regime: Literal["all", "frozen"] = "all"
    """``all``: student and head are trained. ``frozen``: only a linear layer on the student's frozen embedding."""
    head: Literal["block", "linear", "linear_norm"] = "block"
    """block: a hidden block, then a linear layer without bias (PointMCD). linear: one linear layer. linear_norm: and a
    batch norm of the class scores (the code of Image2Point). A frozen student has a linear one, whatever is said."""
    head_width: int = Field(default=512, ge=1)
    """Width of the head's hidden block, where it has one."""
    added_later: ClassVar[tuple[str, ...]] = ("head",)
    answers: ClassVar[Answers] = "predictions"


def build(settings: Settings) -> Classification:
    """The task."""
    return Classification(settings)


class Classification:
    """Accuracy after training: at the last epoch (headline), and at the epoch that was best on val."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def model(self, student: nn.Module, shapes: Shapes, method: nn.Module | None) -> Classifier:
        """What is trained."""
        from pointlift.tasks.classifier import Classifier

        return Classifier(student, shapes.num_classes, self.settings, method)

    def training_arrays(self, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """What the model reads of these shapes beside their points."""
        return {"label": shapes.label[rows]}

    def look(self, model: Classifier, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """The model's class scores of these shapes: ``logits`` (S, K) float32."""
        return {"logits": model.answer(shapes.values[rows])}

    def constant_arrays(self, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """What of these shapes is stored once beside the answers: nothing more."""
        del shapes, rows
        return {}

    def watched(self, looked: dict[str, Array], shapes: Shapes, rows: Array, chosen: Array) -> dict[str, float]:
        """What the history says of the val shapes, ``chosen`` (S,) bool among ``rows``."""
        return {"val_accuracy": accuracy(looked["logits"][chosen].argmax(axis=1), shapes.label[rows][chosen])}

    def evaluate(self, predictions: Predictions) -> Judgement:
        """Overall and mean class accuracy on test; ``val`` is the first epoch with the highest accuracy on val.

        Under ``protocol: pointmcd_authors`` the overall accuracy of the logged epoch that is best on test, alone.
        """
        test, val = predictions.rows("test"), predictions.rows("val")
        answer = predictions.logits.argmax(axis=-1)
        if self.settings.protocol is not None:
            on_test = [accuracy(each[test], predictions.label[test]) for each in answer]
            return best_on_test("accuracy", on_test, [predictions.ids[row] for row in test], predictions.num_train)
        values = _values(answer[-1, test], predictions.label[test], "last")
        if len(val):
            best = max(range(len(answer)), key=lambda e: accuracy(answer[e, val], predictions.label[val]))
            values += _values(answer[best, test], predictions.label[test], "val")
        return Judgement(
            values=values,
            test_ids=tuple(predictions.ids[row] for row in test),
            n_train=predictions.num_train,
            outcomes={"accuracy": right(answer[-1, test], predictions.label[test])},
        )


def _values(answer: Array, label: Array, selection: Literal["last", "val"]) -> tuple[Value, ...]:
    return (
        Value(metric="accuracy", value=accuracy(answer, label), selection=selection),
        Value(metric="mean_class_accuracy", value=mean_class_accuracy(answer, label), selection=selection),
    )
