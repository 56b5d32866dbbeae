"""What the tasks share that train a classifier of shapes: what it is, what it reads, what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import ClassificationSettings
from pointlift.tasks.judgement import accuracy
from pointlift.tasks.shapes import Shapes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.classifier import Classifier


class ClassifierTask:
    """A ``finetuning.ShapeTask`` whose answers are class scores; whoever derives from it says what they tell."""

    def __init__(self, settings: ClassificationSettings) -> None:
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
