"""Scores of every input point: tokens and levels of a student carried to the points, and layers over these rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.task_blocks import SegmentationSettings
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.neighbours import interpolate_rows
from pointlift.operators.student_output import StudentOutput


def level_widths_of(student: nn.Module, settings: SegmentationSettings) -> tuple[int, ...]:
    """Widths of the student's levels, finest first.

    Raises ``ConfigError`` for ``read_tokens: false`` with a student that has none: nothing would tell its points apart.
    """
    levels: tuple[int, ...] = getattr(student, "level_widths", ())
    if not (settings.read_tokens or levels):
        raise ConfigError(
            f"read_tokens: false leaves nothing to tell the points of a {type(student).__name__} apart, which has "
            "no levels; leave it out"
        )
    return levels


class PointHead(nn.Module):
    """Scores of every input point, from a student's output and one vector for the whole cloud.

    Tokens are carried from level to level, coarsest first, by interpolation, joined with the level's own rows
    (PointNet++, section 3.4), and carried from the finest to the points. The first layer that there is reads [row,
    vector]; the product of the latter, one for all points of a cloud, is taken once.
    """

    def __init__(
        self,
        token_width: int,
        whole_width: int,
        level_widths: tuple[int, ...],
        num_scores: int,
        settings: SegmentationSettings,
        *,
        bias: bool,
    ) -> None:
        super().__init__()
        self.read_tokens = settings.read_tokens
        at = (token_width if settings.read_tokens else 0) + whole_width
        self.levels = nn.ModuleList()
        for number, level_width in enumerate(reversed(level_widths)):
            widths = settings.level_blocks[number] if number < len(settings.level_blocks) else ()
            self.levels.append(shared_layers(at + level_width, widths, bias=False))
            at = widths[-1] if widths else at + level_width
        self.last = shared_layers(at, settings.head_widths, bias=False, dropout=settings.head_dropout)
        self.scores = nn.Linear(settings.head_widths[-1] if settings.head_widths else at, num_scores, bias=bias)

    def scored(self, output: StudentOutput, points_BN3: Tensor, whole_BX: Tensor | None) -> Tensor:
        """(B, N, scores), in the order of the points; ``whole_BX`` None where ``whole_width`` is 0."""
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
        return _joined(nn.Sequential(*self.last, self.scores), rows, whole_BX)


def _joined(layers: nn.Module, rows_BNC: Tensor, whole_BX: Tensor | None) -> Tensor:
    """Layers over [row, whole]; without an array that holds the whole cloud's vector once per point."""
    if whole_BX is None:
        return per_row(layers, rows_BNC)
    first, *rest = layers.children()
    parameters = dict(first.named_parameters())
    own, same = parameters["weight"].split([rows_BNC.shape[2], whole_BX.shape[1]], dim=1)
    hidden_BNC = functional.linear(rows_BNC, own) + functional.linear(whole_BX, same, parameters.get("bias"))[:, None]
    return per_row(nn.Sequential(*rest), hidden_BNC)


def _carried(rows: Tensor, place: Tensor, index: Tensor, to_place: Tensor, to_index: Tensor) -> Tensor:
    """Rows at other points of the same clouds: as they are where these are the same points, else interpolated."""
    if index.shape == to_index.shape and torch.equal(index, to_index):
        return rows
    return interpolate_rows(rows, place, to_place)
