"""Point-MAE: a student is shown some groups of a cloud, and a decoder must say where the points of the others lie.

Pang, Wang, Tay, Liu, Tian, Yuan, "Masked Autoencoders for Point Cloud Self-supervised Learning", ECCV 2022. No teacher
is asked: it stands beside distillation as a control on the same clouds and steps. The decoder is dropped afterwards.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pointlift.contracts.blocks import MethodSettings, Reading
from pointlift.contracts.errors import ConfigError
from pointlift.operators.chamfer import chamfer_distance
from pointlift.operators.student_output import StudentOutput, StudentShape
from pointlift.operators.target_statistics import TargetStatistics
from pointlift.operators.transformer import Block, Mlp, start_small

_MOST_HEADS = 6  # of a decoder whose heads are left to its width


class Settings(MethodSettings):
    """How much is hidden, and the decoder."""

    kind: Literal["point_mae"]
    mask_ratio: float = Field(default=0.6, gt=0.0, lt=1.0)
    """Share of the groups that the student is not shown."""
    depth: int = Field(default=4, ge=1)
    """Blocks of the decoder, as wide as the student's tokens."""
    heads: int | None = Field(default=None, ge=1)
    """Of its attention; None: the most, up to 6, that divide that width."""
    mlp_ratio: float = Field(default=4.0, gt=0.0)
    drop_path: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of clouds for which its last block does nothing in training; it grows from 0 at the first."""
    position_width: int = Field(default=128, ge=1)
    """Between a group's centre and what is added to its row."""

    def reads(self) -> tuple[Reading, ...]:
        """Points alone."""
        return ()

    def arms(self) -> tuple[str, ...] | None:
        """It learns from no teacher, so that no other arm says what it is."""
        return ("point_mae",)

    def hides(self) -> bool:
        """The student sees part of each cloud."""
        return True


def build(settings: Settings, student: StudentShape, targets: TargetStatistics | None) -> PointMae:  # noqa: ARG001
    """The method for a student with a masked form; ``targets`` are not looked at.

    Raises ``ConfigError`` for a student without one, and for heads that do not divide the width of its tokens.
    """
    if student.group_size is None:
        raise ConfigError(
            "point_mae hides groups of points, and this student has none; use a student of kind point_transformer"
        )
    if settings.heads is not None and student.token_width % settings.heads:
        raise ConfigError(
            f"heads: {settings.heads} do not divide the student's token width {student.token_width}; leave it out"
        )
    return PointMae(settings, student.token_width, student.group_size)


class PointMae(nn.Module):
    """Decoder, and the distance between the points it says and those that were hidden."""

    def __init__(self, settings: Settings, width: int, group_size: int) -> None:
        super().__init__()
        self.mask_ratio, self.group_size = settings.mask_ratio, group_size
        heads = settings.heads or max(heads for heads in range(1, _MOST_HEADS + 1) if width % heads == 0)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = Mlp(3, settings.position_width, width)
        shares = torch.linspace(0.0, settings.drop_path, settings.depth).tolist()
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio=settings.mlp_ratio, drop_path=share) for share in shares
        ).apply(start_small)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * group_size).apply(start_small)  # the points it says begin near their centre

    def forward(self, output: StudentOutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        """``reconstruction_loss``: mean squared Chamfer distance of a hidden group (equation 5), in squared radii.

        ``output`` is of a student called with ``mask_ratio``; ``ValueError`` for any other.
        """
        if output.masked is None:
            raise ValueError("nothing was hidden: the student must be called with mask_ratio")
        said_BXk3 = self.say(output, output.masked.centres)
        distance = chamfer_distance(said_BXk3.flatten(0, 1), output.masked.points.flatten(0, 1))
        return {"reconstruction_loss": distance.mean()}

    def say(self, output: StudentOutput, centres_BX3: Tensor) -> Tensor:
        """Where the points of groups around these centres lie, (B, X, k, 3) relative to them, from the shown tokens."""
        hidden_BXC = self.mask_token.expand(*centres_BX3.shape[:2], -1)
        rows = torch.cat([output.tokens, hidden_BXC], dim=1)
        places = self.position(torch.cat([output.token_xyz, centres_BX3], dim=1))
        for block in self.blocks:
            rows = block(rows + places)
        said: Tensor = self.head(self.norm(rows[:, output.tokens.shape[1] :]))
        return said.unflatten(2, (self.group_size, 3))
