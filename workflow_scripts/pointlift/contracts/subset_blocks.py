"""The blocks of tasks that finetune the student on small training sets, in config.yaml."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.blocks import Answers
from pointlift.contracts.task_blocks import ClassificationSettings


def rising_shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    """The shares, when they rise and each has a name of its own. Raises ``ValueError``."""
    if list(shares) != sorted(shares) or len({f"{100 * share:g}" for share in shares}) < len(shares):
        raise ValueError("shares must rise, none twice")
    return shares


class SubsetSettings(ClassificationSettings):
    """What every task says that trains the student anew on each of several small training sets.

    Each training starts from the same weights, those of the head included. The test split is looked at when it ends.
    """

    draws: int = Field(default=3, ge=1)
    """Random choices of training shapes; the value is their mean. They hang on ids alone: all runs meet the same, and
    so do the tasks few_shot and data_efficiency with the same use_val."""
    use_val: bool = False
    """Draw from train and val, for nothing is chosen by val. Else the val split is left alone."""
    steps: Literal["equal", "epochs"] = "equal"
    """equal: every set is trained for as many steps as the epochs of the recipe are on the largest one. epochs: for as
    many epochs, so that small sets have few steps: who needs many of them looks as if many labels were needed."""
    joint: ClassVar[bool] = False
    answers: ClassVar[Answers] = "subset_predictions"
    protocols: ClassVar[tuple[str, ...]] = ()
    judged_splits: ClassVar[tuple[str, ...]] = ("test",)

    @model_validator(mode="after")
    def _looks_once(self) -> SubsetSettings:
        if self.log_every != type(self).model_fields["log_every"].default:
            raise ValueError("log_every: a student on a small set is looked at when its training ends; leave it out")
        return self
