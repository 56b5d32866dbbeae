"""Finetuning a student on a task's train split, and keeping its answers on val and test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pointlift.contracts.blocks import Arm
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import digest
from pointlift.contracts.image_weights import Regime
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.contracts.shards import Array
from pointlift.contracts.stages import write_stage
from pointlift.operators.initialisation import initialised
from pointlift.tasks.partial_training import PartialTraining
from pointlift.tasks.scenes import Scenes
from pointlift.tasks.shapes import Shapes
from pointlift.training.data import TensorData, TrainingData
from pointlift.training.engine import fit
from pointlift.training.machine import choose_device, reproducible


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
    regime: Regime | None = None
    """Of a student with stages of a 2D network; None: all of it is trained."""
    recalibrate: bool = False
    """See ``RunSettings``."""

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


class FinetunedTask(Protocol):
    """What a task offers to be trained: the rest of it only judges. ``given`` is ``Shapes``, or ``Scenes`` where the
    task reads those."""

    settings: Any
    """With ``recipe``, ``log_every``, the kind of shard of its ``answers``, ``judged_splits``, ``looks_before`` and
    ``casts_votes``: a task that does has ``vote(model, given, rows, seed)``, arrays on test rows by name."""

    def model(self, student: nn.Module, given: Any, method: nn.Module | None) -> Any:
        """A module with ``student`` and ``head``; its forward gives the losses of a batch."""

    def look(self, model: Any, given: Any, rows: Array) -> dict[str, Array]:
        """The answers on these rows, one each."""

    def constant_arrays(self, given: Any, rows: Array) -> dict[str, Array]:
        """What is stored once beside the answers."""

    def watched(self, looked: dict[str, Array], given: Any, rows: Array, chosen: Array) -> dict[str, float]:
        """What the history says of the ``chosen`` ones."""


class ShapeTask(FinetunedTask, Protocol):
    """One that is trained on shapes."""

    def training_arrays(self, given: Shapes, rows: Array) -> dict[str, Array]:
        """What the model reads of these shapes beside their points."""


class SceneTask(FinetunedTask, Protocol):
    """One that is trained on scenes."""

    def training_data(self, given: Scenes, rows: Array, seed: int) -> TrainingData:
        """Batches of what it takes of these scenes."""


@dataclass
class Finetuning:
    """A task, a student with its first weights, and the shapes or scenes to train and judge it on."""

    task: Any  # a ShapeTask with Shapes, a SceneTask with Scenes
    student: nn.Module
    shapes: Shapes | Scenes
    seed: int
    companion: Companion | None = None
    kept: dict[str, Tensor] = field(default_factory=dict)
    part: PartialTraining | None = field(default=None, init=False)
    recalibrates: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        method = self.companion.method if self.companion else None
        self.model = initialised(lambda: self.task.model(self.student, self.shapes, method), "head", self.seed)
        self.judged = self.shapes.rows(*self.task.settings.judged_splits)
        self.data = self._training_data()

    def run(self, settings: FinetuneSettings, folder: Path, **compute: Any) -> None:
        """Train; writes ``folder/history.jsonl``. Afterwards ``save_predictions`` has its answers.

        ``compute``: device, threads, checkpoints, curves and code of ``training.engine.fit``. Raises ``ArtifactError``
        when something changed that the regime keeps.
        """
        if settings.regime is not None:
            self._train_partly(settings.regime, settings.recalibrate, compute.get("threads", 1))
        if self.task.settings.looks_before:
            self._look_before(compute.get("device", "auto"), compute.get("threads", 1))
        trained = self.model if self.part is None else self.part
        fit(
            trained,
            trained,
            self.data,
            self.task.settings.recipe,
            seed=self.seed,
            history=folder / "history.jsonl",
            on_epoch_end=self._look,
            kept=self.kept,
            identity=digest(settings.model_dump(mode="json")),
            **compute,
        )
        if self.part is not None:
            self.part.require_kept()

    def _train_partly(self, regime: Regime, recalibrate: bool, threads: int) -> None:
        """Let the regime decide what is trained. One that keeps the statistics has them estimated now, if at all."""
        self.part = PartialTraining(self.model, regime)
        self.recalibrates = recalibrate and regime != "io"
        if recalibrate and regime == "io":
            with reproducible(torch.device("cpu"), threads):
                self.part.recalibrate(self._train_batches())

    def _look_before(self, device: str, threads: int) -> None:
        """Keep the answers of the weights that training starts from, as those of epoch -1."""
        machine = choose_device(device)
        with reproducible(machine, threads), torch.no_grad():
            self.model.to(machine).eval()
            self._look(-1)
        self.model.cpu()

    def _train_batches(self) -> Iterator[dict[str, Tensor]]:
        """The train split once, as it is, without what is left of a last batch."""
        return self.data.batches(0, self.task.settings.recipe.batch_size, self.seed)

    def save_predictions(self, path: Path) -> None:
        """Write the answers on every shape of the judged splits (val and test, mostly) at every logged epoch."""
        looks = [key.split(".") for key in self.kept if "." in key]
        epochs, names = sorted({int(epoch) for epoch, _ in looks}), sorted({name for _, name in looks})
        arrays = {
            "epoch": np.array(epochs, dtype=np.int64),
            **{name: kept.numpy() for name, kept in self.kept.items() if "." not in name},
            **{name: np.stack([self.kept[f"{epoch}.{name}"].numpy() for epoch in epochs]) for name in names},
            **self.task.constant_arrays(self.shapes, self.judged),
            "split": self.shapes.split[self.judged],
        }
        ids = [self.shapes.ids[row] for row in self.judged]
        write_stage(path, self.task.settings.answers, ids, arrays | self._labels(), **self._attributes())

    def _labels(self) -> dict[str, Array]:
        """The class of every judged shape; a scene has none."""
        return {} if isinstance(self.shapes, Scenes) else {"label": self.shapes.label[self.judged]}

    def _attributes(self) -> dict[str, Any]:
        """How many were trained on, and what the classes within scenes are called."""
        if not isinstance(self.shapes, Scenes):
            return {"num_train": len(self.data)}
        named = {"semantic_names": list(self.shapes.semantic_names), "box_names": list(self.shapes.box_names)}
        return {"num_train": len(self.shapes.rows("train")), **named}

    def _training_data(self) -> TrainingData:
        if isinstance(self.shapes, Scenes):
            found: TrainingData = self.task.training_data(self.shapes, self.shapes.rows("train"), self.seed)
            return found
        row_of = {self.shapes.ids[row]: row for row in self.shapes.rows("train")}
        beside = self.companion
        strangers = [shape_id for shape_id in beside.ids if shape_id not in row_of] if beside is not None else []
        if strangers:
            raise ArtifactError(f"{strangers[0]} is not in the train split, yet a distillation target was given for it")
        rows = np.array([row_of[shape_id] for shape_id in (row_of if beside is None else beside.ids)])
        arrays = {"points": self.shapes.values[rows], **self.task.training_arrays(self.shapes, rows)}
        return TensorData(arrays) if beside is None else TensorData({**beside.arrays, **arrays}, beside.prepare)

    def _look(self, epoch: int) -> dict[str, float]:
        """Keep the answers; report those on val alone: the test split is judged by ``evaluate`` only."""
        settings = self.task.settings
        if (epoch + 1) % settings.log_every and epoch + 1 != settings.recipe.epochs:
            return {}
        if self.part is not None and self.recalibrates:
            self.part.recalibrate(self._train_batches())
        looked = self.task.look(self.model, self.shapes, self.judged)
        self.kept.update({f"{epoch}.{name}": torch.from_numpy(array) for name, array in looked.items()})
        if epoch + 1 == settings.recipe.epochs and settings.casts_votes():
            voted = self.task.vote(self.model, self.shapes, self.shapes.rows("test"), self.seed)
            self.kept.update({name: torch.from_numpy(array) for name, array in voted.items()})
        val = np.isin(self.judged, self.shapes.rows("val"))
        return self.task.watched(looked, self.shapes, self.judged, val) if val.any() else {}

    def deployed(self) -> nn.Module:
        """Student and head, without what was there for training alone."""
        return nn.ModuleDict({"student": self.model.student, "head": self.model.head})
