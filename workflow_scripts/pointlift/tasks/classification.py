"""Shape classification: the student is trained with a head on the train split, alone or with a distillation loss."""

from __future__ import annotations

from typing import ClassVar, Literal

from pointlift.contracts.blocks import Answers
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import ClassificationSettings
from pointlift.tasks.classifier_task import ClassifierTask
from pointlift.tasks.judgement import Judgement, accuracy, best_on_test, mean_class_accuracy, right
from pointlift.tasks.shapes import Predictions


class Settings(ClassificationSettings):
    """Finetuning for classification."""

    kind: Literal["classification"]
    answers: ClassVar[Answers] = "predictions"
    protocols: ClassVar[tuple[str, ...]] = ("pointmcd_authors", "image2point_authors")


def build(settings: Settings) -> Classification:
    """The task."""
    return Classification(settings)


class Classification(ClassifierTask):
    """Accuracy after training: at the last epoch (headline), and at the epoch that was best on val."""

    def evaluate(self, predictions: Predictions) -> Judgement:
        """Overall and mean class accuracy on test; ``val`` is the first epoch with the highest accuracy on val.

        Under a published protocol the overall accuracy of the logged epoch that is best on test, alone; under
        ``pointmcd_authors`` cut down to a tenth of a percent.
        """
        test, val = predictions.rows("test"), predictions.rows("val")
        answer = predictions.logits.argmax(axis=-1)
        if self.settings.protocol is not None:
            on_test = [accuracy(each[test], predictions.label[test]) for each in answer]
            ids, cut = [predictions.ids[row] for row in test], self.settings.protocol == "pointmcd_authors"
            return best_on_test("accuracy", on_test, ids, predictions.num_train, cut=cut)
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
