"""Distilling a student: what is asked for, and the training itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import model_validator
from torch import Tensor, nn

from pointlift.contracts.blocks import Arm
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import canonical_json
from pointlift.contracts.image_weights import InflationSettings
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.released import ReleasedFile
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.distillation.pairs import Pairs, prepare
from pointlift.distillation.projector import save_projector
from pointlift.operators.inflation import Origin
from pointlift.training.data import TensorData
from pointlift.training.engine import fit


class DistillationSettings(BaseSettings):
    """One distillation: the slice of config.yaml that ``train_student`` is given. Without a method, a scratch one."""

    run: str
    init: str | None = None
    """The run whose student it starts from."""
    student: dict[str, Any]
    method: dict[str, Any] | None = None
    recipe: Recipe | None = None
    arm: Arm
    seed: int
    max_quarantined: float = 0.02
    inflation: InflationSettings | None = None
    """2D weights that a student without a method starts from."""
    source: dict[str, Any] | None = None
    """The teacher block that has them."""
    released: ReleasedFile | None = None
    """A file that others released, which a student without a method is filled with."""

    @model_validator(mode="after")
    def _whole(self) -> DistillationSettings:
        if (self.method is None) != (self.recipe is None):
            raise ValueError("a method needs a recipe, and a scratch student has neither")
        if any("kind" not in block for block in (self.student, self.method, self.source) if block is not None):
            raise ValueError("a student, method or source block needs the key kind")
        if (self.inflation is None) != (self.source is None) or (self.inflation and self.method):
            raise ValueError("inflation goes with its source, and with no method")
        if self.released is not None and (self.method is not None or self.inflation is not None):
            raise ValueError("released weights go with no method and no inflation")
        return self


class Distillation(nn.Module):
    """A student and the method that trains it; the method, with its head, is dropped afterwards."""

    def __init__(self, student: nn.Module, method: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.method = method

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The method's losses and reported values of one batch."""
        hidden = getattr(self.method, "mask_ratio", 0.0)
        output = self.student(batch["points"], mask_ratio=hidden) if hidden else self.student(batch["points"])
        losses: dict[str, Tensor] = self.method(output, batch)
        return losses


def distil(
    student: nn.Module,
    method: nn.Module,
    pairs: Pairs,
    settings: DistillationSettings,
    folder: Path,
    *,
    val: Pairs | None = None,
    **compute: Any,
) -> None:
    """Train ``student`` in place, together with the method's head; ``history.jsonl`` is left in ``folder``.

    ``val``: pairs that are only looked at, after each epoch: the history has their values, named ``val_``.
    ``compute``: device, threads, checkpoints, curves and code of ``training.engine.fit``.
    """
    if settings.recipe is None:
        raise ValueError("distillation needs a recipe")
    model = Distillation(student, method)
    judged = None if val is None else TensorData(val.arrays(), prepare)
    fit(
        model,
        model,
        TensorData(pairs.arrays(), prepare),
        settings.recipe,
        seed=settings.seed,
        history=folder / "history.jsonl",
        on_epoch_end=None if judged is None else lambda _: judge(model, judged),
        identity=canonical_json([settings.student, settings.method, judged and judged.checksum()]),
        **compute,
    )


def judge(model: Distillation, data: TensorData, batch_size: int = 64) -> dict[str, float]:
    """What the method says of pairs it is not trained on: means over the rows, each name with ``val_`` before it.

    ``model`` is in eval mode. Raises ``PointliftError`` for a mean that is not finite.
    """
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    for first in range(0, len(data), batch_size):
        index = np.arange(first, min(first + batch_size, len(data)))
        batch = {name: part.to(device) for name, part in data.rows(index).items()}
        for name, value in model(batch).items():
            sums[f"val_{name}"] = sums.get(f"val_{name}", 0.0) + float(value) * len(index)
    for name, total in sums.items():
        if not math.isfinite(total):
            raise PointliftError(f"training stopped: {name} is {total}; lower the learning rate, or set gradient_clip")
    return {name: total / len(data) for name, total in sums.items()}


def leave_settings(folder: Path, settings: DistillationSettings, origins: Mapping[str, Origin]) -> None:
    """``settings.json``: what was asked for and, of a student that starts from weights of others, each one's origin."""
    left_out = {"inflation", "source"} if settings.inflation is None else set()
    left_out |= {"released"} if settings.released is None else set()
    told: dict[str, Any] = settings.model_dump(mode="json", exclude=left_out)
    if origins:
        told["origins"] = {name: f"{origin.source}: {origin.how}" for name, origin in origins.items()}
    write_text(folder / "settings.json", json.dumps(told, sort_keys=True, indent=1) + "\n")


def leave_untrained(folder: Path, projector: Path) -> None:
    """What the scratch arm leaves beside its weights: a history without a line, and a head that is none."""
    write_text(folder / "history.jsonl", "")
    save_projector(projector)
