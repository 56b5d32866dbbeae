"""A plain transformer over groups of points: each group becomes a token, a class token reads them all.

Point-BERT, Yu, Tang, Rao, Huang, Zhou, Lu, CVPR 2022, and Point-MAE, Pang, Wang, Tay, Liu, Tian, Yuan, ECCV 2022:
groups of nearest neighbours around farthest points, a mini-PointNet over each, positions added before every block. The
defaults are their small encoder: 384 wide, 12 blocks, 6 heads, which with the head of their classifier has 22.1 M
parameters. It can be shown part of the groups alone, as masked autoencoders do. Sizes of the tokenizer and of what is
between a place and its row are recalled, not checked against the papers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import nn

from pointlift.contracts.student_blocks import GroupStudentSettings
from pointlift.operators.transformer import Block
from pointlift.students.group_transformer import GroupTransformer


class Settings(GroupStudentSettings):
    """A transformer over groups."""

    kind: Literal["point_transformer"]
    width: int = Field(default=384, ge=1)
    """Of tokens and class token."""
    depth: int = Field(default=12, ge=1)
    heads: int = Field(default=6, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0.0)

    @model_validator(mode="after")
    def _possible_heads(self) -> Settings:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads ({self.heads})")
        return self

    def num_blocks(self) -> int:
        """How deep it is."""
        return self.depth

    def width_of_tokens(self) -> int:
        """That of its layers."""
        return self.width


def build(settings: Settings) -> PointTransformer:
    """An encoder with fresh weights from torch's global generator."""
    return PointTransformer(settings)


class PointTransformer(GroupTransformer):
    """Positions of groups are added before every block."""

    def __init__(self, settings: Settings) -> None:
        def block(share: float) -> nn.Module:
            return Block(settings.width, settings.heads, mlp_ratio=settings.mlp_ratio, drop_path=share)

        super().__init__(settings, settings.width, block, places="every")
