"""Data efficiency of finetuning: accuracy of a student trained on a share of the labels (Image2Point, ECCV 2022).

The task data_efficiency asks a frozen embedding instead, on the same shares of the same shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from pointlift.contracts.subset_blocks import SubsetSettings, rising_shares
from pointlift.tasks.draws import Subset, draw_share, share_metric
from pointlift.tasks.shapes import Shapes
from pointlift.tasks.subset_task import Measured, SubsetTask


class Settings(SubsetSettings):
    """Which shares of the train split."""

    kind: Literal["finetuned_data_efficiency"]
    shares: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(0.01, 0.05, 0.1, 0.25, 1.0), min_length=1
    )
    """Of every class's training shapes, rising; at least one shape of each. Draws are nested. Where classes are small,
    several shares can be the same shapes: they are trained on once, and each is reported."""
    measures: ClassVar[tuple[str, ...]] = ("shares", "draws", "use_val", "steps")
    _rise = field_validator("shares")(rising_shares)


def build(settings: Settings) -> FinetunedDataEfficiency:
    """The task."""
    return FinetunedDataEfficiency(settings)


class FinetunedDataEfficiency(SubsetTask):
    """Accuracy on the test split, per share: ``accuracy_5_percent``."""

    settings: Settings

    def measured(self) -> Sequence[Measured]:
        """One number per share."""
        return [Measured(share_metric(share), share) for share in self.settings.shares]

    def subsets(self, shapes: Shapes) -> list[Subset]:
        """Share by share, draw by draw."""
        pool, draws = self.pool(shapes), range(self.settings.draws)
        return [
            Subset(share, number, draw_share(shapes, pool, share, number))
            for share in self.settings.shares
            for number in draws
        ]
