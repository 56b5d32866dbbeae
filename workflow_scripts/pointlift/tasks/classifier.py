"""Student plus classification head as one module to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pointlift.contracts.shards import Array
from pointlift.operators.cross_entropy import require_smoothing, smoothed_cross_entropy
from pointlift.operators.layers import shared_layers
from pointlift.training.inference import run_batched

if TYPE_CHECKING:
    from pointlift.contracts.task_blocks import ClassificationSettings


def classification_head(student_width: int, hidden_width: int, num_classes: int) -> nn.Sequential:
    """PointMCD's head: block (linear without bias, batch norm, ReLU), then a linear layer without bias."""
    return nn.Sequential(
        *shared_layers(student_width, [hidden_width], bias=False),
        nn.Linear(hidden_width, num_classes, bias=False),
    )


def build_head(settings: ClassificationSettings, student_width: int, num_classes: int) -> nn.Module:
    """The head that a task says."""
    if settings.regime == "frozen" or settings.head == "linear":
        return nn.Linear(student_width, num_classes)
    if settings.head == "linear_norm":
        return nn.Sequential(nn.Linear(student_width, num_classes), nn.BatchNorm1d(num_classes))
    return classification_head(student_width, settings.head_width, num_classes)


def class_weight(head: nn.Module) -> Tensor | None:
    """What a head that is linear in eval mode multiplies an embedding by, a copy (K, C); None for one that is not.

    A batch norm of the class scores is linear then: it scales the row of its class.
    """
    if isinstance(head, nn.Linear):
        return head.weight.detach().clone()
    linear, norm = head if isinstance(head, nn.Sequential) and len(head) == 2 else (None, None)
    if isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d) and norm.running_var is not None:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return (scale[:, None] * linear.weight).detach()
    return None


class Classifier(nn.Module):
    """What is trained: student, head and, in the joint form, a distillation method that reads the same output.

    Raises ``ConfigError`` when ``label_smoothing`` would leave the label less than every other class has.
    """

    def __init__(
        self, student: nn.Module, num_classes: int, settings: ClassificationSettings, method: nn.Module | None = None
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

    def embed_and_answer(self, points: Array) -> tuple[Array, Array]:
        """Embeddings (S, C) and class scores (S, K), as ``answer`` gives them."""

        def both(points_BN3: Tensor) -> Tensor:
            embedding_BC = self.student(points_BN3).embedding
            return torch.cat([embedding_BC.float(), self.head(embedding_BC).float()], dim=1)

        width: int = self.student.width  # type: ignore[assignment]
        found = run_batched(both, points, next(self.parameters()).device)
        return np.ascontiguousarray(found[:, :width]), np.ascontiguousarray(found[:, width:])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses and reported values of a batch with ``points`` (B, N, 3), ``label`` (B,) and what the method reads."""
        output = self.student(batch["points"])
        values = {} if self.method is None else dict(self.method(output, batch))
        if "orthogonality" in output.losses and "orthogonality_loss" not in values and self.settings.regime == "all":
            values["orthogonality_loss"] = self.settings.orthogonality_weight * output.losses["orthogonality"]
        return values | self.judged(self.head(output.embedding).float(), batch)

    def judged(self, logits_BK: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The task's own loss and what is reported with it, of class scores (B, K)."""
        task_loss = smoothed_cross_entropy(logits_BK, batch["label"], self.settings.label_smoothing)
        with torch.no_grad():
            accuracy = (logits_BK.argmax(dim=1) == batch["label"]).float().mean()
        return {"task_loss": self.settings.task_weight * task_loss, "train_accuracy": accuracy}
