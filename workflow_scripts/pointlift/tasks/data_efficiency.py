"""Data efficiency: accuracy of a linear classifier on frozen embeddings, by the share of labelled training shapes.

The student is not finetuned on these shares: what is measured is how few labels its embedding needs. As in few_shot,
the embedding is standardised by the whole training pool, whose labels stay unread.
"""

from __future__ import annotations

import logging
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.subset_blocks import rising_shares
from pointlift.contracts.task_blocks import FrozenSettings
from pointlift.tasks.draws import draw_share, mean_and_spread, right_over_draws, share_metric
from pointlift.tasks.judgement import Judgement
from pointlift.tasks.linear_model import single_threaded
from pointlift.tasks.shapes import Shapes

log = logging.getLogger(__name__)


class Settings(FrozenSettings):
    """Which shares of the train split, how many draws of them."""

    kind: Literal["data_efficiency"]
    shares: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(0.01, 0.05, 0.1, 0.25, 1.0), min_length=1
    )
    """Of every class's training shapes, rising; at least one shape of each. Draws are nested: a smaller share is among
    the larger ones. Where classes are small, several shares can be the same shapes; each is reported."""
    draws: int = Field(default=10, ge=1)
    """Random choices of training shapes; the value is their mean. They hang on ids alone: all runs meet the same."""
    strength: float = Field(default=1.0, gt=0.0)
    """scikit-learn's C of the logistic regression; fixed, for a share of one shape leaves nothing to validate on."""
    use_val: bool = False
    """Draw from train and val. Else the val split is left alone."""
    measures: ClassVar[tuple[str, ...]] = ("shares", "draws", "strength", "use_val")
    _rise = field_validator("shares")(rising_shares)


def build(settings: Settings) -> DataEfficiency:
    """The task."""
    return DataEfficiency(settings)


class DataEfficiency:
    """Accuracy on the whole test split, per share of the training shapes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, shapes: Shapes) -> Judgement:
        """Per share ``accuracy_5_percent``, mean over draws, and its sample spread over them (``_sd``).

        The outcome of a test shape is its mean over draws. ``n_train`` is that of the largest share.
        """
        settings, pool = self.settings, self._pool(shapes)
        values: list[Value] = []
        outcomes: dict[str, tuple[float, ...]] = {}
        num_train = 0
        for share in settings.shares:
            draws = [self.draw(shapes, share, number) for number in range(settings.draws)]
            with single_threaded():
                right = right_over_draws(shapes, draws, pool, settings.strength)
            metric, num_train = share_metric(share), len(draws[0])
            log.info("%s: %d of %d training shapes", metric, num_train, len(pool))
            values += mean_and_spread(metric, float(right.mean()), right.mean(axis=1))
            outcomes[metric] = tuple(right.mean(axis=0).tolist())
        test_ids = tuple(shapes.ids[row] for row in shapes.rows("test"))
        return Judgement(values=tuple(values), test_ids=test_ids, n_train=num_train, outcomes=outcomes)

    def draw(self, shapes: Shapes, share: float, number: int) -> Array:
        """Rows of draw ``number``, ascending: of every class its share, rounded half up, at least one shape."""
        return draw_share(shapes, self._pool(shapes), share, number)

    def _pool(self, shapes: Shapes) -> Array:
        return shapes.rows("train", "val") if self.settings.use_val else shapes.rows("train")
