"""A released classifier as it is: its own head answers on the test split. Nothing is trained, nothing is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.released import ReleasedFile
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.contracts.stages import write_stage
from pointlift.operators.checkpoint import save_student
from pointlift.tasks.shapes import Shapes
from pointlift.training.inference import run_batched
from pointlift.training.machine import choose_device, reproducible


class ReplaySettings(BaseSettings):
    """One replay: the slice of config.yaml that ``replay_student`` is given."""

    run: str
    student: dict[str, Any]
    released: ReleasedFile


class Replayed(nn.Module):
    """A student and the head that came with it, which never leave eval mode."""

    def __init__(self, student: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.student, self.head = student, head
        self.eval()

    def forward(self, points_BN3: Tensor) -> Tensor:
        """Class scores (B, K)."""
        scores: Tensor = self.head(self.student(points_BN3).embedding)
        return scores


def replay(
    model: Replayed, shapes: Shapes, settings: ReplaySettings, outputs: Sequence[Path], *, device: str, threads: int
) -> None:
    """Write the answers on the test split, and beside them the weights: one folder per path, all alike.

    The answers are a shard of ``predictions`` of one look, none of val: there is nothing to choose. Raises
    ``ArtifactError`` for a head that names another number of classes than the dataset has, or than the block says.
    """
    _require_classes(model.head, settings.released, shapes.num_classes)
    rows, machine = shapes.rows("test"), choose_device(device)
    with reproducible(machine, threads):
        logits = run_batched(model.to(machine), shapes.values[rows], machine)
    arrays = {
        "epoch": np.zeros(1, dtype=np.int64),
        "logits": logits[None],
        "label": shapes.label[rows],
        "split": shapes.split[rows],
    }
    for output in outputs:
        deployed = nn.ModuleDict({"student": model.student, "head": model.head})
        save_student(output.with_name("weights.safetensors"), deployed.cpu(), settings.model_dump(mode="json"))
        write_stage(output, "predictions", [shapes.ids[row] for row in rows], arrays, num_train=0)


def _require_classes(head: nn.Module, released: ReleasedFile, num_classes: int) -> None:
    last: nn.Linear = list(head.children())[-1]  # type: ignore[assignment]
    wanted = released.head_classes or num_classes
    if wanted < num_classes or last.out_features != wanted:
        said = "" if released.head_classes is None else f", and the run's block says head_classes: {wanted}"
        raise ArtifactError(
            f"{released.file}: its head names {last.out_features} classes, the dataset has {num_classes}{said}; replay "
            "it on the dataset whose classes it was trained on (head_classes: where it names some more)"
        )
