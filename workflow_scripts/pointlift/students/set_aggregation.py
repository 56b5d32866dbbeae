"""One set aggregation: layers over the points of balls around farthest points, and the maximum over each ball.

PointNet++, Qi, Yi, Su, Guibas, NeurIPS 2017, section 3.2. Places are offsets from a ball's centre in radii, as VoteNet
(Qi, Litany, He, Guibas, ICCV 2019) has them in rooms: taken before the first layer, as products of places far from the
origin would lose the digits of the difference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointlift.operators.layers import shared_layers
from pointlift.operators.neighbours import ball_query, farthest_point_sample, gather_rows
from pointlift.operators.visible_pooling import max_pool


class SetAggregation(nn.Module):
    """Rows (B, G, widths[-1]) of ``count`` balls, never negative, and the points that these stand around."""

    def __init__(self, count: int, radius: float, num_neighbours: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.count, self.radius, self.num_neighbours = count, radius, num_neighbours
        self.layers = shared_layers(3, widths, bias=False)

    def forward(self, points_BN3: Tensor) -> tuple[Tensor, Tensor]:
        """points_BN3 : float32, any origin. Returns the centres' index (B, G) int64 and the rows.

        Raises ``ValueError`` for a cloud with fewer points than centres.
        """
        index_BG = farthest_point_sample(points_BN3, self.count)
        ahead_BGk3 = self._offsets(points_BN3, index_BG)
        rows = self.layers(ahead_BGk3.flatten(0, 2)).unflatten(0, (-1, self.num_neighbours))
        return index_BG, max_pool(rows).unflatten(0, index_BG.shape)

    def _offsets(self, points_BN3: Tensor, index_BG: Tensor) -> Tensor:
        """Where the points of each ball are, from its centre, in radii."""
        with torch.autocast(points_BN3.device.type, enabled=False):  # differences of far places need their digits
            centres_BG3 = gather_rows(points_BN3, index_BG)
            near_BGk = ball_query(centres_BG3, points_BN3, self.radius, self.num_neighbours)
            return (gather_rows(points_BN3, near_BGk) - centres_BG3[:, :, None]) / self.radius
