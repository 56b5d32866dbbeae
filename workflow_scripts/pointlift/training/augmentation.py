"""Random changes of training clouds. Rows keep their order, so that cached visibility stays aligned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pointlift.contracts.recipe import Augmentation


def augment(points_BN3: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotate, then scale, shift and jitter every cloud of a batch by its own random draw.

    points_BN3 : float32 on the generator's device, unit-sphere radii; returned anew, same shape and row order. What is
    switched off draws no numbers and changes no bit.
    """
    draw = _Draw(points_BN3, generator)
    if settings.rotation == "up":
        points_BN3 = points_BN3 @ rotation_about_z(draw.uniform(0.0, 2.0 * math.pi, 1)[:, 0, 0]).transpose(1, 2)
    elif settings.rotation == "any":
        points_BN3 = points_BN3 @ rotation_from_quaternion(draw.normal(4)[:, 0]).transpose(1, 2)
    if settings.scale != (1.0, 1.0):
        points_BN3 = points_BN3 * draw.uniform(*settings.scale, 3)
    if settings.shift > 0.0:
        points_BN3 = points_BN3 + draw.uniform(-settings.shift, settings.shift, 3)
    if settings.jitter > 0.0:
        noise = torch.randn(points_BN3.shape, generator=generator, device=points_BN3.device, dtype=points_BN3.dtype)
        points_BN3 = points_BN3 + settings.jitter * noise
    return points_BN3


def rotation_about_z(angle_B: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) about +z, anticlockwise, by angles in radians."""
    cosine, sine = torch.cos(angle_B), torch.sin(angle_B)
    zero, one = torch.zeros_like(angle_B), torch.ones_like(angle_B)
    rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, one]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def rotation_from_quaternion(quaternion_B4: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) of quaternions (w, x, y, z) of any length but 0.

    Normally distributed quaternions give rotations uniform over SO(3) (Shoemake, Graphics Gems III, 1992).
    """
    w, x, y, z = torch.nn.functional.normalize(quaternion_B4, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


class _Draw:
    """Random numbers per cloud, shaped (B, 1, count)."""

    def __init__(self, points_BN3: Tensor, generator: torch.Generator) -> None:
        self._size, self._like, self._generator = len(points_BN3), points_BN3, generator

    def uniform(self, low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * self._make(torch.rand, count)

    def normal(self, count: int) -> Tensor:
        return self._make(torch.randn, count)

    def _make(self, source, count: int) -> Tensor:  # type: ignore[no-untyped-def]
        shape = (self._size, 1, count)
        return source(shape, generator=self._generator, device=self._like.device, dtype=self._like.dtype)
