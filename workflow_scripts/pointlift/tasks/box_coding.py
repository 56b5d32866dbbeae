"""Boxes as numbers that a network can say: offsets, shares of a scene, bins of headings; and back.

3DETR, Misra, Girdhar, Joulin, ICCV 2021, section 3.3; heading bins: Qi et al., "Frustum PointNets", CVPR 2018, section
4.3. Letters beside those of the house: Q queries, L layers, A heading bins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pointlift.operators.extent import Extent, placed_within
from pointlift.operators.layers import shared_layers
from pointlift.operators.precision import full
from pointlift.tasks.query_decoder import Queries


class CodedBoxes(NamedTuple):
    """What is said of the boxes of a batch: every decoder layer, every cloud, every query."""

    logits: Tensor
    """(L, B, Q, K + 1): of the classes, and last of there being no object."""
    boxes: Tensor
    """(L, B, Q, 7): centre, whole edges, heading, in the unit of the queries' places."""
    heading_logits: Tensor
    """(L, B, Q, A): of the bins; A is 0 where boxes have no headings."""
    heading_residual: Tensor
    """(L, B, Q, A): from the middle of each bin, in half bins."""
    within: Extent
    """Of the clouds: what centres and sizes are shares of in losses."""


class BoxHeads(nn.Module):
    """One small network for each number, the same for all layers of the decoder."""

    def __init__(self, width: int, num_classes: int, bins: int, reach: float, dropout: float) -> None:
        super().__init__()
        self.reach, self.bins = reach, bins
        widths = {"logits": num_classes + 1, "centre": 3, "size": 3}
        if bins:
            widths |= {"heading_logits": bins, "heading_residual": bins}
        self.heads = nn.ModuleDict({name: _head(width, wanted, dropout) for name, wanted in widths.items()})

    def forward(self, queries: Queries, within: Extent) -> CodedBoxes:
        """Centres are at most ``reach`` from their query along each axis; sizes are shares of the extent."""
        flat = queries.rows.flatten(0, 2)
        said = {name: full(head(flat)).unflatten(0, queries.rows.shape[:3]) for name, head in self.heads.items()}
        centre = queries.places + 2.0 * self.reach * (said["centre"].sigmoid() - 0.5)
        size = said["size"].sigmoid() * within.edges[:, None]
        none = size[..., :0]
        bins, residual = said.get("heading_logits", none), said.get("heading_residual", none)
        heading = decode_heading(bins, residual) if self.bins else torch.zeros_like(size[..., 0])
        boxes = torch.cat([centre, size, heading[..., None]], dim=-1)
        return CodedBoxes(said["logits"], boxes, bins, residual, within)


def _head(width: int, wanted: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(*shared_layers(width, (width, width), bias=False, dropout=dropout), nn.Linear(width, wanted))


def encode_heading(heading: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Headings (...) in radians as bin (...) int64 and place in it, -1 to 1 in half bins. Bin 0 has its middle at 0."""
    step = 2.0 * math.pi / bins
    number = (heading / step).round()
    return number.long() % bins, (heading / step - number) * 2.0


def decode_heading(logits: Tensor, residual: Tensor) -> Tensor:
    """Headings (...) within -pi and pi of the best bin's residual; both (..., A). A gradient reaches the residual."""
    bins = logits.shape[-1]
    best = logits.detach().argmax(dim=-1, keepdim=True)
    of_best = torch.arange(bins, device=logits.device) == best
    heading = (best[..., 0] + 0.5 * torch.where(of_best, residual, 0.0).sum(dim=-1)) * (2.0 * math.pi / bins)
    return torch.remainder(heading + math.pi, 2.0 * math.pi) - math.pi


def shares(boxes: Tensor, within: Extent) -> tuple[Tensor, Tensor]:
    """Centres and sizes (..., B, Q, 3) of boxes (..., B, Q, 7) as shares of the extent of their clouds."""
    return placed_within(boxes[..., :3], within), boxes[..., 3:6] / within.edges[:, None]
