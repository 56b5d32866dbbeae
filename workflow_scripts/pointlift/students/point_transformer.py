"""A plain transformer over groups of points: each group becomes a token, a class token reads them all.

Point-BERT, Yu, Tang, Rao, Huang, Zhou, Lu, CVPR 2022, and Point-MAE, Pang, Wang, Tay, Liu, Tian, Yuan, ECCV 2022:
groups of nearest neighbours around farthest points, a mini-PointNet over each, positions added before every block. The
defaults are their small encoder: 384 wide, 12 blocks, 6 heads, which with the head of their classifier has 22.1 M
parameters. It can be shown part of the groups alone, as masked autoencoders do. Sizes of the tokenizer and of what is
between a place and its row are recalled, not checked against the papers.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pointlift.contracts.blocks import StudentSettings
from pointlift.operators.student_output import Level, Masked, StudentOutput
from pointlift.operators.transformer import Block, Mlp, start_small
from pointlift.operators.visible_pooling import max_pool
from pointlift.students.group_tokenizer import Groups, GroupTokenizer, draw_hidden, group


class Settings(StudentSettings):
    """A transformer over groups."""

    kind: Literal["point_transformer"]
    num_groups: int = Field(default=64, ge=2)
    """Groups stand around farthest points, the first of the cloud first."""
    centres: Literal["farthest", "first"] = "farthest"
    """first: the first points of each cloud, for datasets with `order: farthest_first`; saves looking for them."""
    group_size: int = Field(default=32, ge=1)
    """Nearest points of each, the one it stands around among them; groups overlap."""
    width: int = Field(default=384, ge=1)
    """Of tokens and class token."""
    depth: int = Field(default=12, ge=1)
    heads: int = Field(default=6, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0.0)
    drop_path: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of clouds for which the last block does nothing in training; it grows from 0 at the first."""
    tokenizer_widths: tuple[int, int, int] = (128, 256, 512)
    """Of the layers over a group's points: two before their maximum is set beside each of them, one after."""
    position_width: int = Field(default=128, ge=1)
    """Between a group's centre and what is added to its token."""
    pool: Literal["class_max", "class", "max"] = "class_max"
    """The embedding: the class token, the maximum over the tokens, or the one beside the other, twice as wide."""
    level_depths: tuple[int, ...] | None = None
    """Blocks, counted from 1, whose tokens a task on points reads beside the last; None: at thirds of the depth."""

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads ({self.heads})")
        if min(self.tokenizer_widths) < 1:
            raise ValueError(f"tokenizer_widths must be above 0, they are {list(self.tokenizer_widths)}")
        depths = self.depths_read()
        if list(depths) != sorted(set(depths)) or not all(0 < depth < self.depth for depth in depths):
            raise ValueError(f"level_depths must grow, from 1 to below depth ({self.depth}), they are {list(depths)}")
        return self

    def can_hide(self) -> bool:
        """Groups may be hidden."""
        return True

    def depths_read(self) -> tuple[int, ...]:
        """Blocks whose tokens are levels, in order."""
        if self.level_depths is not None:
            return self.level_depths
        return tuple(sorted({round(self.depth * part / 3) for part in (1, 2)} & set(range(1, self.depth))))


def build(settings: Settings) -> PointTransformer:
    """An encoder with fresh weights from torch's global generator."""
    return PointTransformer(settings)


class PointTransformer(nn.Module):
    """Groups, tokens, blocks, a last norm. Levels are tokens of earlier blocks, behind the same norm."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.token_width, self.group_size = settings, settings.width, settings.group_size
        self.width = settings.width * (2 if settings.pool == "class_max" else 1)
        self.level_depths = settings.depths_read()
        self.level_widths = (settings.width,) * len(self.level_depths)
        self.tokenizer = GroupTokenizer(settings.tokenizer_widths, settings.width)
        self.position = Mlp(3, settings.position_width, settings.width)
        self.class_token = nn.Parameter(torch.randn(1, 1, settings.width) * 0.02)
        self.class_position = nn.Parameter(torch.randn(1, 1, settings.width) * 0.02)
        shares = torch.linspace(0.0, settings.drop_path, settings.depth).tolist()
        self.blocks = nn.ModuleList(
            Block(settings.width, settings.heads, mlp_ratio=settings.mlp_ratio, drop_path=share) for share in shares
        ).apply(start_small)
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, points_BN3: Tensor, mask_ratio: float = 0.0) -> StudentOutput:
        """points_BN3 : float32, unit-sphere radii. One token per group, of either sign.

        mask_ratio : share of the groups that is hidden; tokens are then of the others alone, without levels, and
        ``masked`` says what was hidden. In training the groups are drawn per cloud from the device's global generator;
        in eval mode the same ones are hidden in every cloud each time.
        Raises ``ValueError`` for a cloud with fewer points than groups, or than a group has.
        """
        groups = group(points_BN3, self.settings.num_groups, self.group_size, self.settings.centres)
        masked = None
        if mask_ratio:
            shown, hidden = self._draw(groups, mask_ratio)
            groups, masked = groups.take(shown), Masked(*groups.take(hidden)[1:])
        rows_BTC, earlier = self._encode(self.tokenizer(groups.points), groups.centres)
        summary_BC, tokens_BGC = rows_BTC[:, 0], rows_BTC[:, 1:]
        levels = () if masked else tuple(Level(rows[:, 1:], groups.centres, groups.centre_index) for rows in earlier)
        return StudentOutput(
            self._embedding(summary_BC, tokens_BGC),
            tokens_BGC,
            groups.centres,
            groups.centre_index,
            {},
            levels,
            summary_BC,
            masked,
        )

    def _draw(self, groups: Groups, mask_ratio: float) -> tuple[Tensor, Tensor]:
        batch, num_groups = groups.centre_index.shape
        return draw_hidden(batch, num_groups, mask_ratio, groups.centres.device, fixed=not self.training)

    def _embedding(self, summary_BC: Tensor, tokens_BGC: Tensor) -> Tensor:
        if self.settings.pool == "class":
            return summary_BC
        largest_BC = max_pool(tokens_BGC)
        return largest_BC if self.settings.pool == "max" else torch.cat([summary_BC, largest_BC], dim=1)

    def _encode(self, tokens_BGC: Tensor, centres_BG3: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Rows (B, 1 + G, C) of class token and tokens behind the last norm, and of the depths that are levels."""
        batch = len(tokens_BGC)
        rows = torch.cat([self.class_token.expand(batch, -1, -1), tokens_BGC], dim=1)
        places = torch.cat([self.class_position.expand(batch, -1, -1), self.position(centres_BG3)], dim=1)
        earlier = []
        for number, block in enumerate(self.blocks, start=1):
            rows = block(rows + places)
            if number in self.level_depths:
                earlier.append(self.norm(rows))
        return self.norm(rows), earlier
