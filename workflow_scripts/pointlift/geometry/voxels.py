"""Points in the voxels of a grid: the reference of ``operators.voxels``. Float64, no I/O.

Nothing here but ``representatives(first=True)`` depends on the order of the points. (Of points at one and the same
place with different values, the means may differ in their last digit.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array

_BEYOND = 2.0**31  # coordinates are int32


@dataclass(frozen=True)
class Voxels:
    """The occupied voxels of one cloud of n points.

    coordinates : (m, 3) int32, each once, ascending by x, then y, then z. inverse : (n,) int64 the voxel of each point.
    order : (n,) int64 the points by voxel, within one by x, y, z. counts : (m,) int64 points of each voxel.
    squared_distance : (n,) float64 from each point to the middle of its voxel, in voxels.
    """

    coordinates: Array
    inverse: Array
    order: Array
    counts: Array
    squared_distance: Array

    @property
    def starts(self) -> Array:
        """Where each voxel begins in ``order``, (m,)."""
        starts: Array = np.cumsum(self.counts) - self.counts
        return starts

    def representatives(self, first: bool = False) -> Array:
        """One point for each voxel, (m,) int64: the one nearest to its middle, of equals the least in x, y, z.

        ``first`` takes the one that stands first in the cloud, as Image2Point's authors do.
        """
        if first:
            return np.minimum.reduceat(self.order, self.starts) if len(self.counts) else self.order
        nearest = np.lexsort((self.squared_distance[self.order], self.inverse[self.order]))[self.starts]
        found: Array = self.order[nearest]
        return found

    def mean(self, values: Array) -> Array:
        """The mean of the values (n, c) of each voxel's points, (m, c) float64."""
        if not len(self.counts):
            return np.zeros((0, values.shape[1]))
        summed = np.add.reduceat(values[self.order].astype(np.float64), self.starts, axis=0)
        mean: Array = summed / self.counts[:, None]
        return mean


def voxelise(points: Array, voxel_size: float, from_minimum: bool = True) -> Voxels:
    """The voxels of points (n, 3): round(point / voxel_size), halves to the even number, less the cloud's minimum.

    The rounding is Image2Point's; the middle of voxel c lies at c * voxel_size. Without ``from_minimum`` the
    coordinates keep the origin of the points and may be negative. Raises ``ValueError`` for a voxel size that is not
    above 0, ``UnusableShapeError`` for points that are not finite or span more than 2^31 voxels.
    """
    if not voxel_size > 0.0:
        raise ValueError(f"voxel_size is {voxel_size}, must be above 0")
    places = np.asarray(points, dtype=np.float64) / voxel_size
    if places.ndim != 2 or places.shape[1] != 3:
        raise UnusableShapeError(f"points have the shape {places.shape}, must be (n, 3)")
    if not np.isfinite(places).all():
        raise UnusableShapeError("a point is not finite")
    middle = np.rint(places)
    low = middle.min(axis=0) if from_minimum and len(places) else np.zeros(3)
    if len(places) and np.abs(middle - low).max() >= _BEYOND:
        raise UnusableShapeError(f"the cloud spans more than 2^31 voxels of {voxel_size:g}; take larger ones")
    grid = (middle - low).astype(np.int32)
    order = np.lexsort((*places.T[::-1], *grid.T[::-1]))
    begins = np.r_[True, (np.diff(grid[order], axis=0) != 0).any(axis=1)][: len(grid)]
    inverse = np.empty(len(grid), dtype=np.int64)
    inverse[order] = np.cumsum(begins) - 1
    ahead = places - middle
    squared = ahead[:, 0] * ahead[:, 0] + ahead[:, 1] * ahead[:, 1] + ahead[:, 2] * ahead[:, 2]
    coordinates = grid[order[begins]]
    return Voxels(coordinates, inverse, order, np.bincount(inverse, minlength=len(coordinates)), squared)
