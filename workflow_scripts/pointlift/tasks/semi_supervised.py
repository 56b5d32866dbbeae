"""Semi-supervised distillation: few labels teach a teacher, which labels all training clouds for a student.

Xu et al., "Image2Point", ECCV 2022. First the student is trained on some shots of every class. It is the teacher: in
eval mode it says of every training cloud, as that is, which class it may be. Then a student that starts from the
teacher's weights is trained on these clouds; their labels are not read. The accuracy after the first phase is the
control of the second. In the authors' code the teacher stays in training mode, so that its batch statistics drift; that
is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pointlift.contracts.episodes import nested_shots
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.shards import Array
from pointlift.contracts.subset_blocks import SubsetSettings
from pointlift.tasks.classifier_task import ClassifierTask
from pointlift.tasks.draws import Subset, draw_shots
from pointlift.tasks.shapes import Shapes
from pointlift.tasks.subset_task import Measured, SubsetTask

if TYPE_CHECKING:  # judging imports no torch
    from torch import Tensor, nn

    from pointlift.tasks.pseudo_labels import PseudoLabelled
    from pointlift.tasks.subset_finetuning import Finetuned, Training


class Settings(SubsetSettings):
    """Which shots teach the teacher, and what it says of the rest."""

    kind: Literal["semi_supervised"]
    shots: tuple[int, ...] = Field(default=(5,), min_length=1)
    """Labelled training shapes per class, of the teacher. Draws are nested, and those of finetuned_few_shot."""
    student_recipe: Recipe | None = None
    """Of the second phase, on all training clouds; label_smoothing is not of that one. None: recipe."""
    labels: Literal["soft", "argmax"] = "soft"
    """soft: the teacher's probabilities. argmax: its best class alone (the code of Image2Point)."""
    temperature: float = Field(default=0.8, gt=0.0)
    """Of soft labels: the teacher's scores are divided by it, the student's are not. Below 1 it sharpens."""
    compat: Literal["authors_integer_argmax"] | None = None
    """authors_integer_argmax: scores become integers before the best class is looked for, as in the authors' code, so
    that .4, .9 and .3 are equals, of which the first class is taken."""
    measures: ClassVar[tuple[str, ...]] = ("shots", "draws", "use_val", "steps", "labels", "temperature")
    _nested = field_validator("shots")(nested_shots)

    @model_validator(mode="after")
    def _meant(self) -> Settings:
        if self.compat is not None and self.labels != "argmax":
            raise ValueError("compat: authors_integer_argmax is about labels: argmax")
        return self

    def protocol_words(self) -> tuple[str, ...]:
        """What stands in a row's protocol: numbers of the authors' pseudo-labels never meet others."""
        words = super().protocol_words()
        return words if self.compat is None else (*words, self.compat)


def build(settings: Settings) -> SemiSupervised:
    """The task."""
    return SemiSupervised(settings)


class SemiSupervised(SubsetTask):
    """Accuracy on the test split of teacher and student: ``accuracy_5_shot``, ``accuracy_5_shot_distilled``."""

    settings: Settings
    _PHASES: ClassVar[tuple[str, ...]] = ("", "_distilled")

    def measured(self) -> Sequence[Measured]:
        """Teacher and student, per shots."""
        return [
            Measured(f"accuracy_{shots}_shot{word}", shots, phase)
            for shots in self.settings.shots
            for phase, word in enumerate(self._PHASES)
        ]

    def subsets(self, shapes: Shapes) -> list[Subset]:
        """Shots by shots, draw by draw. Raises ``ArtifactError`` for a class that has fewer."""
        pool, draws = self.pool(shapes), range(self.settings.draws)
        return [
            Subset(shots, number, draw_shots(shapes, pool, shots, number))
            for shots in self.settings.shots
            for number in draws
        ]

    def phases(self, training: Training) -> Iterator[Finetuned]:
        """The teacher's training, then the student's."""
        teacher = training.on_labels()
        yield teacher
        rows = self.pool(training.shapes)
        second = FromTeacher(self.settings, teacher.model.state_dict(), rows, teacher.scores_of(rows))
        yield training.of(second, rows)


class FromTeacher(ClassifierTask):
    """The second phase: starts from the teacher's ``weights``, learns from its ``scores`` (R, K) of the ``rows``."""

    def __init__(self, settings: Settings, weights: dict[str, Tensor], rows: Array, scores: Array) -> None:
        from pointlift.tasks.pseudo_labels import pseudo_labels

        super().__init__(settings.model_copy(update={"recipe": settings.student_recipe or settings.recipe}))
        self.weights, self.rows = weights, rows
        self.target = pseudo_labels(scores, settings.labels, settings.temperature, settings.compat)

    def model(self, student: nn.Module, shapes: Shapes, method: nn.Module | None) -> PseudoLabelled:
        """What is trained: the teacher's weights, in a copy."""
        from pointlift.tasks.pseudo_labels import PseudoLabelled

        found = PseudoLabelled(student, shapes.num_classes, self.settings, method)
        found.load_state_dict(self.weights)
        return found

    def training_arrays(self, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """What the teacher says of the rows; no label."""
        del shapes
        if rows.tolist() != self.rows.tolist():
            raise ValueError("the teacher was asked about other shapes")
        return {"target": self.target}
