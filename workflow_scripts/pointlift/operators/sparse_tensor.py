"""A batch of voxel clouds: rows of numbers at occupied places, and nothing in between.

B clouds, M occupied voxels of all of them together, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pointlift.operators.kernel_maps import Levels
from pointlift.operators.voxel_keys import pack


@dataclass(frozen=True)
class SparseTensor:
    """rows : (M, C), one per occupied voxel, in ascending order of (batch, x, y, z).

    stride : edge of a voxel in voxels of the finest grid. levels : places and kernel maps, shared by every tensor that
    was computed from this one; a network's layers find there what an earlier layer made.
    """

    rows: Tensor
    levels: Levels
    stride: int = 1

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or len(self.rows) != len(self.levels.keys(self.stride)):
            voxels = len(self.levels.keys(self.stride))
            raise ValueError(f"rows {tuple(self.rows.shape)} do not fit {voxels} voxels: must be ({voxels}, C)")

    @property
    def coordinates(self) -> Tensor:
        """(M, 4) int32 [batch, x, y, z] on the finest grid: multiples of ``stride``."""
        return self.levels.coordinates(self.stride)

    @property
    def batch_size(self) -> int:
        """Clouds, those without a voxel too."""
        return self.levels.batch_size

    @property
    def counts(self) -> Tensor:
        """(B,) int64 voxels of each cloud."""
        return self.levels.counts(self.stride)

    def with_rows(self, rows_MC: Tensor) -> SparseTensor:
        """Other rows at the same places."""
        return SparseTensor(rows_MC, self.levels, self.stride)

    def each_row(self, layer: Callable[[Tensor], Tensor]) -> SparseTensor:
        """``layer`` over all rows of the batch together: an activation, a linear layer, dropout."""
        return self.with_rows(layer(self.rows))

    def join(self, other: SparseTensor) -> SparseTensor:
        """The channels of both, this one's first. Raises ``ValueError`` when they do not lie at the same places."""
        return self.with_rows(torch.cat([self.rows, other._rows_at(self)], dim=1))

    def add(self, other: SparseTensor) -> SparseTensor:
        """The sum of both. Raises ``ValueError`` when they do not lie at the same places."""
        return self.with_rows(self.rows + other._rows_at(self))

    def dense(self, size: int) -> Tensor:
        """(B, C, size, size, size), axes x, y, z; 0 where no voxel is. For tests and small grids.

        Raises ``ValueError`` when a voxel, counted in its own stride, is outside [0, size).
        """
        batch, *places = self.coordinates.long().unbind(1)
        places = [place.div(self.stride, rounding_mode="floor") for place in places]
        if any(((place < 0) | (place >= size)).any() for place in places):
            raise ValueError(f"a voxel is outside a grid of {size} voxels")
        grid = self.rows.new_zeros(self.batch_size, size, size, size, self.rows.shape[1])
        return grid.index_put((batch, *places), self.rows).movedim(4, 1)

    def _rows_at(self, other: SparseTensor) -> Tensor:
        keys, others = (tensor.levels.keys(tensor.stride) for tensor in (self, other))
        if self.stride != other.stride or (keys is not others and not torch.equal(keys, others)):
            raise ValueError("two sparse tensors do not lie at the same places")
        return self.rows


def sparse_tensor(coordinates_M4: Tensor, rows_MC: Tensor, batch_size: int, stride: int = 1) -> SparseTensor:
    """Rows at voxels [batch, x, y, z] in any order, sorted: the same tensor whatever the order was.

    Raises ``ValueError`` for two rows at one voxel (``voxelise`` merges them), a cloud number not below
    ``batch_size``, a coordinate that is no multiple of ``stride`` or beyond what ``voxel_keys.pack`` takes.
    """
    keys, order = pack(coordinates_M4).sort(stable=True)
    if len(rows_MC) != len(keys):
        raise ValueError(f"{len(rows_MC)} rows for {len(keys)} voxels")
    if len(keys):
        repeated = int((keys.diff() == 0).sum())
        if repeated:
            raise ValueError(f"{repeated} voxels stand there twice; merge them with operators.voxels.voxelise")
        if int(coordinates_M4[:, 0].max()) >= batch_size:
            raise ValueError(f"a voxel belongs to cloud {int(coordinates_M4[:, 0].max())} of a batch of {batch_size}")
        if stride > 1 and (coordinates_M4[:, 1:] % stride != 0).any():
            raise ValueError(f"a coordinate is no multiple of the stride {stride}")
    return SparseTensor(rows_MC.index_select(0, order), Levels(keys, batch_size, stride), stride)
