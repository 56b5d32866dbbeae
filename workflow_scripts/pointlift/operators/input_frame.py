"""Clouds as a student's weights want them: another axis up, another centre. What it hands out stands as it was given.

Clouds of the house are z up. Published weights were made on files with y up, and on clouds whose mean is the origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pointlift.operators.neighbours import gather_rows
from pointlift.operators.student_output import StudentOutput

if TYPE_CHECKING:
    from pointlift.contracts.student_blocks import InputFrame


def placed(points_BN3: Tensor, frame: InputFrame) -> Tensor:
    """The clouds (B, N, 3) in the frame. A cloud that is one point alone, taken N times, keeps its size.

    y up: (x, y, z) becomes (x, z, -y), the turn back of ``geometry.clouds.turn_up``.
    """
    if frame.up == "y":
        x, y, z = points_BN3.unbind(dim=2)
        points_BN3 = torch.stack([x, z, -y], dim=2)
    if frame.centre == "mean":
        points_BN3 = points_BN3 - points_BN3.mean(dim=1, keepdim=True)
        radius_B11 = points_BN3.square().sum(dim=2).amax(dim=1).sqrt()[:, None, None]
        points_BN3 = points_BN3 / torch.where(radius_B11 > 0, radius_B11, torch.ones_like(radius_B11))
    return points_BN3


def as_given(output: StudentOutput, points_BN3: Tensor, frame: InputFrame) -> StudentOutput:
    """What a student made of ``placed`` clouds, with tokens and levels where the clouds as given have them.

    What it says of hidden groups stays in the frame, as its tokens are of it.
    """
    if frame == type(frame)():
        return output
    levels = tuple(level._replace(xyz=gather_rows(points_BN3, level.point_index)) for level in output.levels)
    return output._replace(token_xyz=gather_rows(points_BN3, output.token_index), levels=levels)
