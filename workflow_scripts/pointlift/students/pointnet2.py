"""PointNet++ with one scale per level (SSG): small PointNets over balls of points, level by level.

Qi, Yi, Su, Guibas, "PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space", NeurIPS 2017; the
classification network of its appendix B.1. Balls take their nearest points, as ``operators.neighbours`` says.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pointlift.contracts.blocks import StudentSettings
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.contracts.student_blocks import InputFrame
from pointlift.operators.input_frame import as_given, placed
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.neighbours import ball_query, choose_centres, first_in_ball, gather_rows
from pointlift.operators.precision import as_around, full_precision
from pointlift.operators.student_output import Level as OutputLevel
from pointlift.operators.student_output import StudentOutput
from pointlift.operators.visible_pooling import max_pool


class Level(BaseSettings):
    """One set abstraction level: how many centres, and the network over the ball around each."""

    num_centres: int = Field(ge=1)
    """Farthest points of the level before, the first of the cloud first."""
    radius: float = Field(gt=0.0)
    """Of the balls, in unit-sphere radii."""
    num_neighbours: int = Field(ge=1)
    widths: tuple[int, ...] = Field(min_length=1)


class Settings(StudentSettings):
    """A PointNet++ encoder."""

    kind: Literal["pointnet2"]
    levels: tuple[Level, ...] = Field(
        default=(
            Level(num_centres=512, radius=0.2, num_neighbours=32, widths=(64, 64, 128)),
            Level(num_centres=128, radius=0.4, num_neighbours=64, widths=(128, 128, 256)),
        ),
        min_length=1,
    )
    widths: tuple[int, ...] = Field(default=(256, 512, 1024), min_length=1)
    """Of the layers over the last level's centres, each with its place; the last is the width of the tokens."""
    centres: Literal["farthest", "first"] = "farthest"
    """first: the first points of each cloud, for datasets with `order: farthest_first`; saves looking for them."""
    balls: Literal["nearest", "first"] = "nearest"
    """Which points of a ball are taken, where it holds more. nearest: do not hang on the order of the cloud. first: of
    the cloud, as widely used code does."""
    frame: InputFrame = InputFrame()
    """How it sees clouds, for weights from elsewhere."""
    added_later: ClassVar[tuple[str, ...]] = ("balls", "frame")

    @model_validator(mode="after")
    def _fewer_and_fewer(self) -> Settings:
        counts = [level.num_centres for level in self.levels]
        if counts != sorted(counts, reverse=True):
            raise ValueError(f"levels: num_centres must not grow from level to level, they are {counts}")
        return self


def build(settings: Settings) -> PointNet2:
    """An encoder with fresh weights from torch's global generator."""
    return PointNet2(settings)


class PointNet2(nn.Module):
    """Set abstraction levels, layers over the last centres, then the maximum over these."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.width, self.centres, self.frame = settings.widths[-1], settings.centres, settings.frame
        self.num_centres = [level.num_centres for level in settings.levels]
        self.level_widths = (3, *(level.widths[-1] for level in settings.levels[:-1]))
        before = (0, *(level.widths[-1] for level in settings.levels))
        self.levels = nn.ModuleList(
            SetAbstraction(width, level, settings.balls)
            for width, level in zip(before[:-1], settings.levels, strict=True)
        )
        self.last = shared_layers(before[-1] + 3, settings.widths, bias=False)

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32, unit-sphere radii. One token per centre of the last level, all >= 0.

        Raises ``ValueError`` for a cloud with fewer points than the first level has centres.
        """
        return as_given(self._encode(placed(points_BN3, self.frame)), points_BN3, self.frame)

    def _encode(self, points_BN3: Tensor) -> StudentOutput:
        batch, num_points, _ = points_BN3.shape
        index_BG = torch.arange(num_points, device=points_BN3.device).expand(batch, -1)
        places_BG3, rows_BGC = points_BN3, points_BN3  # the first level sees places alone
        levels = []
        for level, num_centres in zip(self.levels, self.num_centres, strict=True):
            levels.append(OutputLevel(rows_BGC, places_BG3, index_BG))
            chosen = choose_centres(places_BG3, num_centres, self.centres)
            centres_BM3 = gather_rows(places_BG3, chosen)
            rows_BGC = level(centres_BM3, places_BG3, rows_BGC)
            places_BG3, index_BG = centres_BM3, index_BG.gather(1, chosen)
        tokens_BGC = per_row(self.last, torch.cat([places_BG3.to(rows_BGC.dtype), rows_BGC], dim=2))
        return StudentOutput(max_pool(tokens_BGC), tokens_BGC, places_BG3, index_BG, {}, tuple(levels))


class SetAbstraction(nn.Module):
    """A small PointNet over the ball around every centre: the first layer's product is taken once per point.

    Its input is [x_j - c_i, f_j]; as W [x - c, f] = W [x, f] - W_x c, the wide array of all balls begins after it.
    W_x x and W_x c are near each other: they are taken and subtracted in full precision.
    """

    def __init__(self, width: int, settings: Level, balls: Literal["nearest", "first"] = "nearest") -> None:
        super().__init__()
        self.settings, self.find = settings, ball_query if balls == "nearest" else first_in_ball
        first, *rest = settings.widths
        self.place = nn.Linear(3, first, bias=False)
        self.row = nn.Linear(width, first, bias=False) if width else None
        self.norm = nn.Sequential(nn.BatchNorm1d(first), nn.ReLU(inplace=True))
        self.rest = shared_layers(first, rest, bias=False)

    def forward(self, centres_BM3: Tensor, places_BN3: Tensor, rows_BNC: Tensor) -> Tensor:
        """centres_BM3 among places_BN3, with rows_BNC of the level before. Returns (B, M, width) >= 0."""
        ball_BMk = self.find(centres_BM3, places_BN3, self.settings.radius, self.settings.num_neighbours)
        with full_precision(places_BN3):
            hidden_BNC, centre_BMC = self.place(places_BN3), self.place(centres_BM3)
        if self.row is not None:
            hidden_BNC = hidden_BNC + self.row(rows_BNC)
        hidden_BMkC = as_around(gather_rows(hidden_BNC, ball_BMk) - centre_BMC[:, :, None])
        flat = self.rest(self.norm(hidden_BMkC.flatten(0, 2)))
        return max_pool(flat.unflatten(0, (-1, ball_BMk.shape[2]))).unflatten(0, centres_BM3.shape[:2])
