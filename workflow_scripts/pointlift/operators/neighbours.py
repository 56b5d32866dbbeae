"""Farthest points, nearest points and balls of points, for whole batches, in torch alone.

Equal to the float64 references in ``geometry`` and scipy; no extension is compiled. Which points are chosen carries no
gradient. Ties go to the lowest index, so that one input gives one answer whatever the device.
"""

from __future__ import annotations

from typing import Literal

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from pointlift.operators.bags import bag_sum
from pointlift.operators.precision import full, full_precision

_AT_ONCE = 2**24  # distances held in memory at a time: 64 MB of float32, and as much again while they are summed
_TREE_PAYS = 2**17  # distances of a cloud, on a processor, from which a k-d tree finds the nearest points sooner
_SPARE = 4  # candidates beyond those asked for: they settle ties and what rounding turns round
_HOLE = 1e-3  # squared radius about the origin in which pointnet2_ops takes no centre
CentreRule = Literal["farthest", "first", "farthest_off_origin"]
_EXACT_WIDTH = 8  # up to this width distances are summed coordinate by coordinate, as the matrix product cancels digits


@torch.no_grad()
def farthest_point_sample(points_BN3: Tensor, count: int, start: int = 0, hole: float = 0.0) -> Tensor:
    """Indices (B, count) int64 of farthest point sampling: each next point is farthest from all chosen before it.

    Begins at point ``start`` of every cloud (Eldar et al. 1997; PointNet++, Qi et al., NeurIPS 2017, section 3.2).
    hole : points whose squared distance to the origin is at most this, where it is above 0, are never taken after that.
    Raises ``ValueError`` when a cloud has fewer points.
    """
    batch, num_points, _ = points_BN3.shape
    if not 0 < count <= num_points:
        raise ValueError(f"{count} of {num_points} points were asked for")
    planes_3BN = points_BN3.detach().permute(2, 0, 1).contiguous()
    chosen = torch.full((batch, count), start, dtype=torch.int64, device=points_BN3.device)
    nearest_BN = torch.full_like(planes_3BN[0], torch.inf)
    if hole > 0.0:
        nearest_BN.masked_fill_(planes_3BN.square().sum(dim=0) <= hole, -1.0)  # no minimum is below it
    for step in range(1, count):
        last_3B1 = planes_3BN.gather(2, chosen[None, :, step - 1 : step].expand(3, -1, -1))
        torch.minimum(nearest_BN, (planes_3BN - last_3B1).square_().sum(dim=0), out=nearest_BN)
        chosen[:, step] = nearest_BN.argmax(dim=1)
    return chosen


def choose_centres(points_BN3: Tensor, count: int, rule: CentreRule) -> Tensor:
    """Indices (B, count) int64 of centres. farthest : ``farthest_point_sample``. first : the first points of the cloud.
    farthest_off_origin : as farthest, but for points within 0.0316 of the origin, which the CUDA code that most
    publications share passes over.

    Of clouds stored ``farthest_first`` (``geometry.sampling.stored_order``) both are the same points, but for rounding:
    as they are stored, and rotated, scaled evenly or shifted. With a scale for each axis or with jitter, ``first`` is
    near to it. Raises ``ValueError`` when a cloud has fewer points.
    """
    if rule != "first":
        return farthest_point_sample(points_BN3, count, hole=_HOLE if rule == "farthest_off_origin" else 0.0)
    batch, num_points, _ = points_BN3.shape
    if not 0 < count <= num_points:
        raise ValueError(f"{count} of {num_points} points were asked for")
    return torch.arange(count, device=points_BN3.device).repeat(batch, 1)


@torch.no_grad()
def squared_distances(query_BMC: Tensor, points_BNC: Tensor) -> Tensor:
    """Squared Euclidean distances (B, M, N), float32 or better, never below 0.

    Equal rows of up to 8 columns have exactly 0. Wider rows go through one matrix product: their rounding errors grow
    with the distance from the origin.
    """
    query, points = full(query_BMC), full(points_BNC)
    if query.shape[2] <= _EXACT_WIDTH:
        columns = zip(query.unbind(2), points.unbind(2), strict=True)
        first, second = next(columns)
        total = (first[:, :, None] - second[:, None, :]).square_()
        for first, second in columns:
            total += (first[:, :, None] - second[:, None, :]).square_()
        return total
    lengths = query.square().sum(2)[:, :, None] + points.square().sum(2)[:, None, :]
    with full_precision(lengths):
        return torch.baddbmm(lengths, query, points.mT, alpha=-2.0).clamp_min_(0.0)


@torch.no_grad()
def nearest_neighbours(query_BMC: Tensor, points_BNC: Tensor, count: int) -> Tensor:
    """Indices (B, M, count) int64 of each query's nearest points, nearest first; a query among the points is its own.

    Raises ``ValueError`` when there are fewer points.
    """
    if not 0 < count <= points_BNC.shape[1]:
        raise ValueError(f"{count} neighbours of {points_BNC.shape[1]} points were asked for")
    return _nearest_of(query_BMC, points_BNC, count)[1]


@torch.no_grad()
def ball_query(query_BM3: Tensor, points_BN3: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, M, count) int64 of up to ``count`` points within ``radius`` of each query, nearest first.

    Places that are left over repeat the nearest point, which stands even where it is farther than ``radius``.
    PointNet++ (section 3.2) takes any points of the ball; the nearest ones do not depend on the order of the cloud.
    """
    squared, index = _nearest_of(query_BM3, points_BN3, min(count, points_BN3.shape[1]))
    index = torch.where(squared <= radius * radius, index, index[..., :1])
    missing = count - index.shape[2]
    return torch.cat([index, index[..., :1].expand(-1, -1, missing)], dim=2) if missing else index


@torch.no_grad()
def first_in_ball(query_BM3: Tensor, points_BN3: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, M, count) int64 of the first ``count`` points of the cloud within ``radius`` of each query.

    Left-over places repeat the first of them. Unlike those of ``ball_query`` they depend on the order of the cloud:
    it is what widely used code does. A query whose ball is empty takes its nearest point.
    """
    num_points = points_BN3.shape[1]
    squared = squared_distances(query_BM3, points_BN3)
    places = torch.arange(num_points, device=points_BN3.device, dtype=torch.int32)
    inside = torch.where(squared <= radius * radius, places, num_points)
    index = inside.topk(min(count, num_points), dim=2, largest=False, sorted=True).values.long()
    first = torch.where(index[..., :1] == num_points, squared.argmin(dim=2, keepdim=True), index[..., :1])
    index = torch.where(index == num_points, first, index)
    missing = count - index.shape[2]
    return torch.cat([index, first.expand(-1, -1, missing)], dim=2) if missing else index


def _nearest_of(query_BMC: Tensor, points_BNC: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indices (B, M, count) of the nearest points; so many queries at a time that memory holds.

    The matrix of all distances of 1,024 queries among 20,000 points would be 80 MB a cloud, before the sorting. Large
    clouds on a processor go through a k-d tree, to the same bits.
    """
    num_clouds, num_queries, num_points = len(query_BMC), query_BMC.shape[1], points_BNC.shape[1]
    if _suits_tree(query_BMC, points_BNC, count):
        found = [_nearest_by_tree(query, cloud, count) for query, cloud in zip(query_BMC, points_BNC, strict=True)]
        return torch.stack([values for values, _ in found]), torch.stack([index for _, index in found])
    if num_clouds * num_queries * num_points <= _AT_ONCE or query_BMC.shape[2] > _EXACT_WIDTH:
        return _nearest(squared_distances(query_BMC, points_BNC), count)
    found = [_nearest_by_parts(query, cloud, count) for query, cloud in zip(query_BMC, points_BNC, strict=True)]
    return torch.stack([values for values, _ in found]), torch.stack([index for _, index in found])


def _nearest_by_parts(query_MC: Tensor, points_NC: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What ``_nearest`` finds for one cloud, (values, indices) (M, count), in no more memory than ``_AT_ONCE`` says."""
    rows = max(1, _AT_ONCE // len(points_NC))
    parts = [_nearest(squared_distances(part[None], points_NC[None]), count) for part in query_MC.split(rows)]
    return torch.cat([values[0] for values, _ in parts]), torch.cat([index[0] for _, index in parts])


def _suits_tree(query_BMC: Tensor, points_BNC: Tensor, count: int) -> bool:
    """Finite float32 points of space on a processor, and enough of them."""
    num_queries, num_points = query_BMC.shape[1], points_BNC.shape[1]
    return (
        num_queries * num_points >= _TREE_PAYS
        and num_points >= max(4 * count, count + _SPARE)
        and points_BNC.shape[2] == 3
        and all(x.device.type == "cpu" and x.dtype == torch.float32 for x in (query_BMC, points_BNC))
        and bool(torch.isfinite(query_BMC).all() and torch.isfinite(points_BNC).all())
    )


def _nearest_by_tree(query_M3: Tensor, points_N3: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What ``_nearest`` finds for one cloud, (values, indices) (M, count), bit for bit.

    The tree (Bentley 1975) gives candidates by float64 distances; they are sorted by our float32 ones, equals by index.
    These differ by a millionth at most: five roundings of 6e-8 each, and what is too small to be squared. So a point
    left out can matter only where the farthest candidate is no farther than that beyond the last one taken: such rows
    are searched whole, and so are those whose squares float32 cannot hold, which are infinite there.
    """
    query, points = query_M3.detach(), points_N3.detach()
    tree = cKDTree(points.numpy(), balanced_tree=False, compact_nodes=False)
    apart, candidates = tree.query(query.numpy(), k=count + _SPARE)
    index = torch.from_numpy(candidates).sort(dim=1).values
    squared, order = squared_distances(query[:, None], points[index]).squeeze(1).sort(dim=1, stable=True)
    squared, index = squared[:, :count].contiguous(), index.gather(1, order)[:, :count]
    left_out = torch.from_numpy(apart[:, -1] ** 2 * (1.0 - 1e-6) - 1e-30)
    unsure = left_out <= squared[:, -1]
    if unsure.any():
        squared[unsure], index[unsure] = _nearest_by_parts(query[unsure], points, count)
    return squared, index


def _nearest(squared_BMN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest of each row, ascending, equal ones by their index: (values, indices)."""
    beyond = min(count + 1, squared_BMN.shape[2])  # one more shows whether the last one taken has an equal left out
    values, index = squared_BMN.topk(beyond, dim=2, largest=False, sorted=True)
    tied = (values.diff(dim=2) == 0).any(dim=2)
    if tied.any():  # topk says nothing about the order of equals; all rows have some in clouds filled up with repeats
        values[tied], index[tied] = _first_of_equals(squared_BMN[tied], beyond)
    return values[..., :count], index[..., :count]


def _first_of_equals(squared_XN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What ``_nearest`` finds in rows that have equals."""
    if squared_XN.dtype != torch.float32:
        values, index = squared_XN.sort(dim=1, stable=True)
        return values[:, :count], index[:, :count]
    # Bits of numbers without a sign have the order of these; with the index behind them no two are equal. It is several
    # times faster than sorting rows whole.
    bits = squared_XN.abs().view(torch.int32).long()
    places = torch.arange(squared_XN.shape[1], device=squared_XN.device)
    keys = bits.mul_(2**32).add_(places).topk(count, dim=1, largest=False, sorted=True).values
    index = keys % 2**32
    return squared_XN.gather(1, index), index


def gather_rows(values_BNC: Tensor, index_BX: Tensor) -> Tensor:
    """Rows of each cloud by index (B, ...): (B, ..., C). The gradient adds up where a row was taken twice."""
    batch, num_rows, width = values_BNC.shape
    first = torch.arange(batch, device=index_BX.device).view(-1, *[1] * (index_BX.ndim - 1)) * num_rows
    flat = values_BNC.reshape(batch * num_rows, width).index_select(0, (index_BX + first).flatten())
    return flat.view(*index_BX.shape, width)


def interpolate_rows(values_BMC: Tensor, places_BM3: Tensor, query_BN3: Tensor, count: int = 3) -> Tensor:
    """Values at other places, (B, N, C): the mean of the ``count`` nearest, weighted by inverse squared distance.

    PointNet++, equation 2, with p = 2 and k = 3; a query at a place takes its value alone. Fewer places: all of them.
    """
    index = nearest_neighbours(query_BN3, places_BM3, min(count, places_BM3.shape[1]))
    with torch.no_grad():
        ahead = gather_rows(places_BM3, index) - query_BN3[:, :, None]
        weight = 1.0 / ahead.square().sum(dim=3).clamp_min(torch.finfo(places_BM3.dtype).tiny ** 0.5)
        weight = weight / weight.sum(dim=2, keepdim=True)
    return bag_sum(values_BMC, index, weight)
