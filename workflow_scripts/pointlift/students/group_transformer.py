"""A class token and tokens of groups of points through transformer blocks: what every such student shares.

Point-BERT, Yu, Tang, Rao, Huang, Zhou, Lu, CVPR 2022: groups of nearest neighbours around farthest points, a
mini-PointNet over each. It can be shown part of the groups alone, as masked autoencoders do (Point-MAE, Pang, Wang,
Tay, Liu, Tian, Yuan, ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from pointlift.contracts.student_blocks import GroupStudentSettings
from pointlift.operators.student_output import Level, Masked, StudentOutput
from pointlift.operators.transformer import Mlp, start_small
from pointlift.operators.visible_pooling import max_pool
from pointlift.students.group_tokenizer import Groups, GroupTokenizer, draw_hidden, group


class GroupTransformer(nn.Module):
    """Groups, tokens, blocks, a last norm. Levels are tokens of earlier blocks, behind the same norm.

    block : makes a block of ``width`` from its share of stochastic depth. places : whether what says where a group
    stands is added before every block (the point transformers' way) or once, before the first (that of images).
    group_width : of the tokenizer, where a linear layer follows it. class_token : False for a student without one.
    """

    def __init__(
        self,
        settings: GroupStudentSettings,
        width: int,
        block: Callable[[float], nn.Module],
        places: Literal["every", "once"],
        norm_epsilon: float = 1e-5,
        *,
        group_width: int | None = None,
        class_token: bool = True,
    ) -> None:
        super().__init__()
        self.settings, self.token_width, self.group_size = settings, width, settings.group_size
        self.width = width * (2 if settings.pool == "class_max" else 1)
        self.places = places
        self.level_depths = settings.depths_read()
        self.level_widths = (width,) * len(self.level_depths)
        self.tokenizer = GroupTokenizer(settings.tokenizer_widths, group_width or width)
        self.reduce = nn.Linear(group_width, width) if group_width else None
        self.position = Mlp(3, settings.position_width, width)
        self.has_class_token = class_token
        if class_token:
            self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
            self.class_position = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        shares = torch.linspace(0.0, settings.drop_path, settings.num_blocks(), device="cpu").tolist()
        self.blocks = nn.ModuleList(block(share) for share in shares).apply(start_small)
        self.norm = nn.LayerNorm(width, eps=norm_epsilon)

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
        tokens_BGC = self.tokenizer(groups.points)
        rows_BTC, earlier = self._encode(self.reduce(tokens_BGC) if self.reduce else tokens_BGC, groups.centres)
        first = int(self.has_class_token)
        summary_BC, tokens_BGC = (rows_BTC[:, 0] if first else None), rows_BTC[:, first:]
        levels = [Level(rows[:, first:], groups.centres, groups.centre_index) for rows in earlier]
        return StudentOutput(
            self._embedding(summary_BC, tokens_BGC),
            tokens_BGC,
            groups.centres,
            groups.centre_index,
            {},
            () if masked else tuple(levels),
            summary_BC,
            masked,
        )

    def _draw(self, groups: Groups, mask_ratio: float) -> tuple[Tensor, Tensor]:
        batch, num_groups = groups.centre_index.shape
        return draw_hidden(batch, num_groups, mask_ratio, groups.centres.device, fixed=not self.training)

    def _embedding(self, summary_BC: Tensor | None, tokens_BGC: Tensor) -> Tensor:
        if summary_BC is None or self.settings.pool == "max":
            return max_pool(tokens_BGC)
        if self.settings.pool == "class":
            return summary_BC
        return torch.cat([summary_BC, max_pool(tokens_BGC)], dim=1)

    def _encode(self, tokens_BGC: Tensor, centres_BG3: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Rows (B, 1 + G, C) of class token and tokens behind the last norm, and of the depths that are levels.

        Without a class token they are (B, G, C).
        """
        batch = len(tokens_BGC)
        rows, places = tokens_BGC, self.position(centres_BG3)
        if self.has_class_token:
            rows = torch.cat([self.class_token.expand(batch, -1, -1), rows], dim=1)
            places = torch.cat([self.class_position.expand(batch, -1, -1), places], dim=1)
        earlier = []
        for number, block in enumerate(self.blocks, start=1):
            rows = block(rows + places if self.places == "every" or number == 1 else rows)
            if number in self.level_depths:
                earlier.append(self.norm(rows))
        return self.norm(rows), earlier
