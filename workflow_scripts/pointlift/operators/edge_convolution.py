"""EdgeConv; with one layer, without an array of all edges.

Wang, Sun, Liu, Sarma, Bronstein, Solomon, "Dynamic Graph CNN for Learning on Point Clouds", TOG 2019, section 3:
h_ij = W [x_i, x_j - x_i], batch norm over all edges, LeakyReLU, maximum over the neighbours j of i. With
W = [P, Q], h_ij = (P - Q) x_i + Q x_j: one product per point instead of one per edge. Batch norm and LeakyReLU are
monotone in each channel, so that the maximum is taken before them (the minimum where the norm's weight is negative);
the norm's statistics over the edges follow from sums over the neighbours. What is kept for the gradient is of the size
of the points, k times less than that of the edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.operators.bags import bag_maximum, bag_sum
from pointlift.operators.neighbours import gather_rows
from pointlift.operators.precision import full, full_precision
from pointlift.operators.visible_pooling import max_pool

_MOMENTUM = 0.1  # of the running statistics, torch's default


class EdgeConvolution(nn.Module):
    """One layer on every edge of a neighbour graph, then the maximum over each point's neighbours.

    Parameters are those of a 1x1 convolution without bias on [x_i, x_j - x_i] and of its batch norm.
    """

    def __init__(self, width: int, wider: int, negative_slope: float = 0.2) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, wider, bias=False)
        self.norm = nn.BatchNorm1d(wider)
        self.negative_slope = negative_slope

    def forward(self, rows_BNC: Tensor, neighbours_BNk: Tensor) -> Tensor:
        """rows_BNC : (B, N, width), neighbours_BNk : int64 indices of rows. Returns (B, N, wider)."""
        own, other = self.linear.weight.chunk(2, dim=1)
        centre_BNC = functional.linear(rows_BNC, own - other)
        ahead_BNC = functional.linear(rows_BNC, other)
        mean, variance = self._statistics(centre_BNC, ahead_BNC, neighbours_BNk)
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        sign = torch.where(scale < 0, -1.0, 1.0).to(ahead_BNC.dtype)
        largest_BNC = bag_maximum(ahead_BNC * sign, neighbours_BNk) * sign
        normed = (centre_BNC + largest_BNC - mean) * scale + self.norm.bias
        return functional.leaky_relu(normed, self.negative_slope)

    def _statistics(self, centre_BNC: Tensor, ahead_BNC: Tensor, neighbours_BNk: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of every channel over all edges, or the running ones in eval mode."""
        running = dict(self.norm.named_buffers())
        if not self.training:
            return running["running_mean"], running["running_var"]
        with full_precision(centre_BNC):
            mean, variance, edges = edge_statistics(full(centre_BNC), full(ahead_BNC), neighbours_BNk)
            with torch.no_grad():
                running["num_batches_tracked"] += 1
                running["running_mean"].lerp_(mean, _MOMENTUM)
                running["running_var"].lerp_(variance * (edges / (edges - 1)), _MOMENTUM)
        return mean, variance


class DeepEdgeConvolution(nn.Module):
    """Several layers on every edge, then the maximum: DGCNN's first two blocks for parts. Its edges are all made."""

    def __init__(self, width: int, widths: Sequence[int], negative_slope: float = 0.2) -> None:
        super().__init__()
        self.own, self.other = (nn.Linear(width, widths[0], bias=False) for _ in range(2))
        layers: list[nn.Module] = [nn.BatchNorm1d(widths[0]), nn.LeakyReLU(negative_slope, inplace=True)]
        for narrow, wide in itertools.pairwise(widths):
            norm, bend = nn.BatchNorm1d(wide), nn.LeakyReLU(negative_slope, inplace=True)
            layers += [nn.Linear(narrow, wide, bias=False), norm, bend]
        self.layers = nn.Sequential(*layers)

    def forward(self, rows_BNC: Tensor, neighbours_BNk: Tensor) -> Tensor:
        """As ``EdgeConvolution``: ``own`` acts on x_i and ``other`` on x_j - x_i."""
        ahead_BNC = self.other(rows_BNC)
        edges_BNkC = (self.own(rows_BNC) - ahead_BNC)[:, :, None] + gather_rows(ahead_BNC, neighbours_BNk)
        return max_pool(self.layers(edges_BNkC.flatten(0, 2)).unflatten(0, (-1, neighbours_BNk.shape[2]))).unflatten(
            0, neighbours_BNk.shape[:2]
        )


def edge_statistics(centre_BNC: Tensor, ahead_BNC: Tensor, neighbours_BNk: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean (C,) and biased variance (C,) of centre_i + ahead_j over all edges i -> j, and the number of edges.

    Both are moved to mean 0 first: the sums of squares then lose no digits to a common offset.
    """
    batch, num_points, count = neighbours_BNk.shape
    edges = batch * num_points * count
    in_degree = _in_degree(neighbours_BNk).to(ahead_BNC.dtype)
    centre_mean = centre_BNC.mean(dim=(0, 1))
    ahead_mean = torch.einsum("bn,bnc->c", in_degree, ahead_BNC) / edges
    centre, ahead = centre_BNC - centre_mean, ahead_BNC - ahead_mean
    squares = count * centre.square().sum(dim=(0, 1)) + torch.einsum("bn,bnc->c", in_degree, ahead.square())
    crossed = (centre * bag_sum(ahead, neighbours_BNk)).sum(dim=(0, 1))
    return centre_mean + ahead_mean, (squares + 2.0 * crossed) / edges, edges


def _in_degree(neighbours_BNk: Tensor) -> Tensor:
    """How many edges end at each point, (B, N)."""
    batch, num_points, _ = neighbours_BNk.shape
    flat = neighbours_BNk.flatten(1)
    return torch.zeros(batch, num_points, dtype=torch.int64, device=flat.device).scatter_add_(
        1, flat, torch.ones_like(flat)
    )
