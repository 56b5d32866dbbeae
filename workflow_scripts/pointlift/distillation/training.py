"""Distilling a student: what is asked for, and the training itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import model_validator
from torch import Tensor, nn

from pointlift.contracts.blocks import Arm
from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import canonical_json
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.distillation.pairs import Pairs, prepare
from pointlift.training.data import TensorData
from pointlift.training.engine import fit


class DistillationSettings(BaseSettings):
    """One distillation: the slice of config.yaml that ``train_student`` is given. Without a method, a scratch one."""

    run: str
    student: dict[str, Any]
    method: dict[str, Any] | None = None
    recipe: Recipe | None = None
    arm: Arm
    seed: int
    max_quarantined: float = 0.02

    @model_validator(mode="after")
    def _whole(self) -> DistillationSettings:
        if (self.method is None) != (self.recipe is None):
            raise ValueError("a method needs a recipe, and a scratch student has neither")
        if any("kind" not in block for block in (self.student, self.method) if block is not None):
            raise ValueError("a student or method block needs the key kind")
        return self


class Distillation(nn.Module):
    """A student and the method that trains it; the method, with its head, is dropped afterwards."""

    def __init__(self, student: nn.Module, method: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.method = method

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The method's losses and reported values of one batch."""
        losses: dict[str, Tensor] = self.method(self.student(batch["points"]), batch)
        return losses


def distil(
    student: nn.Module, method: nn.Module, pairs: Pairs, settings: DistillationSettings, folder: Path, **compute: Any
) -> None:
    """Train ``student`` in place, together with the method's head; ``history.jsonl`` is left in ``folder``.

    ``compute``: device, threads, checkpoints, curves and code of ``training.engine.fit``.
    """
    if settings.recipe is None:
        raise ValueError("distillation needs a recipe")
    model = Distillation(student, method)
    fit(
        model,
        model,
        TensorData(pairs.arrays(), prepare),
        settings.recipe,
        seed=settings.seed,
        history=folder / "history.jsonl",
        identity=canonical_json([settings.student, settings.method]),
        **compute,
    )


def leave_untrained(folder: Path) -> None:
    """What the scratch arm leaves beside its weights: a history without a line."""
    write_text(folder / "history.jsonl", "")
