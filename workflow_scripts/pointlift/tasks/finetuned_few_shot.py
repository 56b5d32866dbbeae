"""Few-shot finetuning: k labelled shapes of every class, all classes at once, the whole test split (Image2Point 2022).

The task few_shot asks a frozen embedding instead, on the same draws. In the authors' code every process seeds its own
draw, so that n of them train on up to n times k shapes of a class. That leak is not offered: how large it is hangs on
the number of processes and on which draws happen to overlap, so no number of it could be compared with any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from pointlift.contracts.episodes import committed_names, metric_names, nested_shots, plan_of, read_committed
from pointlift.contracts.subset_blocks import SubsetSettings
from pointlift.tasks.draws import Subset, draw_shots
from pointlift.tasks.episode_rows import place
from pointlift.tasks.shapes import Shapes
from pointlift.tasks.subset_task import Measured, SubsetTask


class Settings(SubsetSettings):
    """Which shots."""

    kind: Literal["finetuned_few_shot"]
    shots: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    """Training shapes per class. Draws are nested: the one of 1 shot is among the five of 5 shots."""
    episodes: str | None = None
    """Name of a committed file of all classes (mn40/1-5-10shot): its first folds are the draws, whatever use_val says.
    None: drawn here."""
    measures: ClassVar[tuple[str, ...]] = ("shots", "episodes", "draws", "use_val", "steps")
    _nested = field_validator("shots")(nested_shots)

    @model_validator(mode="after")
    def _known(self) -> Settings:
        if self.episodes is None:
            return self
        plan = plan_of(self.episodes.rpartition("/")[2]) if self.episodes in committed_names() else None
        whole = [name for name in committed_names() if name.endswith("shot")]
        if plan is None or plan.ways:
            raise ValueError(f"there are no episodes {self.episodes!r} of all classes; there are: {', '.join(whole)}")
        if not set(self.shots) <= set(plan.shots) or self.draws > plan.folds:
            held = ", ".join(map(str, plan.shots))
            raise ValueError(f"episodes {self.episodes} have shots {held} and {plan.folds} draws")
        return self

    def files_used(self) -> tuple[str, ...]:
        """The committed file of its episodes."""
        return () if self.episodes is None else (f"episodes/{self.episodes}.json",)


def build(settings: Settings) -> FinetunedFewShot:
    """The task."""
    return FinetunedFewShot(settings)


class FinetunedFewShot(SubsetTask):
    """Accuracy on the test split, per shots: ``accuracy_5_shot``, of episodes ``accuracy_mn40_5_shot``."""

    settings: Settings

    def measured(self) -> Sequence[Measured]:
        """One number per shots."""
        name = self.settings.episodes
        plan = plan_of(name.rpartition("/")[2]) if name is not None else None
        named = dict(zip(plan.shots, metric_names(str(name)), strict=True)) if plan is not None else {}
        return [Measured(named.get(shots, f"accuracy_{shots}_shot"), shots) for shots in self.settings.shots]

    def subsets(self, shapes: Shapes) -> list[Subset]:
        """Shots by shots, draw by draw. Raises ``ArtifactError`` for a class that has fewer."""
        draws = range(self.settings.draws)
        if self.settings.episodes is not None:
            folds = place(shapes, read_committed(self.settings.episodes))
            return [
                Subset(shots, number, np.sort(folds[number].support[:, :shots].ravel()))
                for shots in self.settings.shots
                for number in draws
            ]
        pool = self.pool(shapes)
        return [
            Subset(shots, number, draw_shots(shapes, pool, shots, number))
            for shots in self.settings.shots
            for number in draws
        ]
