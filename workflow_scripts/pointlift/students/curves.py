"""Curves through a cloud: walks over a neighbour graph that learn where to go, and what every point takes from them.

Xiang, Zhang, Song, Yu, Cai, "Walk in the Cloud: Learning Curves for Point Clouds Shape Analysis", ICCV 2021: curve
grouping with dynamic momentum and crossover suppression, and curve aggregation. Letters beside those of the house:
m curves, l points along a curve, k neighbours. The paper's text was not at hand: its steps are recalled, not checked
against it; what that left open is named as chosen where it stands.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.operators.layers import per_row
from pointlift.operators.neighbours import gather_rows
from pointlift.operators.precision import full

NEGATIVE_SLOPE = 0.2
"""Of every LeakyReLU of the network."""
_LEAST_MULTIPLIER = 1e-6  # a walk whose neighbours all lie straight behind it still goes somewhere


class Walks(NamedTuple):
    """The cloud and the curves through it."""

    rows: Tensor
    """(B, N, C), of all points, each times its score as a start."""
    curves: Tensor
    """(B, m, l, C): rows of the points along each curve."""
    path: Tensor
    """(B, m, l) int64: which points these are."""


class CurveGrouping(nn.Module):
    """Curves that begin at the points of the highest score and go on to the neighbour that a small network prefers.

    With p the row of the point where a curve stands and r the curve's descriptor (r = p at the start):
    a neighbour j scores v LeakyReLU(W [f_j, r]); momentum blends (a, b) = softmax(U [r, p]), r <- a r + b p.
    Chosen: the state that is scored is [neighbour, descriptor], by a hidden layer (a single one would not see r: it is
    the same for all neighbours), without batch norm; a curve's length counts its start; nothing forbids a point twice.
    """

    def __init__(self, width: int, num_curves: int, length: int) -> None:
        super().__init__()
        self.num_curves, self.length = num_curves, length
        self.start = nn.Linear(width, 1)
        self.neighbour = nn.Linear(width, width)
        self.descriptor = nn.Linear(width, width, bias=False)
        self.preference = nn.Linear(width, 1, bias=False)
        self.momentum = nn.Linear(2 * width, 2)

    def forward(self, rows_BNC: Tensor, neighbours_BNk: Tensor) -> Walks:
        """rows_BNC : (B, N, width); neighbours_BNk : int64, where a walk can go from each point.

        In training the steps are drawn (torch's global generator); in eval mode the best neighbour is taken.
        """
        score_BN1 = torch.sigmoid(self.start(rows_BNC))
        first_Bm = score_BN1.detach()[:, :, 0].argsort(dim=1, descending=True, stable=True)[:, : self.num_curves]
        rows_BNC = rows_BNC * score_BN1  # the choice of the best carries no gradient: this is how the score learns
        return self._walk(rows_BNC, neighbours_BNk, first_Bm)

    def _walk(self, rows_BNC: Tensor, neighbours_BNk: Tensor, at_Bm: Tensor) -> Walks:
        known_BNC = self.neighbour(rows_BNC)  # W [f, r] = W_f f + W_r r, the first once per point
        here_BmC = gather_rows(rows_BNC, at_Bm)
        descriptor_BmC, direction_BmC = here_BmC, None
        path, found = [at_Bm], [here_BmC]
        while len(path) < self.length:
            ahead_Bmk = gather_rows(neighbours_BNk.flatten(2), at_Bm)
            ahead_BmkC = gather_rows(rows_BNC, ahead_Bmk)
            hidden_BmkC = gather_rows(known_BNC, ahead_Bmk) + self.descriptor(descriptor_BmC)[:, :, None]
            score_Bmk = full(self.preference(functional.leaky_relu(hidden_BmkC, NEGATIVE_SLOPE))[..., 0])
            if direction_BmC is not None:
                multiplier = crossover_multiplier(direction_BmC, ahead_BmkC - here_BmC[:, :, None])
                score_Bmk = score_Bmk + multiplier.clamp_min(_LEAST_MULTIPLIER).log()
            taken_Bm, here_BmC = take_step(score_Bmk, ahead_BmkC, draw=self.training)
            at_Bm = ahead_Bmk.gather(2, taken_Bm[..., None])[..., 0]
            path.append(at_Bm)
            found.append(here_BmC)
            if len(path) < self.length:
                direction_BmC = here_BmC - descriptor_BmC
                descriptor_BmC = self._blend(descriptor_BmC, here_BmC)
        return Walks(rows_BNC, torch.stack(found, dim=2), torch.stack(path, dim=2))

    def _blend(self, descriptor_BmC: Tensor, here_BmC: Tensor) -> Tensor:
        """Dynamic momentum: a learnt convex blend of what the curve was and where it stands."""
        share_Bm2 = self.momentum(torch.cat([descriptor_BmC, here_BmC], dim=2)).softmax(dim=2)
        return share_Bm2[..., :1] * descriptor_BmC + share_Bm2[..., 1:] * here_BmC


@torch.no_grad()
def crossover_multiplier(direction_BmC: Tensor, ahead_BmkC: Tensor) -> Tensor:
    """1 + cos of the angle between where a curve goes and where each neighbour lies, at most 1: (B, m, k) in [0, 1].

    Crossover suppression: 1 up to a right angle, falling to 0 straight back; 1 where either vector is 0. Both are
    differences of rows (of the point and the descriptor before it; of the neighbour and the point). It scales a
    neighbour's softmax weight: scaling a score would favour a neighbour whose score is negative. That, the space of the
    vectors, and that no gradient goes through it are chosen.
    """
    cosine_Bmk = functional.cosine_similarity(full(direction_BmC)[:, :, None], full(ahead_BmkC), dim=3)
    return (1.0 + cosine_Bmk).clamp(0.0, 1.0)


def take_step(score_Bmk: Tensor, ahead_BmkC: Tensor, *, draw: bool) -> tuple[Tensor, Tensor]:
    """The neighbour of the best score, (B, m) of k, and its row (B, m, C): a straight-through Gumbel softmax.

    draw : Gumbel noise is added to the scores, so that each is taken with its softmax probability (temperature 1).
    Forward, the row is that of the one taken, exactly. Backward, the scores see the softmax-weighted mean of all, and
    the row's gradient goes to the one taken (Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax",
    ICLR 2017, section 2.2).
    """
    if draw:
        score_Bmk = score_Bmk - torch.empty_like(score_Bmk).exponential_().log()
    taken_Bm = score_Bmk.argmax(dim=2)
    index_BmkC = taken_Bm[..., None, None].expand(-1, -1, 1, ahead_BmkC.shape[3])
    row_BmC = ahead_BmkC.gather(2, index_BmkC)[:, :, 0]
    weight_Bmk = score_Bmk.softmax(dim=2).to(ahead_BmkC.dtype)
    nothing_Bmk = weight_Bmk - weight_Bmk.detach()  # 0, with the gradient of the weights
    return taken_Bm, row_BmC + (nothing_Bmk[..., None] * ahead_BmkC.detach()).sum(dim=2)


class CurveAggregation(nn.Module):
    """Every point attends to curves as wholes (inter) and to the stations along all curves (intra).

    y = LeakyReLU(f + norm(W [softmax(q K_inter^T) V_inter, softmax(q K_intra^T) V_intra])), q, K, V linear.
    Chosen: one score per point for the attentive pooling, one query for both relations, no narrower width inside, no
    scale on the products.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.inter = Relation(width, along=2)
        self.intra = Relation(width, along=1)
        self.merge = nn.Linear(2 * width, width, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, rows_BNC: Tensor, curves_BmlC: Tensor) -> Tensor:
        """(B, N, C), of the same width."""
        query_BNC = self.query(rows_BNC)
        relations = [self.inter(query_BNC, curves_BmlC), self.intra(query_BNC, curves_BmlC)]
        merged_BNC = self.merge(torch.cat(relations, dim=2))
        return functional.leaky_relu(rows_BNC + per_row(self.norm, merged_BNC), NEGATIVE_SLOPE)


class Relation(nn.Module):
    """Attention from points to curves that are pooled along one axis: 2 gives one row a curve, 1 one a station."""

    def __init__(self, width: int, along: int) -> None:
        super().__init__()
        self.along = along
        self.score = nn.Linear(width, 1, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, query_BNC: Tensor, curves_BmlC: Tensor) -> Tensor:
        """(B, N, C)."""
        pooled_BXC = (self.score(curves_BmlC).softmax(dim=self.along) * curves_BmlC).sum(dim=self.along)
        weight_BNX = (query_BNC @ self.key(pooled_BXC).mT).softmax(dim=2)
        return weight_BNX @ self.value(pooled_BXC)
