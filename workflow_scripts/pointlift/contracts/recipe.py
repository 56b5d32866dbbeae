"""How something is trained: length, optimiser, schedule, augmentation. Shared by teachers, distillation and tasks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.settings import Settings


class Augmentation(Settings):
    """Random changes of a training cloud. Rows keep their order, so that cached visibility stays aligned."""

    scale: tuple[float, float] = (1.0, 1.0)
    """Per-axis factor, uniform between the two (PointMCD classification: 2/3 to 3/2)."""
    shift: float = Field(default=0.0, ge=0.0)
    """Per-axis shift, uniform within plus or minus this many radii (PointMCD: 0.2)."""
    rotation: Literal["none", "up", "any"] = "none"
    """About the z axis, or uniform over all rotations."""
    jitter: float = Field(default=0.0, ge=0.0)
    """Standard deviation of Gaussian noise per coordinate."""

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> Augmentation:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale must be [smallest, largest], both above 0")
        return self

    def is_random(self) -> bool:
        """Whether a cloud is another one each time."""
        return self.scale[0] < self.scale[1] or self.shift > 0.0 or self.rotation != "none" or self.jitter > 0.0


class Recipe(Settings):
    """A training schedule. The learning rate falls from first to last, per step, after a linear warm-up."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    """At least 2: batch norms need rows to take statistics over."""
    optimiser: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = Field(gt=0.0)
    final_learning_rate: float = Field(default=0.0, ge=0.0)
    warmup_steps: int = Field(default=0, ge=0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    gradient_clip: float | None = Field(default=None, gt=0.0)
    schedule: Literal["cosine", "cosine_authors", "polynomial"] = "cosine"
    """cosine: half a cosine over all steps. polynomial: power 0.9, over all steps (Image2Point on S3DIS).
    cosine_authors: the code of Image2Point, a cosine of as many steps as there are epochs, which then goes up and down
    again until training ends; without warm-up."""
    nesterov: bool = False
    """Of optimiser sgd, with momentum."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    augmentation: Augmentation = Augmentation()
    added_later: ClassVar[tuple[str, ...]] = ("schedule", "nesterov")

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0.0):
            raise ValueError("nesterov is of optimiser sgd with a momentum above 0")
        if self.schedule == "cosine_authors" and self.warmup_steps:
            raise ValueError("schedule cosine_authors has no warm-up; leave warmup_steps out")
        return self


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimiser steps of one epoch over so many rows: the last, partial batch is dropped unless it is the only one."""
    return max(1, rows // batch_size)
