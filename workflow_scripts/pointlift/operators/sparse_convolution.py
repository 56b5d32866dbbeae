"""Convolution on occupied voxels alone: gather rows, multiply, add, one offset of the kernel after the other.

Graham, Engelcke, van der Maaten, "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks", CVPR 2018
(stride 1: active voxels stay the active ones). With stride s the active outputs are unique(floor(c / s)), so that the
active set is never dilated; "transposed" goes back to the voxels that the strided convolution came from.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pointlift.operators.kernel_maps import KernelMap
from pointlift.operators.precision import as_around, full
from pointlift.operators.sparse_tensor import SparseTensor
from pointlift.operators.spconv_backend import require_spconv, submanifold_convolution


class SparseConvolution3d(nn.Module):
    """A 3D convolution of a ``SparseTensor``.

    weight : (out, in, k, k, k), the kernel's axes in the order x, y, z of the coordinates: the weight of
    ``torch.nn.Conv3d`` on a grid [batch, channel, x, y, z]. ``weight[o, i, a, b, c]`` reads the voxel
    (a, b, c) - (k - 1) / 2 away from the output voxel where k is odd, (a, b, c) away where it is even (padding
    (k - 1) / 2 and 0 of ``Conv3d``). Transposed, (a, b, c) is counted from the coarse voxel that is read to the fine
    one that is written: the same offset of the same kernel map.

    Stride 1 keeps the voxels. Stride s leads to the level ``stride * s``; transposed it leads back to the voxels of the
    level ``stride / s``, which an earlier layer must have left. First weights are those of ``Conv3d``.

    backend : "spconv" takes that package for stride 1 and odd kernels from 3 on (``spconv_backend``), else ours.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        bias: bool = False,
        transposed: bool = False,
        backend: Literal["torch", "spconv"] = "torch",
    ) -> None:
        super().__init__()
        if backend not in {"torch", "spconv"}:
            raise ValueError(f"backend {backend!r}: allowed are torch, spconv")
        if min(in_channels, out_channels, kernel_size, stride) < 1:
            raise ValueError("channels, kernel size and stride must be at least 1")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.transposed = kernel_size, stride, transposed
        # One (in, out) matrix per offset lies in one piece of memory, though the axes are those of Conv3d.
        kernel = torch.empty(kernel_size, kernel_size, kernel_size, in_channels, out_channels)
        self.weight = nn.Parameter(kernel.permute(4, 3, 0, 1, 2))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()
        odd = kernel_size % 2 == 1 and kernel_size > 1
        self.uses_spconv = backend == "spconv" and stride == 1 and odd and not transposed
        if backend == "spconv":
            require_spconv()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(in * k^3), as torch's convolutions."""
        bound = (self.in_channels * self.kernel_size**3) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Rows (M, in) to rows (M', out) at the voxels of the level it leads to."""
        if self.uses_spconv:
            rows, stride = submanifold_convolution(tensor, self.weight), tensor.stride
        else:
            kernel_map, stride = self._map(tensor)
            rows = sparse_convolution(tensor.rows, self.weight, kernel_map)
        if self.bias is not None:
            rows = rows + self.bias.to(rows.dtype)
        return SparseTensor(rows, tensor.levels, stride)

    def extra_repr(self) -> str:
        """What it prints between its brackets."""
        words = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        return words + (", transposed" if self.transposed else "")

    def _map(self, tensor: SparseTensor) -> tuple[KernelMap, int]:
        if not self.transposed:
            return tensor.levels.kernel_map(tensor.stride, self.kernel_size, self.stride), tensor.stride * self.stride
        finer, rest = divmod(tensor.stride, self.stride)
        if rest:
            raise ValueError(f"a transposed convolution of stride {self.stride} at the level of stride {tensor.stride}")
        return tensor.levels.kernel_map(finer, self.kernel_size, self.stride).reverse(), finer


def sparse_convolution(rows_MC: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Rows (M', out): each the sum over its pairs of weight[..., offset] times the row it meets.

    rows_MC : (M, in), weight : (out, in, k, k, k). The same bits each time, on any device: no two additions of one
    step go to the same row. No array of all pairs is made, forward or backward. Half precision is added up in float32.
    """
    out_channels, in_channels = weight.shape[:2]
    if rows_MC.shape != (kernel_map.num_inputs, in_channels):
        wanted = kernel_map.num_inputs, in_channels
        raise ValueError(f"rows are {tuple(rows_MC.shape)}, the convolution takes {wanted}")
    matrices_KCD = weight.permute(2, 3, 4, 1, 0).reshape(-1, in_channels, out_channels)
    convolved: Tensor = _SparseConvolution.apply(as_around(rows_MC), as_around(matrices_KCD), kernel_map)
    return convolved


class _SparseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_MC: Tensor, matrices_KCD: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(rows_MC, matrices_KCD)
        ctx.kernel_map = kernel_map
        out = _start(rows_MC, matrices_KCD, kernel_map)
        gathered = rows_MC.new_empty(kernel_map.longest, rows_MC.shape[1])
        product = rows_MC.new_empty(kernel_map.longest, out.shape[1])
        for offset, start, end in kernel_map.segments:
            read, made = gathered[: end - start], product[: end - start]
            torch.index_select(rows_MC, 0, kernel_map.inputs[start:end], out=read)
            torch.mm(read, matrices_KCD[offset], out=made)
            out.index_add_(0, kernel_map.outputs[start:end], full(made))
        return out.to(rows_MC.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows_MC, matrices_KCD = ctx.saved_tensors
        gradient, kernel_map = gradients[0].contiguous(), ctx.kernel_map
        rows = _start(gradient, matrices_KCD.mT, kernel_map.reverse()) if ctx.needs_input_grad[0] else None
        matrices = torch.zeros_like(full(matrices_KCD)) if ctx.needs_input_grad[1] else None
        if matrices is not None and kernel_map.same is not None:
            matrices[kernel_map.same] = rows_MC.T @ gradient
        read = rows_MC.new_empty(kernel_map.longest, rows_MC.shape[1])
        above = gradient.new_empty(kernel_map.longest, gradient.shape[1])
        for offset, start, end in kernel_map.segments:
            inputs, part, ahead = kernel_map.inputs[start:end], read[: end - start], above[: end - start]
            torch.index_select(gradient, 0, kernel_map.outputs[start:end], out=ahead)
            if matrices is not None:
                torch.index_select(rows_MC, 0, inputs, out=part)
                matrices[offset] += part.T @ ahead
            if rows is not None:
                torch.mm(ahead, matrices_KCD[offset].T, out=part)
                rows.index_add_(0, inputs, full(part))
        back = None if rows is None else rows.to(rows_MC.dtype)
        return back, None if matrices is None else matrices.to(matrices_KCD.dtype), None


def _start(rows_MC: Tensor, matrices_KCD: Tensor, kernel_map: KernelMap) -> Tensor:
    """What the rows give themselves, where they are kept; else zeros. (M', out), float32 or better."""
    if kernel_map.same is not None:
        return full(rows_MC @ matrices_KCD[kernel_map.same])
    return full(rows_MC.new_zeros(kernel_map.num_outputs, matrices_KCD.shape[2]))
