"""PointNet as PointMCD uses it: small transform networks, and a ReLU on the last per-point layer.

Qi, Su, Mo, Guibas, "PointNet", CVPR 2017, in the form of Zhang, Hou, Qian, "PointMCD", TMM 2023: the per-point vectors
stay non-negative, which pooling by view needs. The shared layers are ``Linear`` over (B * N, width): the same function
and parameters as 1x1 convolutions, faster on a CPU.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pointlift.contracts.blocks import StudentSettings
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.precision import full, full_precision
from pointlift.operators.student_output import StudentOutput
from pointlift.operators.visible_pooling import max_pool

_TRANSFORM_POINT_WIDTHS = (64, 64, 256)
_TRANSFORM_SHAPE_WIDTHS = (64, 64)


class Settings(StudentSettings):
    """A PointNet encoder."""

    kind: Literal["pointnet"]
    widths: tuple[int, ...] = Field(default=(64, 128, 1024), min_length=2)
    """Widths of the per-point layers; the last is the width of tokens and embedding."""
    input_transform: bool = True
    """A learnt 3x3 matrix per cloud, applied to its coordinates."""
    feature_transform: bool = True
    """A learnt matrix per cloud, applied after the first layer; gives the raw loss ``orthogonality``."""


def build(settings: Settings) -> PointNet:
    """An encoder with fresh weights from torch's global generator."""
    return PointNet(settings)


class PointNet(nn.Module):
    """Per-point layers, then the maximum over the points."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        first, *rest = settings.widths
        self.width = settings.widths[-1]
        self.input_transform = TransformNet(3) if settings.input_transform else None
        self.first = shared_layers(3, [first])
        self.feature_transform = TransformNet(first) if settings.feature_transform else None
        self.rest = shared_layers(first, rest)

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32, unit-sphere radii. One token per point (G = N), all >= 0."""
        batch, num_points, _ = points_BN3.shape
        hidden, losses = points_BN3, {}
        if self.input_transform is not None:
            hidden = torch.bmm(hidden, self.input_transform(hidden))
        hidden = per_row(self.first, hidden)
        if self.feature_transform is not None:
            transform_BKK = self.feature_transform(hidden)
            losses["orthogonality"] = orthogonality(transform_BKK)
            hidden = torch.bmm(hidden, transform_BKK)
        tokens_BNC = per_row(self.rest, hidden)
        index_BN = torch.arange(num_points, device=points_BN3.device).expand(batch, -1)
        return StudentOutput(max_pool(tokens_BNC), tokens_BNC, points_BN3, index_BN, losses)


class TransformNet(nn.Module):
    """Predicts one (size, size) matrix per cloud, as identity plus a correction."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.per_point = shared_layers(size, _TRANSFORM_POINT_WIDTHS)
        self.per_shape = shared_layers(_TRANSFORM_POINT_WIDTHS[-1], _TRANSFORM_SHAPE_WIDTHS)
        self.last = nn.Linear(_TRANSFORM_SHAPE_WIDTHS[-1], size * size)

    def forward(self, hidden_BNK: Tensor) -> Tensor:
        """hidden_BNK : (B, N, size). Returns (B, size, size); multiply row vectors by it from the right."""
        correction_BKK = self.last(self.per_shape(max_pool(per_row(self.per_point, hidden_BNK)))).unflatten(
            1, (self.size, self.size)
        )
        return correction_BKK + torch.eye(self.size, dtype=correction_BKK.dtype, device=correction_BKK.device)


def orthogonality(transform_BKK: Tensor) -> Tensor:
    """Batch mean of the Frobenius norm of A A^T - I (a norm, not squared; PointMCD's form); 0 for rotations.

    In float32 whatever the precision around it. The gradient at an exactly orthogonal A is 0.
    """
    with full_precision(transform_BKK):
        transform = full(transform_BKK)
        identity = torch.eye(transform.shape[-1], dtype=transform.dtype, device=transform.device)
        return torch.linalg.matrix_norm(transform @ transform.mT - identity).mean()
