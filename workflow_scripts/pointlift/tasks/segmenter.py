"""Student plus segmentation head as one module to train: a part for every input point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.shards import Array
from pointlift.operators.cross_entropy import require_smoothing, smoothed_cross_entropy
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.neighbours import interpolate_rows
from pointlift.operators.student_output import StudentOutput, StudentShape, shape_of

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
        levels: tuple[int, ...] = getattr(student, "level_widths", ())
        require_smoothing(settings.label_smoothing, num_parts, "parts")
        if not (settings.read_tokens or levels):
            raise ConfigError(
                f"read_tokens: false leaves nothing to tell the points of a {type(student).__name__} apart, which has "
                "no levels; leave it out"
            )
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


class SegmentationHead(nn.Module):
    """Scores of every part for every input point, from a student's output and the class of the shape.

    Tokens are carried from level to level, coarsest first, by interpolation, joined with the level's own rows
    (PointNet++, section 3.4), and carried from the finest to the points. The first layer that there is reads [row,
    embedding, class]; the product of the latter two, one for all points of a shape, is taken once.
    """

    def __init__(
        self,
        student: StudentShape,
        level_widths: tuple[int, ...],
        num_classes: int,
        num_parts: int,
        settings: Settings,
    ) -> None:
        super().__init__()
        self.num_classes, self.read_tokens = num_classes, settings.read_tokens
        self.category = None
        if settings.category_width is not None:
            self.category = shared_layers(num_classes, [settings.category_width], bias=False)
        at = (student.token_width if settings.read_tokens else 0) + student.width
        at += settings.category_width or num_classes
        self.levels = nn.ModuleList()
        for number, level_width in enumerate(reversed(level_widths)):
            widths = settings.level_blocks[number] if number < len(settings.level_blocks) else ()
            self.levels.append(shared_layers(at + level_width, widths, bias=False))
            at = widths[-1] if widths else at + level_width
        self.last = shared_layers(at, settings.head_widths, bias=False, dropout=settings.head_dropout)
        self.scores = nn.Linear(settings.head_widths[-1], num_parts, bias=False)

    def forward(self, output: StudentOutput, points_BN3: Tensor, label_B: Tensor) -> Tensor:
        """(B, N, P), in the order of the points."""
        category = functional.one_hot(label_B, self.num_classes).to(output.embedding.dtype)
        if self.category is not None:
            category = self.category(category)
        whole_BX: Tensor | None = torch.cat([output.embedding, category], dim=1)
        known = [output.tokens] if self.read_tokens else []
        place, index = output.token_xyz, output.token_index
        for layers, level in zip(self.levels, reversed(output.levels), strict=True):
            carried = [_carried(rows, place, index, level.xyz, level.point_index) for rows in known]
            known = [torch.cat([*carried, level.rows], dim=2)]
            if list(layers.children()):
                known, whole_BX = [_joined(layers, known[0], whole_BX)], None
            place, index = level.xyz, level.point_index
        every = torch.arange(points_BN3.shape[1], device=points_BN3.device).expand(len(points_BN3), -1)
        rows = _carried(known[0], place, index, points_BN3, every)
        return per_row(self.scores, _joined(self.last, rows, whole_BX))


def _joined(layers: nn.Module, rows_BNC: Tensor, whole_BX: Tensor | None) -> Tensor:
    """Layers over [row, whole]; without an array that holds the whole shape's vector once per point."""
    if whole_BX is None:
        return per_row(layers, rows_BNC)
    first, *rest = layers.children()
    own, same = first.get_parameter("weight").split([rows_BNC.shape[2], whole_BX.shape[1]], dim=1)
    hidden_BNC = functional.linear(rows_BNC, own) + functional.linear(whole_BX, same)[:, None]
    return per_row(nn.Sequential(*rest), hidden_BNC)


def _carried(rows: Tensor, place: Tensor, index: Tensor, to_place: Tensor, to_index: Tensor) -> Tensor:
    """Rows at other points of the same clouds: as they are where these are the same points, else interpolated."""
    if index.shape == to_index.shape and torch.equal(index, to_index):
        return rows
    return interpolate_rows(rows, place, to_place)
