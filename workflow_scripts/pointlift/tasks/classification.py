"""Shape classification: the student is trained with a head on the train split, alone or with a distillation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.blocks import Answers
from pointlift.contracts.metrics import Audit, Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import ClassificationSettings
from pointlift.tasks.classifier_task import ClassifierTask
from pointlift.tasks.judgement import Judgement, accuracy, best_on_test, mean_class_accuracy, right
from pointlift.tasks.shapes import Predictions, Shapes

if TYPE_CHECKING:  # judging imports no torch
    from pointlift.tasks.classifier import Classifier


class Settings(ClassificationSettings):
    """Finetuning for classification."""

    kind: Literal["classification"]
    votes: int = Field(default=0, ge=0, le=1000)
    """Repetitions of test-time voting by the trained student. The inflation ladder shows what keeping the best of them
    would add; no result reads them. 0: none."""
    crops: int = Field(default=10, ge=1, le=1000)
    """Answers to test shapes under the recipe's own augmentation, of which a repetition is the mean."""
    answers: ClassVar[Answers] = "predictions"
    protocols: ClassVar[tuple[str, ...]] = ("pointmcd_authors", "image2point_authors")
    added_later: ClassVar[tuple[str, ...]] = (*ClassificationSettings.added_later, "votes", "crops")

    @model_validator(mode="after")
    def _votes_tell_something(self) -> Settings:
        if self.votes and not self.recipe.augmentation.is_random():
            raise ValueError(
                f"votes: {self.votes} repetitions under a recipe without random augmentation are all the same; give "
                "recipe.augmentation scale, shift, rotation or jitter, or leave votes out (0)"
            )
        if self.votes and self.protocol is not None:
            raise ValueError(f"votes are of our own protocol, for its audit; leave them out beside {self.protocol}")
        if not self.votes and self.crops != type(self).model_fields["crops"].default:
            raise ValueError("crops are of votes; give votes (1 to 1000), or leave crops out")
        return self

    def casts_votes(self) -> bool:
        """Whether the trained student also answers augmented test shapes, for the inflation ladder alone."""
        return self.votes > 0


def build(settings: Settings) -> Classification:
    """The task."""
    return Classification(settings)


class Classification(ClassifierTask):
    """Accuracy after training: at the last epoch (headline), and at the epoch that was best on val."""

    settings: Settings

    def vote(self, model: Classifier, shapes: Shapes, rows: Array, seed: int) -> dict[str, Array]:
        """Class scores of repeated voting on these shapes: ``vote_logits`` (R, S, K) float32."""
        from pointlift.tasks.voting import vote

        own = self.settings
        points, augmentation = shapes.values[rows], own.recipe.augmentation
        return {"vote_logits": vote(model, points, augmentation, seed, votes=own.votes, crops=own.crops)}

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
            audit=_audit(answer[:, test], predictions.vote_logits, predictions.label[test]),
        )


def _values(answer: Array, label: Array, selection: Literal["last", "val"]) -> tuple[Value, ...]:
    return (
        Value(metric="accuracy", value=accuracy(answer, label), selection=selection),
        Value(metric="mean_class_accuracy", value=mean_class_accuracy(answer, label), selection=selection),
    )


def _audit(answer: Array, vote_logits: Array | None, label: Array) -> Audit:
    """Both accuracies at every logged epoch, answers (E, S), and the accuracy of every vote where some were cast."""
    votes = () if vote_logits is None else tuple(accuracy(each, label) for each in vote_logits.argmax(axis=-1))
    return Audit(
        on_test={
            "accuracy": tuple(accuracy(each, label) for each in answer),
            "mean_class_accuracy": tuple(mean_class_accuracy(each, label) for each in answer),
        },
        votes={"accuracy": votes} if votes else {},
    )
