"""spconv in place of our own loop, on CUDA, for stride 1 and odd kernels from 3 on. Optional, never the default.

spconv 2 (https://github.com/traveller59/spconv, docs/USAGE.md): rows and int32 [batch, x, y, z] in, weight
(out, kx, ky, kz, in). Its strided convolutions dilate the active set, so that these stay with our own. It was compared
with dense convolution on a CPU (2.3.8); on CUDA the first use of a run does so, and nothing else has.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.errors import MachineError
from pointlift.operators.precision import as_around
from pointlift.operators.sparse_tensor import SparseTensor, sparse_tensor

_REMEDY = "install the spconv wheel of your CUDA version, or take the backend torch"
_CLOSE = 1e-3  # of the largest number, in float32


def require_spconv() -> Any:
    """The package. Raises ``MachineError`` where it is not installed."""
    try:
        import spconv.pytorch as spconv
    except ImportError as error:
        raise MachineError(f"backend spconv: {error}; {_REMEDY}") from None
    return spconv


def submanifold_convolution(tensor: SparseTensor, weight: Tensor) -> Tensor:
    """Rows (M, out) of ``sparse_convolution`` at stride 1, weight (out, in, k, k, k) with odd k from 3 on, on CUDA.

    The same up to rounding; the same bits each time are not promised. Raises ``MachineError`` for rows on a CPU, where
    spconv has no backward pass, and when it differs from ``conv3d`` on this machine.
    """
    if tensor.rows.device.type != "cuda":
        raise MachineError("backend spconv: works on CUDA alone; take the backend torch")
    _require_equal(tensor.rows.device)
    return convolve(tensor, weight)


def convolve(tensor: SparseTensor, weight: Tensor) -> Tensor:
    """As ``submanifold_convolution``, on any device and unchecked."""
    spconv = require_spconv()
    key = "spconv", tensor.stride
    if key not in tensor.levels.kept:
        tensor.levels.kept[key] = _places(spconv, tensor)
    base = tensor.levels.kept[key].replace_feature(as_around(tensor.rows))
    out_channels, in_channels, kernel_size, _, _ = weight.shape
    layer = _layer(in_channels, out_channels, kernel_size, tensor.rows.device.type)
    matrices = as_around(weight).permute(0, 2, 3, 4, 1).contiguous()
    found: Tensor = torch.func.functional_call(layer, {"weight": matrices}, (base,)).features
    return found


def _places(spconv: Any, tensor: SparseTensor) -> Any:
    """The voxels as spconv takes them: from 0 on, one apart. It keeps its own kernel maps with them."""
    places = tensor.coordinates.clone()
    places[:, 1:] = places[:, 1:].div(tensor.stride, rounding_mode="floor")
    if len(places):
        places[:, 1:] -= places[:, 1:].amin(dim=0)
    shape = (places[:, 1:].amax(dim=0) + 1).tolist() if len(places) else [1, 1, 1]
    return spconv.SparseConvTensor(tensor.rows.detach(), places, shape, tensor.batch_size)


@functools.cache
def _layer(in_channels: int, out_channels: int, kernel_size: int, device_type: str) -> nn.Module:
    """A layer whose own weight has no memory and is never used. Its key makes kernel maps shared within a level."""
    spconv = require_spconv()
    algorithm = spconv.ConvAlgo.Native if device_type == "cpu" else None
    layer: nn.Module = spconv.SubMConv3d(
        in_channels, out_channels, kernel_size, bias=False, indice_key=f"kernel {kernel_size}", algo=algorithm
    )
    return layer.to("meta")


@functools.cache
def _require_equal(device: torch.device) -> None:
    """Compare it with dense convolution of a small grid: rows and gradients. Raises ``MachineError``."""
    generator = torch.Generator().manual_seed(0)
    voxels = (torch.rand(2, 8, 8, 8, generator=generator) < 0.3).nonzero()
    rows = torch.randn(len(voxels), 16, generator=generator).to(device).requires_grad_()
    weight = torch.randn(16, 16, 3, 3, 3, generator=generator).to(device).requires_grad_()
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        tensor = sparse_tensor(voxels.to(device), rows, 2).with_rows(rows)  # they were in order
        cloud, x, y, z = voxels.to(device).unbind(1)
        dense = functional.conv3d(tensor.dense(8), weight, padding=1)[cloud, :, x, y, z]
        both = convolve(tensor, weight), dense
        theirs, true = ((out, *torch.autograd.grad(out.square().sum(), (rows, weight))) for out in both)
    for found, wanted in zip(theirs, true, strict=True):
        if not (found - wanted).abs().max() <= _CLOSE * wanted.abs().max():
            raise MachineError(f"backend spconv: its numbers are not those of conv3d on this machine; {_REMEDY}")
