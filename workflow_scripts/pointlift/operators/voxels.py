"""Batches of points in the voxels of grids, equal to ``geometry.voxels`` cloud by cloud.

N points of all B clouds together, M occupied voxels of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pointlift.operators.kernel_maps import Levels
from pointlift.operators.segments import reduce_segments
from pointlift.operators.sparse_tensor import SparseTensor
from pointlift.operators.voxel_keys import pack

_LARGEST = 2.0**52  # of what float64 holds every whole number


@dataclass(frozen=True)
class Voxels:
    """The occupied voxels of a batch.

    levels : the voxels, for sparse convolutions. inverse : (N,) int64 the voxel of each point. order : (N,) int64 the
    points by voxel, within one by x, y, z. counts : (M,) int64 points of each voxel. squared_distance : (N,) float64
    from each point to the middle of its voxel, in voxels.
    """

    levels: Levels
    inverse: Tensor
    order: Tensor
    counts: Tensor
    squared_distance: Tensor

    @property
    def coordinates(self) -> Tensor:
        """(M, 4) int32 [batch, x, y, z], ascending, each once."""
        return self.levels.coordinates(1)

    @cached_property
    def representatives(self) -> Tensor:
        """One point for each voxel, (M,) int64: the one nearest to its middle, of equals the least in x, y, z."""
        return self._first_of(self.squared_distance)

    @cached_property
    def first(self) -> Tensor:
        """The point of each voxel that stands first in the batch, (M,) int64, as Image2Point's authors take it."""
        return self._first_of(torch.arange(len(self.order), device=self.order.device))

    def mean(self, values_NC: Tensor) -> Tensor:
        """The mean of the values of each voxel's points, (M, C); summed in float32 or better."""
        return reduce_segments(values_NC.index_select(0, self.order), self.counts, "mean")

    def tensor(self, rows_MC: Tensor) -> SparseTensor:
        """Rows of the voxels as a sparse tensor of stride 1."""
        return SparseTensor(rows_MC, self.levels)

    def spread(self, tensor: SparseTensor) -> Tensor:
        """The row of every point's voxel, (N, C). ``tensor`` must lie at these voxels."""
        if tensor.stride != 1 or len(tensor.rows) != len(self.counts):
            raise ValueError(f"{len(tensor.rows)} rows of stride {tensor.stride} for {len(self.counts)} voxels")
        return tensor.rows.index_select(0, self.inverse)

    def _first_of(self, rank_N: Tensor) -> Tensor:
        """The point of least rank in each voxel."""
        by_rank = self.order[rank_N[self.order].argsort(stable=True)]
        by_voxel = by_rank[self.inverse[by_rank].argsort(stable=True)]
        return by_voxel[self.counts.cumsum(0) - self.counts]


def voxelise_clouds(points_BN3: Tensor, voxel_size: float, from_minimum: bool = True) -> Voxels:
    """As ``voxelise``, for clouds of one length: point n of cloud b is row b * N + n."""
    batch_size, num_points, _ = points_BN3.shape
    cloud = torch.arange(batch_size, device=points_BN3.device).repeat_interleave(num_points)
    return voxelise(points_BN3.flatten(0, 1), cloud, batch_size, voxel_size, from_minimum)


@torch.no_grad()
def voxelise(
    points_N3: Tensor, cloud_N: Tensor, batch_size: int, voxel_size: float, from_minimum: bool = True
) -> Voxels:
    """The voxels of points of several clouds; computed in float64, as ``geometry.voxels.voxelise`` for each cloud.

    cloud_N : int64, which cloud of the batch each point belongs to, in any order. Which voxel a point falls into
    carries no gradient. Raises ``ValueError`` for a voxel size that is not above 0, points that are not finite, and
    clouds or voxels outside what ``voxel_keys.pack`` takes.
    """
    if not voxel_size > 0.0:
        raise ValueError(f"voxel_size is {voxel_size}, must be above 0")
    if points_N3.ndim != 2 or points_N3.shape[1] != 3 or cloud_N.shape != points_N3.shape[:1]:
        raise ValueError(f"points {tuple(points_N3.shape)} of clouds {tuple(cloud_N.shape)}: must be (N, 3) and (N,)")
    if len(cloud_N) and (int(cloud_N.min()) < 0 or int(cloud_N.max()) >= batch_size):
        raise ValueError(f"clouds {int(cloud_N.min())} to {int(cloud_N.max())} of a batch of {batch_size}")
    places = points_N3.double() / voxel_size
    if not (places.abs() < _LARGEST).all():
        raise ValueError("a point is not finite, or too far away for voxels of this size")
    middle = places.round()
    grid = middle.long()
    if from_minimum:
        low = torch.zeros(batch_size, 3, dtype=torch.int64, device=grid.device)
        low = low.scatter_reduce(0, cloud_N[:, None].expand(-1, 3), grid, "amin", include_self=False)
        grid = grid - low[cloud_N]
    keys = pack(torch.cat([cloud_N.long()[:, None], grid], dim=1))
    order = torch.arange(len(keys), device=keys.device)
    for column in (places[:, 2], places[:, 1], places[:, 0], keys):
        order = order[column[order].argsort(stable=True)]
    voxels, inverse, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    ahead = places - middle
    squared = ahead[:, 0] * ahead[:, 0] + ahead[:, 1] * ahead[:, 1] + ahead[:, 2] * ahead[:, 2]
    return Voxels(Levels(voxels, batch_size), inverse, order, counts, squared)
