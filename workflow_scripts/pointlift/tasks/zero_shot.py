"""Zero-shot classification: which class's prompts a shape's embedding is nearest to, in the teacher's space.

Nothing is learnt and nothing is chosen: prompts are written in the config and stand before any test shape is looked at
(the literature picks prompts, view weights and checkpoints on the test split).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from pointlift.contracts.blocks import TaskSettings
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Value
from pointlift.contracts.prompts import one_place
from pointlift.contracts.shards import Array
from pointlift.tasks.directions import cosine, unit_rows
from pointlift.tasks.judgement import Judgement, mean_class_accuracy
from pointlift.tasks.shapes import Prompts, Shapes

_MANY = 5


class Settings(TaskSettings):
    """What is said of every class. For runs whose method has a head into the space of a teacher that reads text."""

    kind: Literal["zero_shot"]
    prompts: tuple[str, ...] = Field(default=("a render of a {}",), min_length=1)
    """Captions of a class; {} is its name. Several are averaged."""
    measures: ClassVar[tuple[str, ...]] = ("prompts",)
    reads_prompts: ClassVar[bool] = True
    _one_place = field_validator("prompts")(one_place)

    def reads_projected(self) -> bool:
        """Words are in the teacher's space, so shapes must be."""
        return True


def build(settings: Settings) -> ZeroShot:
    """The task."""
    return ZeroShot(settings)


class ZeroShot:
    """Accuracy on the test split, by the cosine between a shape's projected embedding and the prompts of each class."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, shapes: Shapes, prompts: Prompts) -> Judgement:
        """Overall and mean class accuracy; with more than 5 classes also the share whose class is among the first 5.

        shapes : with embeddings (S, D) in the space of ``prompts``. Of equal similarities the class of the lower number
        comes first.
        """
        self._check(shapes, prompts)
        test = shapes.rows("test")
        similarity = cosine(unit_rows(shapes.values[test]), unit_rows(prompts.embedding))
        ranked = prompts.label[np.argsort(-similarity, axis=1, kind="stable")]
        found = ranked == shapes.label[test][:, None]
        outcomes = {"accuracy": found[:, 0]}
        if len(prompts.label) > _MANY:
            outcomes[f"top{_MANY}_accuracy"] = found[:, :_MANY].any(axis=1)
        values = {metric: float(right.mean()) for metric, right in outcomes.items()}
        values["mean_class_accuracy"] = mean_class_accuracy(ranked[:, 0], shapes.label[test])
        return Judgement(
            values=tuple(Value(metric=metric, value=value) for metric, value in values.items()),
            test_ids=tuple(shapes.ids[row] for row in test),
            n_train=0,
            outcomes={metric: _numbers(right) for metric, right in outcomes.items()},
        )

    def _check(self, shapes: Shapes, prompts: Prompts) -> None:
        if prompts.prompts != self.settings.prompts:
            raise ArtifactError(
                f"zero_shot: the prompts that were encoded are {list(prompts.prompts)}, the task's are "
                f"{list(self.settings.prompts)}; run snakemake to encode them"
            )
        widths = shapes.values.shape[1], prompts.embedding.shape[1]
        if widths[0] != widths[1]:
            raise ArtifactError(
                f"zero_shot: projected embeddings have width {widths[0]}, prompts {widths[1]}: they are not of one "
                "space; give the task the prompts of the teacher that the run was distilled from"
            )
        if len(prompts.label) < 2:
            raise ArtifactError("zero_shot: there is but one class; one alone is always right")
        unknown = np.setdiff1d(shapes.label[shapes.rows("test")], prompts.label)
        if len(unknown):
            raise ArtifactError(f"zero_shot: the test split has class {unknown[0]}, of which there are no prompts")


def _numbers(right: Array) -> tuple[float, ...]:
    return tuple(right.astype(float).tolist())
