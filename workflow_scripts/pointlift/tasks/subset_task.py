"""What the tasks share that finetune a student on small training sets: trainings, and accuracies over draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.subset_blocks import SubsetSettings
from pointlift.tasks.classifier_task import ClassifierTask
from pointlift.tasks.draws import Subset, mean_and_spread
from pointlift.tasks.judgement import Judgement
from pointlift.tasks.shapes import Shapes, SubsetPredictions

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.subset_finetuning import Finetuned, SubsetFinetuning, Training


class Measured(NamedTuple):
    """A number of the results: its name, the size of the labelled sets, and after which phase of training."""

    metric: str
    size: float
    phase: int = 0


class SubsetTask(ClassifierTask, ABC):
    """A task that is trained by ``SubsetFinetuning``. Who derives from it says which sets, and what is measured."""

    settings: SubsetSettings

    @abstractmethod
    def measured(self) -> Sequence[Measured]:
        """What is reported, in order."""

    @abstractmethod
    def subsets(self, shapes: Shapes) -> Sequence[Subset]:
        """The labelled sets: the same for every run, seed, process and machine."""

    def finetuning(self, student: nn.Module, shapes: Shapes, seed: int) -> SubsetFinetuning:
        """What ``finetune_student`` runs in the place of one finetuning."""
        from pointlift.tasks.subset_finetuning import SubsetFinetuning

        return SubsetFinetuning(self, student, shapes, seed)

    def phases(self, training: Training) -> Iterator[Finetuned]:
        """The trainings on one labelled set, each to be run before the next is asked for. Here there is one."""
        yield training.on_labels()

    def pool(self, shapes: Shapes) -> Array:
        """Rows that sets are drawn from. Raises ``ArtifactError`` where they are of one class alone."""
        rows = shapes.rows("train", "val") if self.settings.use_val else shapes.rows("train")
        if len(np.unique(shapes.label[rows])) < 2:
            raise ArtifactError(f"{self.settings.kind}: needs training shapes of at least 2 classes")
        return rows

    def evaluate(self, predictions: SubsetPredictions) -> Judgement:
        """Means and sample spreads (``_sd``) over draws; outcomes are those of every test shape, mean over draws."""
        values: list[Value] = []
        outcomes: dict[str, tuple[float, ...]] = {}
        for metric, size, phase in self.measured():
            right = predictions.of(size, phase).argmax(axis=-1) == predictions.label
            if len(right) != self.settings.draws:
                raise ArtifactError(f"{metric}: {len(right)} draws were trained, not {self.settings.draws}; run again")
            values += mean_and_spread(metric, float(right.mean()), right.mean(axis=1))
            outcomes[metric] = tuple(right.mean(axis=0).tolist())
        return Judgement(tuple(values), predictions.ids, predictions.num_train, outcomes)
