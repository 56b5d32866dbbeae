"""DGCNN as PointMCD uses it: edge convolutions over a graph that is drawn anew in every layer's own space.

Wang et al., "Dynamic Graph CNN for Learning on Point Clouds", TOG 2019, in the form of Zhang, Hou, Qian, "PointMCD",
TMM 2023: no transform network, a ReLU instead of a LeakyReLU on the last per-point layer, so that tokens are never
negative, and the maximum alone over the points.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pointlift.contracts.blocks import StudentSettings
from pointlift.contracts.student_blocks import InputFrame
from pointlift.operators.edge_convolution import DeepEdgeConvolution, EdgeConvolution
from pointlift.operators.input_frame import as_given, placed
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.neighbours import nearest_neighbours
from pointlift.operators.student_output import Level, StudentOutput
from pointlift.operators.visible_pooling import max_pool


class Settings(StudentSettings):
    """A DGCNN encoder."""

    kind: Literal["dgcnn"]
    widths: tuple[int | tuple[int, ...], ...] = Field(default=(64, 64, 128, 256), min_length=1)
    """Widths of the edge convolutions, a list for one of several layers ([[64, 64], [64, 64], 64]: the network for
    parts). All of their outputs together feed the last layer, and are a level of their own."""
    token_width: int = Field(default=1024, ge=1)
    """Width of tokens; the embedding is as wide, or twice as wide, as ``pool`` says."""
    num_neighbours: int = Field(default=20, ge=2)
    """Neighbours of a point in each graph, itself among them; a cloud with fewer points is refused."""
    last_slope: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Of the last per-point layer below 0: 0 is PointMCD's ReLU, 0.2 the authors' LeakyReLU, whose tokens may be
    negative."""
    pool: Literal["max", "max_mean"] = "max"
    """Over the points. max_mean: the maximum beside the mean, twice as wide (the authors')."""
    frame: InputFrame = InputFrame()
    """How it sees clouds, for weights from elsewhere."""
    added_later: ClassVar[tuple[str, ...]] = ("last_slope", "pool", "frame")


def build(settings: Settings) -> DGCNN:
    """An encoder with fresh weights from torch's global generator."""
    return DGCNN(settings)


class DGCNN(nn.Module):
    """Edge convolutions, one shared layer over all of their outputs, then the maximum over the points."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.token_width, self.pool, self.frame = settings.token_width, settings.pool, settings.frame
        self.width = self.token_width * (2 if self.pool == "max_mean" else 1)
        layers = [(width,) if isinstance(width, int) else width for width in settings.widths]
        before = [3, *(widths[-1] for widths in layers)]
        self.level_widths = (sum(before[1:]),)
        self.num_neighbours = settings.num_neighbours
        self.edges = nn.ModuleList(
            EdgeConvolution(width, widths[0]) if len(widths) == 1 else DeepEdgeConvolution(width, widths)
            for width, widths in zip(before, layers, strict=False)
        )
        self.last = shared_layers(self.level_widths[0], [self.token_width], bias=False)
        if settings.last_slope:
            self.last[-1] = nn.LeakyReLU(settings.last_slope, inplace=True)

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32, unit-sphere radii. One token per point (G = N), >= 0 where ``last_slope`` is 0."""
        return as_given(self._encode(placed(points_BN3, self.frame)), points_BN3, self.frame)

    def _encode(self, points_BN3: Tensor) -> StudentOutput:
        batch, num_points, _ = points_BN3.shape
        hidden, found = points_BN3, []
        for layer in self.edges:
            hidden = layer(hidden, nearest_neighbours(hidden, hidden, self.num_neighbours))
            found.append(hidden)
        local_BNC = torch.cat(found, dim=2)
        tokens_BNC = per_row(self.last, local_BNC)
        index_BN = torch.arange(num_points, device=points_BN3.device).expand(batch, -1)
        embedding = max_pool(tokens_BNC)
        if self.pool == "max_mean":
            embedding = torch.cat([embedding, tokens_BNC.mean(dim=1)], dim=1)
        return StudentOutput(embedding, tokens_BNC, points_BN3, index_BN, {}, (Level(local_BNC, points_BN3, index_BN),))
