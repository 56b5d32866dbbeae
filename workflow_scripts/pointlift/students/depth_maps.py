"""Depth maps of clouds from six sides, and the pixel of each point in them.

Six orthographic views as in SimpleView: Goyal, Law, Liu, Newell, Deng, "Revisiting Point Cloud Shape Classification
with a Simple and Effective Baseline", ICML 2021 (recalled, not checked against the paper; its views are perspective).
Letters: V views, H the resolution.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

#: Of each view: to the right, downwards, towards the viewer. z is up; seen from +x, +y, +z (there y is up), then from
#: the other sides.
_SIDES = (
    ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
    ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((0, -1, 0), (0, 0, -1), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
)


class DepthMaps(NamedTuple):
    """Pictures of a batch of clouds."""

    maps: Tensor
    """(B, V, H, H), of the points' type: 1 where the nearest point is, 1/2 where the farthest may be, 0 for none."""
    rows: Tensor
    """(B, V, N) int64: the row of the pixel that each point falls into."""
    columns: Tensor
    """(B, V, N) int64."""


@torch.no_grad()
def depth_maps(points_BN3: Tensor, resolution: int, num_views: int, point_size: int) -> DepthMaps:
    """Orthographic depth maps of clouds, each within the cube around it (its bounding box, centred, longest edge).

    point_size : odd, pixels that a point covers in width and height. Of points over one pixel the nearest is seen: the
    maximum, the same bits in any order. Without a gradient. Raises ``ValueError`` for an even point size.
    """
    if point_size % 2 == 0:
        raise ValueError(f"point_size must be odd, not {point_size}")
    low, high = points_BN3.amin(dim=1, keepdim=True), points_BN3.amax(dim=1, keepdim=True)
    half = ((high - low) / 2).amax(dim=2, keepdim=True).clamp_min(torch.finfo(points_BN3.dtype).tiny)
    unit_BN3 = (points_BN3 - (low + high) / 2) / half
    sides_V33 = torch.tensor(_SIDES[:num_views], dtype=torch.int64, device=points_BN3.device)
    axis, sign = sides_V33.abs().argmax(dim=2), sides_V33.sum(dim=2)
    places_BNV3 = unit_BN3[:, :, axis.flatten()].unflatten(2, (-1, 3)) * sign
    across, down, towards = places_BNV3.transpose(1, 2).unbind(dim=3)
    columns, rows = (
        ((places + 1) * (resolution / 2)).long().clamp(min=0, max=resolution - 1) for places in (across, down)
    )
    batch, views, _ = rows.shape
    maps = points_BN3.new_zeros(batch, views, resolution * resolution)
    maps = maps.scatter_reduce(2, rows * resolution + columns, (towards + 3) / 4, "amax")
    maps = maps.unflatten(2, (resolution, resolution))
    return DepthMaps(functional.max_pool2d(maps, point_size, stride=1, padding=point_size // 2), rows, columns)
