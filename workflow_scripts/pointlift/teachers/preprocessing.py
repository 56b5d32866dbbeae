"""From uint8 renders to the pixels a network was trained on, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from pointlift.contracts.errors import ConfigError

Interpolation = Literal["bicubic", "bilinear"]
_MODES: dict[str, InterpolationMode] = {
    "bicubic": InterpolationMode.BICUBIC,
    "bilinear": InterpolationMode.BILINEAR,
}


class Preprocessing(nn.Module):
    """Resize square images with antialiasing, then (pixel * pixel_scale - mean) / std per channel.

    mean, std are in the order of the channels the network sees: with ``channel_order: bgr`` blue comes first. Resizing
    rounds to whole grey levels, as Pillow does; open_clip's and torchvision's own transforms through Pillow are the
    reference, from which a resized pixel differs by a grey level at most (tested).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        pixel_scale: float = 1.0 / 255.0,
        channel_order: Literal["rgb", "bgr"] = "rgb",
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__()
        self.size, self.pixel_scale, self.channel_order = size, pixel_scale, channel_order
        self.interpolation = _MODES[interpolation]
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def resize(self, images_BHW3: Tensor) -> Tensor:
        """Square uint8 images (B, H, H, 3) at the network's size, uint8 (B, 3, size, size)."""
        if images_BHW3.dtype != torch.uint8 or images_BHW3.ndim != 4 or images_BHW3.shape[3] != 3:
            raise ValueError(f"images must be uint8 (B, H, W, 3), not {images_BHW3.dtype} {tuple(images_BHW3.shape)}")
        height, width = images_BHW3.shape[1:3]
        if height != width:
            raise ConfigError(f"teachers look at square images; these are {width} x {height} pixels")
        images_B3HW = images_BHW3.permute(0, 3, 1, 2)
        if height == self.size:
            return images_B3HW
        return resize(images_B3HW, [self.size, self.size], interpolation=self.interpolation, antialias=True)

    def standardise(self, images_B3HW: Tensor) -> Tensor:
        """Resized uint8 images as the network's pixels, float32 of the same shape."""
        ordered = images_B3HW.flip(1) if self.channel_order == "bgr" else images_B3HW
        return (ordered.to(torch.float32) * self.pixel_scale - self.mean) / self.std

    def forward(self, images_BHW3: Tensor) -> Tensor:
        """Both steps: uint8 (B, H, H, 3) to float32 (B, 3, size, size)."""
        return self.standardise(self.resize(images_BHW3))
