"""CurveNet: residual blocks over neighbourhoods, where points also see curves that walk through the cloud.

Xiang, Zhang, Song, Yu, Cai, "Walk in the Cloud: Learning Curves for Point Clouds Shape Analysis", ICCV 2021: its
network for classification. As for the other students, the embedding is the maximum over the tokens alone, without the
mean that the paper sets beside it, and tokens end in a ReLU (PointMCD's form). The paper's text was not at hand: sizes
and order of the layers are recalled, not checked against it; what that left open is named as chosen where it stands.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.blocks import StudentSettings
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.operators.bags import bag_maximum
from pointlift.operators.edge_convolution import EdgeConvolution
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.neighbours import ball_query, choose_centres, gather_rows, nearest_neighbours
from pointlift.operators.student_output import Level, StudentOutput
from pointlift.operators.visible_pooling import max_pool
from pointlift.students.curves import NEGATIVE_SLOPE, CurveAggregation, CurveGrouping


class Stage(BaseSettings):
    """Blocks over the same points."""

    num_points: int = Field(ge=2)
    """Farthest points of the stage before; as many as there are: all of them, in their order."""
    radius: float = Field(gt=0.0)
    """Of the balls whose maximum a chosen point takes, in unit-sphere radii; without a meaning where all stay."""
    width: int = Field(ge=1)
    num_blocks: int = Field(default=2, ge=1)
    num_curves: int = Field(default=0, ge=0)
    """Walks through the points; 0: none."""
    curve_length: int = Field(default=5, ge=3)
    """Points along each, its start among them; from the third on its past decides with it where it goes."""
    curve_blocks: int = Field(default=1, ge=1)
    """How many of the blocks make curves, from the first on, where there are any."""


class Settings(StudentSettings):
    """A CurveNet encoder."""

    kind: Literal["curvenet"]
    first_width: int = Field(default=32, ge=1)
    """Of the layer before the stages."""
    stages: tuple[Stage, ...] = Field(
        default=(
            Stage(num_points=1024, radius=0.05, width=64, num_curves=100),
            Stage(num_points=1024, radius=0.05, width=128, num_curves=100),
            Stage(num_points=256, radius=0.1, width=256),
            Stage(num_points=64, radius=0.2, width=512),
        ),
        min_length=1,
    )
    bottleneck: int = Field(default=4, ge=1)
    """How many times narrower a block is inside than its output."""
    token_width: int = Field(default=1024, ge=1)
    """Width of tokens and embedding; tokens stand at the points of the last stage."""
    num_neighbours: int = Field(default=20, ge=2)
    """Neighbours that a point is averaged over, itself among them; also the other points that a walk can go on to."""
    centres: Literal["farthest", "first"] = "farthest"
    """Which points a smaller stage keeps. first: the first ones, for datasets with `order: farthest_first`; saves
    looking for them."""

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        counts = [stage.num_points for stage in self.stages]
        if counts != sorted(counts, reverse=True):
            raise ValueError(f"stages: num_points must not grow from stage to stage, they are {counts}")
        if counts[-1] <= self.num_neighbours:
            raise ValueError(
                f"stages: num_points must be above num_neighbours ({self.num_neighbours}), one is {counts[-1]}"
            )
        for stage in self.stages:
            if stage.width % self.bottleneck:
                raise ValueError(f"stages: width {stage.width} must be a multiple of bottleneck ({self.bottleneck})")
            if stage.num_curves > stage.num_points:
                raise ValueError(f"stages: {stage.num_curves} curves cannot start at {stage.num_points} points")
            if stage.curve_blocks > stage.num_blocks:
                raise ValueError(f"stages: curves in {stage.curve_blocks} of {stage.num_blocks} blocks")
        return self


def build(settings: Settings) -> CurveNet:
    """An encoder with fresh weights from torch's global generator."""
    return CurveNet(settings)


class CurveNet(nn.Module):
    """A first layer over neighbourhoods, stages of blocks, a last layer per point, then the maximum over the points.

    The first layer sees places alone and takes the maximum over neighbours: it is an edge convolution. Levels are its
    rows and those of every stage but the last.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.width = settings, settings.token_width
        before = (settings.first_width, *(stage.width for stage in settings.stages))
        self.level_widths = before[:-1]
        self.first = EdgeConvolution(3, settings.first_width, NEGATIVE_SLOPE)
        self.stages = nn.ModuleList(
            _blocks(width, stage, settings.bottleneck) for width, stage in zip(before, settings.stages, strict=False)
        )
        self.last = shared_layers(before[-1], [self.width], bias=False)

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32, unit-sphere radii. One token per point of the last stage, all >= 0.

        Raises ``ValueError`` for a cloud with fewer points than the first stage.
        """
        count = self.settings.num_neighbours
        places_BN3, index_BN = points_BN3, torch.arange(points_BN3.shape[1], device=points_BN3.device)
        index_BN = index_BN.expand(len(points_BN3), -1)
        graph_BNk = nearest_neighbours(places_BN3, places_BN3, count + 1)
        rows_BNC = self.first(places_BN3, graph_BNk[..., :count])
        levels = [Level(rows_BNC, places_BN3, index_BN)]
        for stage, blocks in zip(self.settings.stages, self.stages, strict=True):
            if stage.num_points != places_BN3.shape[1]:
                chosen = choose_centres(places_BN3, stage.num_points, self.settings.centres)
                centres_BM3 = gather_rows(places_BN3, chosen)
                rows_BNC = bag_maximum(rows_BNC, ball_query(centres_BM3, places_BN3, stage.radius, count))
                places_BN3, index_BN = centres_BM3, index_BN.gather(1, chosen)
                graph_BNk = nearest_neighbours(places_BN3, places_BN3, count + 1)
            for block in blocks.children():
                rows_BNC = block(rows_BNC, places_BN3, graph_BNk)
            levels.append(Level(rows_BNC, places_BN3, index_BN))
        tokens_BGC = per_row(self.last, rows_BNC)
        return StudentOutput(max_pool(tokens_BGC), tokens_BGC, places_BN3, index_BN, {}, tuple(levels[:-1]))


def _blocks(width: int, stage: Stage, bottleneck: int) -> nn.ModuleList:
    before = [width] + [stage.width] * (stage.num_blocks - 1)
    curves = [stage.num_curves if number < stage.curve_blocks else 0 for number in range(stage.num_blocks)]
    return nn.ModuleList(
        Block(narrow, stage.width, bottleneck, num_curves, stage.curve_length)
        for narrow, num_curves in zip(before, curves, strict=True)
    )


class Block(nn.Module):
    """Curve intervention convolution: narrower, curves, neighbours, wider again, and the shortcut around it all."""

    def __init__(self, width: int, wider: int, bottleneck: int, num_curves: int, curve_length: int) -> None:
        super().__init__()
        inner = wider // bottleneck
        self.down = nn.Sequential(*_normed(width, inner), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True))
        self.grouping = CurveGrouping(inner, num_curves, curve_length) if num_curves else None
        self.aggregation = CurveAggregation(inner) if num_curves else None
        self.local = LocalAggregation(inner)
        self.up = nn.Sequential(*_normed(inner, wider))
        self.shortcut = nn.Sequential(*_normed(width, wider)) if width != wider else nn.Identity()

    def forward(self, rows_BNC: Tensor, places_BN3: Tensor, graph_BNk: Tensor) -> Tensor:
        """graph_BNk : int64, of every point itself, then its nearest others. Returns (B, N, wider).

        Curves go on to the others; the mean is over as many, with the point itself for the farthest of them.
        """
        hidden_BNC = per_row(self.down, rows_BNC)
        if self.grouping is not None and self.aggregation is not None:
            walks = self.grouping(hidden_BNC, graph_BNk[..., 1:])
            hidden_BNC = self.aggregation(walks.rows, walks.curves)
        hidden_BNC = self.local(hidden_BNC, places_BN3, graph_BNk[..., :-1])
        hidden_BNC = per_row(self.up, hidden_BNC) + per_row(self.shortcut, rows_BNC)
        return functional.leaky_relu(hidden_BNC, NEGATIVE_SLOPE)


class LocalAggregation(nn.Module):
    """Local point-feature aggregation (LPFA): mean over neighbours j of i of a layer on f_j - f_i + P [x_i, x_j - x_i].

    The layer is norm, LeakyReLU, linear, norm, LeakyReLU. Chosen: the sum is normed, not its second term; [x_i, x_j -
    x_i] says as much to a linear layer as with x_j beside it. P is ``own`` on x_i and ``other`` on x_j - x_i, each
    taken once per point.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own, self.other = (nn.Linear(3, width, bias=False) for _ in range(2))
        bends = [nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True) for _ in range(2)]
        self.layers = nn.Sequential(nn.BatchNorm1d(width), bends[0], *_normed(width, width), bends[1])

    def forward(self, rows_BNC: Tensor, places_BN3: Tensor, neighbours_BNk: Tensor) -> Tensor:
        """(B, N, C), of the same width."""
        ahead_BNC = self.other(places_BN3) + rows_BNC
        edges_BNkC = (self.own(places_BN3) - ahead_BNC)[:, :, None] + gather_rows(ahead_BNC, neighbours_BNk)
        return self.layers(edges_BNkC.flatten(0, 2)).unflatten(0, neighbours_BNk.shape).mean(dim=2)


def _normed(width: int, wider: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(width, wider, bias=False), nn.BatchNorm1d(wider)
