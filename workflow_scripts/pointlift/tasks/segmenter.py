"""Student plus segmentation head as one module to train: a part for every input point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.shards import Array
from pointlift.operators.cross_entropy import require_smoothing, smoothed_cross_entropy
from pointlift.operators.layers import shared_layers
from pointlift.operators.student_output import StudentOutput, StudentShape, shape_of
from pointlift.tasks.point_head import PointHead, level_widths_of

if TYPE_CHECKING:
    from pointlift.tasks.part_segmentation import Settings

_NO_PART = -1


class Segmenter(nn.Module):
    """What is trained: student, head and, in the joint form, a distillation method that reads the same output.

    Raises ``ConfigError`` for a label smoothing that is too large for so few parts, and for ``read_tokens: false`` with
    a student that has no levels: nothing would tell its points apart.
    """

    def __init__(
        self, student: nn.Module, num_classes: int, num_parts: int, settings: Settings, method: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.settings, self.student, self.method = settings, student, method
        require_smoothing(settings.label_smoothing, num_parts, "parts")
        levels = level_widths_of(student, settings)
        self.head = SegmentationHead(shape_of(student), levels, num_classes, num_parts, settings)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses and reported values of a batch: ``points`` (B, N, 3), ``label`` (B,), ``part_label`` (B, N)."""
        output = self.student(batch["points"])
        values = {} if self.method is None else dict(self.method(output, batch))
        if "orthogonality" in output.losses and "orthogonality_loss" not in values:
            values["orthogonality_loss"] = self.settings.orthogonality_weight * output.losses["orthogonality"]
        logits_BNP = self.head(output, batch["points"], batch["label"]).float()
        wanted = batch["part_label"].long()
        known = wanted != _NO_PART
        task_loss = smoothed_cross_entropy(logits_BNP[known], wanted[known], self.settings.label_smoothing)
        values["task_loss"] = self.settings.task_weight * task_loss
        with torch.no_grad():
            values["train_point_accuracy"] = (logits_BNP.argmax(dim=2) == wanted)[known].float().mean()
        return values

    def answer(self, points: Array, label: Array, of_class: Array, batch_size: int = 32) -> tuple[Array, Array]:
        """Parts of every point of clouds (S, N, 3) of the classes ``label`` (S,): two (S, N) int64.

        The best of the class's own parts, ``of_class`` (K, P) bool, and the best of all. Put it in eval mode first.
        """
        device = next(self.parameters()).device
        own, free = [], []
        for first in range(0, len(points), batch_size):
            rows = slice(first, first + batch_size)
            clouds, classes = torch.from_numpy(points[rows]).to(device), torch.from_numpy(label[rows]).to(device)
            with torch.no_grad():
                logits_BNP = self.head(self.student(clouds), clouds, classes).float()
            allowed = torch.from_numpy(of_class[label[rows]]).to(device)
            free.append(logits_BNP.argmax(dim=2).cpu().numpy())
            own.append(logits_BNP.masked_fill(~allowed[:, None], -torch.inf).argmax(dim=2).cpu().numpy())
        return np.concatenate(own), np.concatenate(free)


class SegmentationHead(PointHead):
    """Scores of every part for every input point, from a student's output and the class of the shape.

    The vector for the whole shape is [embedding, class].
    """

    def __init__(
        self,
        student: StudentShape,
        level_widths: tuple[int, ...],
        num_classes: int,
        num_parts: int,
        settings: Settings,
    ) -> None:
        category = None
        if settings.category_width is not None:
            category = shared_layers(num_classes, [settings.category_width], bias=False)
        whole_width = student.width + (settings.category_width or num_classes)
        super().__init__(student.token_width, whole_width, level_widths, num_parts, settings, bias=False)
        self.num_classes, self.category = num_classes, category

    def forward(self, output: StudentOutput, points_BN3: Tensor, label_B: Tensor) -> Tensor:
        """(B, N, P), in the order of the points."""
        category = functional.one_hot(label_B, self.num_classes).to(output.embedding.dtype)
        if self.category is not None:
            category = self.category(category)
        return self.scored(output, points_BN3, torch.cat([output.embedding, category], dim=1))
