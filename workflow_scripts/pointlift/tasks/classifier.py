"""Student plus classification head as one module to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pointlift.contracts.shards import Array
from pointlift.operators.cross_entropy import require_smoothing, smoothed_cross_entropy
from pointlift.operators.layers import shared_layers
from pointlift.training.inference import run_batched

if TYPE_CHECKING:
    from pointlift.tasks.classification import Settings


def classification_head(student_width: int, hidden_width: int, num_classes: int) -> nn.Sequential:
    """PointMCD's head: block (linear without bias, batch norm, ReLU), then a linear layer without bias."""
    return nn.Sequential(
        *shared_layers(student_width, [hidden_width], bias=False),
        nn.Linear(hidden_width, num_classes, bias=False),
    )


def build_head(settings: Settings, student_width: int, num_classes: int) -> nn.Module:
    """The head that a task says."""
    if settings.regime == "frozen" or settings.head == "linear":
        return nn.Linear(student_width, num_classes)
    if settings.head == "linear_norm":
        return nn.Sequential(nn.Linear(student_width, num_classes), nn.BatchNorm1d(num_classes))
    return classification_head(student_width, settings.head_width, num_classes)


class Classifier(nn.Module):
    """What is trained: student, head and, in the joint form, a distillation method that reads the same output.

    Raises ``ConfigError`` when ``label_smoothing`` would leave the label less than every other class has.
    """

    def __init__(
        self, student: nn.Module, num_classes: int, settings: Settings, method: nn.Module | None = None
    ) -> None:
        super().__init__()
        require_smoothing(settings.label_smoothing, num_classes)
        width: int = student.width  # type: ignore[assignment]
        self.settings, self.student, self.method = settings, student, method
        self.head = build_head(settings, width, num_classes)
        if settings.regime == "frozen":
            student.requires_grad_(False)

    def train(self, mode: bool = True) -> Classifier:
        """As every module, but a frozen student stays in eval mode: its batch statistics are frozen too."""
        super().train(mode)
        if self.settings.regime == "frozen":
            self.student.eval()
        return self

    def logits(self, points_BN3: Tensor) -> Tensor:
        """Class scores (B, K)."""
        scores: Tensor = self.head(self.student(points_BN3).embedding)
        return scores

    def answer(self, points: Array) -> Array:
        """Class scores (S, K) float32 of clouds (S, N, 3), in batches. Put it in eval mode first."""
        return run_batched(self.logits, points, next(self.parameters()).device)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses and reported values of a batch with ``points`` (B, N, 3), ``label`` (B,) and what the method reads."""
        output = self.student(batch["points"])
        values = {} if self.method is None else dict(self.method(output, batch))
        if "orthogonality" in output.losses and "orthogonality_loss" not in values and self.settings.regime == "all":
            values["orthogonality_loss"] = self.settings.orthogonality_weight * output.losses["orthogonality"]
        logits_BK = self.head(output.embedding).float()
        task_loss = smoothed_cross_entropy(logits_BK, batch["label"], self.settings.label_smoothing)
        values["task_loss"] = self.settings.task_weight * task_loss
        with torch.no_grad():
            values["train_accuracy"] = (logits_BK.argmax(dim=1) == batch["label"]).float().mean()
        return values
