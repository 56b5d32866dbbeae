"""Finetuning a student on a task's train split, and keeping its answers on val and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pointlift.contracts.blocks import Arm
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import digest
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.contracts.shards import Array
from pointlift.contracts.stages import write_stage
from pointlift.operators.initialisation import initialised
from pointlift.tasks.classification import Classification
from pointlift.tasks.classifier import Classifier
from pointlift.tasks.judgement import accuracy
from pointlift.tasks.shapes import Shapes
from pointlift.training.data import TensorData
from pointlift.training.engine import fit
from pointlift.training.inference import run_batched


class FinetuneSettings(BaseSettings):
    """One finetuning: the slice of config.yaml that ``finetune_student`` is given."""

    run: str
    student: dict[str, Any]
    task: dict[str, Any]
    method: dict[str, Any] | None = None
    arm: Arm
    form: Literal["transfer", "joint"]
    seed: int
    max_quarantined: float = 0.02

    def method_block(self) -> dict[str, Any]:
        """The method's block as the arm wants it: arm ``control`` is the same method with weight 0."""
        if self.method is None:
            raise ConfigError(f"run {self.run}: form joint needs a method")
        return {**self.method, "weight": 0.0} if self.arm == "control" else self.method


@dataclass(frozen=True)
class Companion:
    """A distillation method that is trained beside the task, and what it reads of every train shape, in row order."""

    method: nn.Module
    ids: tuple[str, ...]
    arrays: Mapping[str, Array]
    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass
class Finetuning:
    """A classification task, a student with its first weights, and the shapes to train and judge it on."""

    task: Classification
    student: nn.Module
    shapes: Shapes
    seed: int
    companion: Companion | None = None
    kept: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings, method = self.task.settings, self.companion.method if self.companion else None
        self.model = initialised(
            lambda: Classifier(self.student, self.shapes.num_classes, settings, method), "head", self.seed
        )
        self.judged = self.shapes.rows("val", "test")
        self.data = self._training_data()

    def run(self, settings: FinetuneSettings, folder: Path, **compute: Any) -> None:
        """Train; writes ``folder/history.jsonl``. Afterwards ``save_predictions`` has its answers.

        ``compute``: device, threads, checkpoints, curves and code of ``training.engine.fit``.
        """
        fit(
            self.model,
            self.model,
            self.data,
            self.task.settings.recipe,
            seed=self.seed,
            history=folder / "history.jsonl",
            on_epoch_end=self._look,
            kept=self.kept,
            identity=digest(settings.model_dump(mode="json")),
            **compute,
        )

    def save_predictions(self, path: Path) -> None:
        """Write the logits of every val and test shape at every logged epoch."""
        epochs = sorted(int(name) for name in self.kept)
        arrays = {
            "epoch": np.array(epochs, dtype=np.int64),
            "logits": np.stack([self.kept[str(epoch)].numpy() for epoch in epochs]),
            "label": self.shapes.label[self.judged],
            "split": self.shapes.split[self.judged],
        }
        ids = [self.shapes.ids[row] for row in self.judged]
        write_stage(path, "predictions", ids, arrays, num_train=len(self.data))

    def _training_data(self) -> TensorData:
        row_of = {self.shapes.ids[row]: row for row in self.shapes.rows("train")}
        if self.companion is None:
            rows = np.array(list(row_of.values()))
            return TensorData({"points": self.shapes.values[rows], "label": self.shapes.label[rows]})
        strangers = [shape_id for shape_id in self.companion.ids if shape_id not in row_of]
        if strangers:
            raise ArtifactError(f"{strangers[0]} is not in the train split, yet a distillation target was given for it")
        rows = np.array([row_of[shape_id] for shape_id in self.companion.ids])
        arrays = {**self.companion.arrays, "points": self.shapes.values[rows], "label": self.shapes.label[rows]}
        return TensorData(arrays, self.companion.prepare)

    def _look(self, epoch: int) -> dict[str, float]:
        """Keep the logits of val and test; report val alone: the test split is judged by ``evaluate`` only."""
        settings = self.task.settings
        if (epoch + 1) % settings.log_every and epoch + 1 != settings.recipe.epochs:
            return {}
        device = next(self.model.parameters()).device
        logits = run_batched(self.model.logits, self.shapes.values[self.judged], device)
        self.kept[str(epoch)] = torch.from_numpy(logits)
        val = np.isin(self.judged, self.shapes.rows("val"))
        if not val.any():
            return {}
        return {"val_accuracy": accuracy(logits[val].argmax(axis=1), self.shapes.label[self.judged][val])}

    def deployed(self) -> nn.Module:
        """Student and head, without what was there for training alone."""
        return nn.ModuleDict({"student": self.model.student, "head": self.model.head})
