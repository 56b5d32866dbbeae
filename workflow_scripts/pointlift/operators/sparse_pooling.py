"""Batch norm, and pooling over clouds and over the children of coarser voxels, of sparse tensors.

Rows of one voxel or cloud are brought together before they are summed: the same bits each time on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointlift.operators.segments import Reduction, reduce_segments
from pointlift.operators.sparse_tensor import SparseTensor


class SparseBatchNorm(nn.BatchNorm1d):
    """Batch norm over all active rows of the batch; empty places count for nothing. Parameters of ``BatchNorm1d``.

    While training, a batch of one single voxel has no variance: torch's ``ValueError`` says so.
    """

    def forward(self, tensor: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """A sparse tensor at the same places; one without voxels is given back as it is and leaves no statistics."""
        return tensor.with_rows(super().forward(tensor.rows)) if len(tensor.rows) else tensor


def pool_clouds(tensor: SparseTensor, reduction: Reduction) -> Tensor:
    """One row per cloud, (B, C): the sum, mean or maximum over its voxels; 0 for a cloud without any."""
    return reduce_segments(tensor.rows, tensor.counts, reduction)


def pool_children(tensor: SparseTensor, stride: int, reduction: Reduction) -> SparseTensor:
    """The sum, mean or maximum over the occupied children of each voxel of the level ``stride`` times coarser."""
    if stride == 1:
        return tensor
    parents = tensor.levels.parents(tensor.stride, stride)
    coarser = tensor.stride * stride
    counts = torch.zeros_like(tensor.levels.keys(coarser)).scatter_add_(0, parents, torch.ones_like(parents))
    gathered = tensor.rows.index_select(0, parents.argsort(stable=True))
    return SparseTensor(reduce_segments(gathered, counts, reduction), tensor.levels, coarser)
