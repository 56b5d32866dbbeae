"""Groups of points, which of them are hidden, and the mini-PointNet that makes a token of each.

Point-BERT, Yu, Tang, Rao, Huang, Zhou, Lu, CVPR 2022; hidden groups: Point-MAE, Pang et al., ECCV 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.operators.layers import shared_layers
from pointlift.operators.neighbours import CentreRule, choose_centres, gather_rows, nearest_neighbours
from pointlift.operators.visible_pooling import max_pool

_FIXED_SEED = 0


class Groups(NamedTuple):
    """Groups of the clouds of a batch."""

    centre_index: Tensor
    """(B, G) int64: the point each group stands around."""
    centres: Tensor
    """(B, G, 3): where that is."""
    points: Tensor
    """(B, G, k, 3): its nearest points, relative to the centre, nearest first."""

    def take(self, index_BX: Tensor) -> Groups:
        """Those of these numbers."""
        chosen = gather_rows(self.points.flatten(2), index_BX).unflatten(2, self.points.shape[2:])
        return Groups(self.centre_index.gather(1, index_BX), gather_rows(self.centres, index_BX), chosen)


def group(points_BN3: Tensor, num_groups: int, group_size: int, rule: CentreRule = "farthest") -> Groups:
    """Nearest points of farthest points, the first of the cloud first; or of its first points, see ``choose_centres``.

    Raises ``ValueError`` for a cloud with fewer points than there are to be groups, or points in one.
    """
    index_BG = choose_centres(points_BN3, num_groups, rule)
    centres_BG3 = gather_rows(points_BN3, index_BG)
    near_BGk = nearest_neighbours(centres_BG3, points_BN3, group_size)
    return Groups(index_BG, centres_BG3, gather_rows(points_BN3, near_BGk) - centres_BG3[:, :, None])


def draw_hidden(
    batch: int, num_groups: int, mask_ratio: float, device: torch.device, *, fixed: bool
) -> tuple[Tensor, Tensor]:
    """Numbers of the groups that are shown, (B, G - X), and hidden, (B, X): X = round(G * mask_ratio), some of both.

    Drawn for each cloud from the global generator of the device; ``fixed``: the same for every cloud and every call.
    Raises ``ValueError`` for a ratio outside (0, 1).
    """
    if not 0.0 < mask_ratio < 1.0:
        raise ValueError(f"mask_ratio must be between 0 and 1, not {mask_ratio}")
    if fixed:
        drawn = torch.rand(1, num_groups, generator=torch.Generator().manual_seed(_FIXED_SEED)).to(device)
        drawn = drawn.expand(batch, -1)
    else:
        drawn = torch.rand(batch, num_groups, device=device)
    num_hidden = min(max(1, round(num_groups * mask_ratio)), num_groups - 1)
    order_BG = drawn.argsort(dim=1, stable=True)
    return order_BG[:, num_hidden:], order_BG[:, :num_hidden]


class GroupTokenizer(nn.Module):
    """Layers over a group's points, their maximum beside each, layers again, and the maximum of that.

    A token does not hang on the order of its points. The product of the maximum, the same for all points of a group,
    is taken once per group.
    """

    def __init__(self, widths: tuple[int, int, int], width: int) -> None:
        super().__init__()
        first, second, third = widths
        self.before = nn.Sequential(*shared_layers(3, [first], bias=False), nn.Linear(first, second))
        self.joined = nn.Linear(2 * second, third, bias=False)
        self.after = nn.Sequential(nn.BatchNorm1d(third), nn.ReLU(inplace=True), nn.Linear(third, width))

    def forward(self, points_BGk3: Tensor) -> Tensor:
        """points_BGk3 : relative to their centres. Returns (B, G, width), of either sign."""
        batch, num_groups, size, _ = points_BGk3.shape
        rows = self.before(points_BGk3.flatten(0, 2))
        whole = max_pool(rows.unflatten(0, (-1, size)))
        of_whole, of_own = self.joined.weight.chunk(2, dim=1)
        hidden = functional.linear(rows, of_own).unflatten(0, (-1, size)) + functional.linear(whole, of_whole)[:, None]
        tokens = max_pool(self.after(hidden.flatten(0, 1)).unflatten(0, (-1, size)))
        return tokens.unflatten(0, (batch, num_groups))
