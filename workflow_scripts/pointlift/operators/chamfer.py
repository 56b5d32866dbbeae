"""How far two sets of points are from each other, for whole batches of pairs of sets."""

from __future__ import annotations

from torch import Tensor

from pointlift.operators.neighbours import gather_rows, squared_distances
from pointlift.operators.precision import full, full_precision


def chamfer_distance(one_BN3: Tensor, other_BM3: Tensor) -> Tensor:
    """Squared Chamfer distance of each pair of sets, (B,), float32 or better, in squared units of the points.

    mean_i min_j |a_i - b_j|^2 + mean_j min_i |a_i - b_j|^2 (Fan, Su, Guibas, CVPR 2017, with means for sums; Point-MAE,
    Pang et al., ECCV 2022, equation 5). Who is nearest carries no gradient; the distance to it does, on both sides.
    """
    one, other = full(one_BN3), full(other_BM3)
    squared_BNM = squared_distances(one, other)
    return _to_nearest(one, other, squared_BNM.argmin(dim=2)) + _to_nearest(other, one, squared_BNM.argmin(dim=1))


def _to_nearest(from_BN3: Tensor, to_BM3: Tensor, nearest_BN: Tensor) -> Tensor:
    """Mean over the points of one set of the squared distance to the point named for each, (B,)."""
    with full_precision(from_BN3):
        return (from_BN3 - gather_rows(to_BM3, nearest_BN)).square().sum(dim=2).mean(dim=1)
