"""Random voxel clouds, and the dense convolutions that sparse ones must equal."""

import torch
from torch.nn import functional

from pointlift.operators.sparse_tensor import SparseTensor, sparse_tensor


def random_tensor(size=7, batch=2, channels=3, share=0.2, seed=0, dtype=torch.float64) -> SparseTensor:
    """Occupied voxels of a grid, its corners among them, with random rows."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(batch, size, size, size, generator=generator) < share
    occupied[0, 0, 0, 0] = occupied[-1, -1, -1, -1] = True
    coordinates = occupied.nonzero()
    rows = torch.randn(len(coordinates), channels, dtype=dtype, generator=generator)
    return sparse_tensor(coordinates, rows, batch)


def dense_at(grid: torch.Tensor, tensor: SparseTensor) -> torch.Tensor:
    """What a dense result (B, C, x, y, z), one cell per voxel of the tensor's level, holds at its voxels."""
    batch, x, y, z = tensor.coordinates.long().unbind(1)
    return grid[batch, :, x // tensor.stride, y // tensor.stride, z // tensor.stride]


def dense_convolution(tensor, weight, kernel_size, stride, size):
    """Conv3d on the grid with zeros where no voxel is: odd kernels centred, even ones reading ahead."""
    grid = tensor.dense(size)
    if kernel_size % 2:
        return functional.conv3d(grid, weight, stride=stride, padding=kernel_size // 2)
    ahead = (0, kernel_size - 1) * 3
    return functional.conv3d(functional.pad(grid, ahead), weight, stride=stride)
