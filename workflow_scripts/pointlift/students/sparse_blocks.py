"""Residual blocks of 2D networks on sparse voxels, with the 2D networks' names; stages made of them.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; in 3D as in Xu et al., "Image2Point", ECCV 2022,
section 3: every K x K convolution is K x K x K, batch norms are over occupied voxels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.errors import ConfigError
from pointlift.operators.image_networks import ImageArchitecture
from pointlift.operators.sparse_convolution import SparseConvolution3d
from pointlift.operators.sparse_pooling import SparseBatchNorm, pool_children
from pointlift.operators.sparse_tensor import SparseTensor
from pointlift.operators.voxels import Voxels, voxelise_clouds

#: What a voxel says of its points at the input of a network.
VoxelRows = Literal["mean", "nearest", "first", "offset", "occupancy"]


class SparseReLU(nn.Module):
    """The ReLU of every row."""

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """At the same places."""
        return tensor.each_row(functional.relu)


def convolved(width: int, wider: int, kernel_size: int, stride: int = 1, *, transposed: bool = False) -> nn.Sequential:
    """Convolution, batch norm and ReLU."""
    layer = SparseConvolution3d(width, wider, kernel_size, stride, transposed=transposed)
    return nn.Sequential(layer, SparseBatchNorm(wider), SparseReLU())


class SparseBasicBlock(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut: the row itself, or a convolution of ``shortcut_kernel``."""

    def __init__(self, width: int, wider: int, stride: int, shortcut_kernel: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = SparseConvolution3d(width, wider, 3, stride), SparseBatchNorm(wider)
        self.conv2, self.bn2 = SparseConvolution3d(wider, wider, 3), SparseBatchNorm(wider)
        self.downsample = _shortcut(width, wider, stride, shortcut_kernel)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Rows of ``width`` to rows >= 0 of ``wider``, at the level ``stride`` times coarser."""
        inner = self.bn1(self.conv1(tensor)).each_row(functional.relu)
        shortcut = tensor if self.downsample is None else self.downsample(tensor)
        return _joined(self.bn2(self.conv2(inner)), shortcut)


class SparsePaddedBlock(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut without parameters, as CIFAR networks have it.

    Where the level changes, the shortcut is the mean over the occupied children, between channels of zeros: on a sheet
    of voxels it is the average of the occupied pixels (images take every second pixel instead).
    """

    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, wider - width
        self.conv1, self.bn1 = SparseConvolution3d(width, wider, 3, stride), SparseBatchNorm(wider)
        self.conv2, self.bn2 = SparseConvolution3d(wider, wider, 3), SparseBatchNorm(wider)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """As ``SparseBasicBlock``."""
        inner = self.bn1(self.conv1(tensor)).each_row(functional.relu)
        kept = pool_children(tensor, self.stride, "mean")
        below = self.added // 2
        shortcut = kept.each_row(lambda rows: functional.pad(rows, (below, self.added - below)))
        return _joined(self.bn2(self.conv2(inner)), shortcut)


class SparseBottleneck(nn.Module):
    """1x1x1, 3x3x3 with the stride, 1x1x1 to four times the inner width, beside a shortcut as in the basic block."""

    def __init__(self, width: int, inner: int, stride: int, shortcut_kernel: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = SparseConvolution3d(width, inner, 1), SparseBatchNorm(inner)
        self.conv2, self.bn2 = SparseConvolution3d(inner, inner, 3, stride), SparseBatchNorm(inner)
        self.conv3, self.bn3 = SparseConvolution3d(inner, 4 * inner, 1), SparseBatchNorm(4 * inner)
        self.downsample = _shortcut(width, 4 * inner, stride, shortcut_kernel)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """As ``SparseBasicBlock``."""
        inner = self.bn1(self.conv1(tensor)).each_row(functional.relu)
        inner = self.bn2(self.conv2(inner)).each_row(functional.relu)
        shortcut = tensor if self.downsample is None else self.downsample(tensor)
        return _joined(self.bn3(self.conv3(inner)), shortcut)


def sparse_stages(architecture: ImageArchitecture, shortcut_kernel: int) -> dict[str, nn.Sequential]:
    """``layer1``, ``layer2`` .. of a 2D network in 3D; their tensors have the names of the 2D ones."""
    stages, width = {}, architecture.stem_width
    each = zip(architecture.blocks, architecture.widths, architecture.out_widths, architecture.strides, strict=True)
    for number, (blocks, inner, wider, stride) in enumerate(each, start=1):
        layers: list[nn.Module] = []
        for block in range(blocks):
            step = stride if block == 0 else 1
            if architecture.bottleneck:
                layers.append(SparseBottleneck(width, inner, step, shortcut_kernel))
            elif architecture.convolved_shortcuts:
                layers.append(SparseBasicBlock(width, wider, step, shortcut_kernel))
            else:
                layers.append(SparsePaddedBlock(width, wider, step))
            width = wider
        stages[f"layer{number}"] = nn.Sequential(*layers)
    return stages


def voxel_width(rows: VoxelRows) -> int:
    """Channels of ``voxel_rows``."""
    return {"occupancy": 1, "offset": 4}.get(rows, 3)


def voxel_rows(points_BN3: Tensor, voxel_size: float, rows: VoxelRows) -> tuple[Voxels, SparseTensor]:
    """Clouds in voxels, from each cloud's minimum on, and what each voxel says of its points.

    mean, nearest, first : a place, in unit-sphere radii: of all its points, of the one nearest to its middle, of the
    first in the cloud (the authors'). offset : 1 and the mean place in voxels, counted from its middle. occupancy : 1.
    Raises ``ConfigError`` for voxels too small for the clouds.
    """
    try:
        voxels, flat_N3 = voxelise_clouds(points_BN3, voxel_size), points_BN3.flatten(0, 1)
    except ValueError as error:
        raise ConfigError(f"student with voxel_size {voxel_size:g}: {error}") from None
    if rows == "occupancy":
        return voxels, voxels.tensor(flat_N3.new_ones(len(voxels.counts), 1))
    if rows == "offset":
        places = flat_N3.double() / voxel_size
        ahead = voxels.mean(places - places.round()).to(flat_N3.dtype)
        return voxels, voxels.tensor(torch.cat([ahead.new_ones(len(ahead), 1), ahead], dim=1))
    if rows == "mean":
        return voxels, voxels.tensor(voxels.mean(flat_N3))
    chosen = voxels.representatives if rows == "nearest" else voxels.first
    return voxels, voxels.tensor(flat_N3.index_select(0, chosen))


def point_rows(voxels: Voxels, tensor: SparseTensor, batch_size: int) -> Tensor:
    """For every point the row of the voxel of ``tensor``'s level that it lies in, (B, N, C)."""
    inside = voxels.inverse
    if tensor.stride > 1:
        inside = tensor.levels.parents(1, tensor.stride).index_select(0, inside)
    return tensor.rows.index_select(0, inside).unflatten(0, (batch_size, -1))


def _shortcut(width: int, wider: int, stride: int, kernel_size: int) -> nn.Sequential | None:
    if stride == 1 and width == wider:
        return None
    return nn.Sequential(SparseConvolution3d(width, wider, kernel_size, stride), SparseBatchNorm(wider))


def _joined(tensor: SparseTensor, shortcut: SparseTensor) -> SparseTensor:
    return tensor.add(shortcut).each_row(functional.relu)
