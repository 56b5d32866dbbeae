"""Places of voxels as sorted integers: (batch, x, y, z) in one int64, ordered as the four numbers are.

12 bits for the cloud of the batch, 17 for each coordinate. A rim around the allowed coordinates is never occupied, so
that a step to a neighbour of an allowed voxel stays within its axis and its cloud.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 17
_ZERO = 1 << (_BITS - 1)  # what is added to a coordinate, so that none is below 0
RIM = 1024  # voxels of the finest grid that a stride and a kernel together may reach
LIMIT = _ZERO - RIM  # coordinates lie in [-LIMIT, LIMIT)
MOST_CLOUDS = 1 << 12


def pack(coordinates_M4: Tensor) -> Tensor:
    """Keys (M,) int64 of voxels (M, 4), integers [batch, x, y, z].

    Raises ``TypeError`` for numbers that are not integers, ``ValueError`` for another shape, a cloud number outside
    [0, 4096) and a coordinate outside [-64512, 64512).
    """
    if coordinates_M4.dtype not in {torch.int32, torch.int64}:
        raise TypeError(f"voxel coordinates must be int32 or int64, not {coordinates_M4.dtype}")
    if coordinates_M4.ndim != 2 or coordinates_M4.shape[1] != 4:
        raise ValueError(f"voxel coordinates must be (M, 4) [batch, x, y, z], not {tuple(coordinates_M4.shape)}")
    columns = coordinates_M4.to(torch.int64)
    if len(columns):
        low, high = (bound.tolist() for bound in columns.aminmax(dim=0))
        if low[0] < 0 or high[0] >= MOST_CLOUDS:
            raise ValueError(f"clouds {low[0]} to {high[0]} of a batch: allowed are 0 to {MOST_CLOUDS - 1}")
        if min(low[1:]) < -LIMIT or max(high[1:]) >= LIMIT:
            raise ValueError(
                f"voxel coordinates from {min(low[1:])} to {max(high[1:])}: allowed are {-LIMIT} to {LIMIT - 1}; "
                "take larger voxels, or move the cloud to its own minimum"
            )
    return _joined(columns[:, 0], columns[:, 1:] + _ZERO)


def unpack(keys_M: Tensor) -> Tensor:
    """Voxels (M, 4) int32 [batch, x, y, z] of keys."""
    mask = (1 << _BITS) - 1
    parts = [keys_M >> 3 * _BITS] + [((keys_M >> shift * _BITS) & mask) - _ZERO for shift in (2, 1, 0)]
    return torch.stack(parts, dim=1).to(torch.int32)


def coarsen(keys_M: Tensor, stride: int) -> Tensor:
    """Keys (M,) of the voxels of the coarser grid that hold these: floor(c / stride) * stride, below 0 too."""
    batch, places = _split(keys_M)
    return _joined(batch, (places - _ZERO).div(stride, rounding_mode="floor") * stride + _ZERO)


def steps(offsets_K3: Tensor) -> Tensor:
    """What a step by (dx, dy, dz) voxels adds to a key, (K,) int64."""
    return (offsets_K3[:, 0] << 2 * _BITS) + (offsets_K3[:, 1] << _BITS) + offsets_K3[:, 2]


def batch_of(keys_M: Tensor) -> Tensor:
    """The cloud of the batch that each voxel belongs to, (M,) int64."""
    return keys_M >> 3 * _BITS


def _split(keys_M: Tensor) -> tuple[Tensor, Tensor]:
    shifts = torch.tensor([2 * _BITS, _BITS, 0], device=keys_M.device)
    return keys_M >> 3 * _BITS, (keys_M[:, None] >> shifts) & ((1 << _BITS) - 1)


def _joined(batch_M: Tensor, places_M3: Tensor) -> Tensor:
    return (batch_M << 3 * _BITS) + steps(places_M3)
