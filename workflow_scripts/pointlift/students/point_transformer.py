"""A plain transformer over groups of points: each group becomes a token, a class token reads them all.

Point-BERT, Yu, Tang, Rao, Huang, Zhou, Lu, CVPR 2022, and Point-MAE, Pang, Wang, Tay, Liu, Tian, Yuan, ECCV 2022:
groups of nearest neighbours around farthest points, a mini-PointNet over each, positions added before every block. The
defaults are their small encoder: 384 wide, 12 blocks, 6 heads, which with the head of their classifier has 22.1 M
parameters. It can be shown part of the groups alone, as masked autoencoders do. Sizes of the tokenizer and of what is
between a place and its row are recalled, not checked against the papers.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from pointlift.contracts.student_blocks import GroupStudentSettings, InputFrame
from pointlift.operators.input_frame import as_given, placed
from pointlift.operators.student_output import StudentOutput
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
    group_width: int | None = Field(default=None, ge=1)
    """Of what the tokenizer makes of a group, before a linear layer to ``width`` (Point-BERT: 256). None: it makes
    tokens at once (Point-MAE)."""
    class_token: bool = True
    """False: none stands beside the tokens, as while Point-MAE is pretrained; ``pool`` is then max."""
    frame: InputFrame = InputFrame()
    """How it sees clouds, for weights from elsewhere."""
    added_later: ClassVar[tuple[str, ...]] = ("group_width", "class_token", "frame")

    @model_validator(mode="after")
    def _poolable(self) -> Settings:
        if not self.class_token and self.pool != "max":
            raise ValueError(f"without a class token pool is max, it is {self.pool}")
        return self

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

        super().__init__(
            settings,
            settings.width,
            block,
            places="every",
            group_width=settings.group_width,
            class_token=settings.class_token,
        )
        self.frame = settings.frame

    def forward(self, points_BN3: Tensor, mask_ratio: float = 0.0) -> StudentOutput:
        """As every transformer over groups, on the clouds as its frame has them."""
        return as_given(super().forward(placed(points_BN3, self.frame), mask_ratio), points_BN3, self.frame)
