"""A few layers of transformer over the surroundings of farthest points: an encoder of rooms.

The unmasked encoder of 3DETR, Misra, Girdhar, Joulin, "An End-to-End Transformer Model for 3D Object Detection", ICCV
2021, section 4: one set aggregation (PointNet++, Qi et al., NeurIPS 2017, section 3.2), then plain layers. Sizes are
those of its authors' scripts. Ours, not theirs: GELU in the layers, no dropout in them, the norm behind the last, the
embedding, and ``position`` (recalled, not checked against their code: none).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pointlift.contracts.blocks import StudentSettings
from pointlift.operators.extent import extent, placed_within
from pointlift.operators.neighbours import gather_rows
from pointlift.operators.student_output import StudentOutput
from pointlift.operators.transformer import Block, Mlp, start_small
from pointlift.operators.visible_pooling import max_pool
from pointlift.students.set_aggregation import SetAggregation


class Settings(StudentSettings):
    """A set aggregation and a transformer."""

    kind: Literal["scene_transformer"]
    num_tokens: int = Field(default=2048, ge=2)
    """Farthest points, the first of the cloud first; a token for each."""
    radius: float = Field(default=0.2, gt=0.0)
    """Of the ball that a token looks at, in the unit of the points: metres in scenes."""
    num_neighbours: int = Field(default=64, ge=1)
    """Points of a ball, the nearest ones; missing ones repeat the nearest."""
    aggregation_widths: tuple[int, ...] = (64, 128)
    """Of the layers over a ball's points before the last, which has ``width``."""
    width: int = Field(default=256, ge=1)
    """Of tokens."""
    depth: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    mlp_width: int = Field(default=128, ge=1)
    """Hidden width of the layers' MLPs."""
    drop_path: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of clouds for which the last layer does nothing in training; it grows from 0 at the first."""
    position: Literal["extent", "none"] = "extent"
    """extent: an MLP of where a token stands within its cloud is added to it before the first layer."""
    pool: Literal["max_mean", "max", "mean"] = "max_mean"
    """The embedding: the maximum over the tokens, their mean, or the one beside the other, twice as wide."""

    @model_validator(mode="after")
    def _possible_sizes(self) -> Settings:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads ({self.heads})")
        if min(self.aggregation_widths, default=1) < 1:
            raise ValueError(f"aggregation_widths must be above 0, they are {list(self.aggregation_widths)}")
        return self

    def least_points(self) -> int:
        """One for each token."""
        return self.num_tokens

    def width_of_tokens(self) -> int:
        """That of its layers."""
        return self.width


def build(settings: Settings) -> SceneTransformer:
    """An encoder with fresh weights from torch's global generator."""
    return SceneTransformer(settings)


class SceneTransformer(nn.Module):
    """Tokens of balls around farthest points, layers over all of them. Nothing hangs on where the cloud's origin is."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, width = settings, settings.width
        self.token_width = width
        self.width = width * (2 if settings.pool == "max_mean" else 1)
        self.aggregation = SetAggregation(
            settings.num_tokens, settings.radius, settings.num_neighbours, (*settings.aggregation_widths, width)
        )
        self.position = Mlp(3, width, width) if settings.position == "extent" else None
        shares = torch.linspace(0.0, settings.drop_path, settings.depth, device="cpu").tolist()
        ratio = settings.mlp_width / width
        self.blocks = nn.ModuleList(Block(width, settings.heads, mlp_ratio=ratio, drop_path=share) for share in shares)
        self.blocks.apply(start_small)
        self.norm = nn.LayerNorm(width)

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32, any origin. One token per farthest point, of either sign; no levels.

        Raises ``ValueError`` for a cloud with fewer points than tokens.
        """
        index_BG, rows_BGC = self.aggregation(points_BN3)
        places_BG3 = gather_rows(points_BN3, index_BG)
        if self.position is not None:
            rows_BGC = rows_BGC + self.position(2.0 * placed_within(places_BG3, extent(points_BN3)) - 1.0)
        for block in self.blocks:
            rows_BGC = block(rows_BGC)
        tokens_BGC = self.norm(rows_BGC)
        return StudentOutput(self._embedding(tokens_BGC), tokens_BGC, places_BG3, index_BG, {})

    def _embedding(self, tokens_BGC: Tensor) -> Tensor:
        if self.settings.pool == "mean":
            return tokens_BGC.mean(dim=1)
        largest_BC = max_pool(tokens_BGC)
        return largest_BC if self.settings.pool == "max" else torch.cat([largest_BC, tokens_BGC.mean(dim=1)], dim=1)
