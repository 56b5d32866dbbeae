"""Student plus head as one module to train: a class for every point of a scene, read block by block."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pointlift.contracts.scenes import Scene
from pointlift.contracts.shards import Array
from pointlift.operators.cross_entropy import require_smoothing, smoothed_cross_entropy
from pointlift.operators.student_output import StudentOutput, shape_of
from pointlift.tasks.point_head import PointHead, level_widths_of
from pointlift.tasks.scene_blocks import NO_CLASS, Piece, cut_pieces

if TYPE_CHECKING:
    from pointlift.tasks.semantic_segmentation import Settings

_POINTS_AT_ONCE = 1 << 15


class PointClassifier(nn.Module):
    """What is trained: student and head.

    Raises ``ConfigError`` for a label smoothing that is too large for so few classes, and for ``read_tokens: false``
    with a student that has no levels: nothing would tell its points apart.
    """

    def __init__(self, student: nn.Module, num_classes: int, settings: Settings) -> None:
        super().__init__()
        require_smoothing(settings.label_smoothing, num_classes)
        self.settings, self.student, self.num_classes = settings, student, num_classes
        self.head = PointClassHead(student, num_classes, settings)

    def logits(self, points_BN3: Tensor) -> Tensor:
        """Class scores (B, N, K) of every point."""
        scores: Tensor = self.head(self.student(points_BN3), points_BN3)
        return scores.float()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses and reported values of a batch: ``points`` (B, N, 3), ``semantic_label`` (B, N), -1 for no class."""
        output = self.student(batch["points"])
        values = {}
        if "orthogonality" in output.losses:
            values["orthogonality_loss"] = self.settings.orthogonality_weight * output.losses["orthogonality"]
        logits_BNK = self.head(output, batch["points"]).float()
        known = batch["semantic_label"] != NO_CLASS
        logits_XK, wanted_X = logits_BNK[known], batch["semantic_label"][known]
        if len(wanted_X):
            task_loss = smoothed_cross_entropy(logits_XK, wanted_X, self.settings.label_smoothing)
        else:
            task_loss = 0.0 * logits_BNK.sum()  # no point of the batch has a class: it teaches nothing
        values["task_loss"] = self.settings.task_weight * task_loss
        with torch.no_grad():
            right = (logits_XK.argmax(dim=1) == wanted_X).sum()
            values["train_point_accuracy"] = right / max(1, len(wanted_X))
        return values

    def answer(self, scene: Scene) -> Array:
        """The best class of every point of a scene, (n,) int64; the lowest of equals. Put it in eval mode first."""
        classes: Array = self.probabilities(scene).argmax(axis=1)
        return classes

    def probabilities(self, scene: Scene) -> Array:
        """Class probabilities of every point (n, K) float32, the mean over the blocks that it stands in.

        Probabilities, not scores: each block has one vote of the same weight. Beside this array and the scene's own no
        more than a few pieces are in memory.
        """
        total = np.zeros((len(scene.points), self.num_classes), dtype=np.float32)
        votes = np.zeros(len(scene.points), dtype=np.int32)
        device = next(self.parameters()).device
        for pieces in _batched(cut_pieces(scene, self.settings), max(1, _POINTS_AT_ONCE // self.settings.num_points)):
            points_BN3 = torch.from_numpy(np.stack([piece.points for piece in pieces])).to(device)
            with torch.no_grad():
                found = self.logits(points_BN3).softmax(dim=2).cpu().numpy()
            for piece, probability in zip(pieces, found, strict=True):
                total[piece.rows] += probability[: len(piece.rows)]
                votes[piece.rows] += 1
        total /= votes[:, None]
        return total


class PointClassHead(PointHead):
    """Class scores of every input point, from a student's output: [token, embedding, levels] or without the embedding.

    Without blocks and without the embedding it is one linear layer over each point's row, as behind a U-Net.
    """

    def __init__(self, student: nn.Module, num_classes: int, settings: Settings) -> None:
        shape, levels = shape_of(student), level_widths_of(student, settings)
        whole_width = shape.width if settings.read_embedding else 0
        super().__init__(shape.token_width, whole_width, levels, num_classes, settings, bias=True)
        self.read_embedding = settings.read_embedding

    def forward(self, output: StudentOutput, points_BN3: Tensor) -> Tensor:
        """(B, N, K), in the order of the points."""
        return self.scored(output, points_BN3, output.embedding if self.read_embedding else None)


def _batched(pieces: Iterator[Piece], size: int) -> Iterator[list[Piece]]:
    while batch := list(itertools.islice(pieces, size)):
        yield batch
