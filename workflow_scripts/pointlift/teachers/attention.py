"""The two attentions in the trunk of PointMCD's teachers (section 1.5 of its specification): y = x * weight + x."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """A weight per place: a convolution without bias over the channels' mean and maximum, then a sigmoid."""

    def __init__(self, kernel_size: int) -> None:
        """``kernel_size``: odd."""
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, map_BChw: Tensor) -> Tensor:
        """Same shape."""
        summary_B2hw = torch.cat([map_BChw.mean(dim=1, keepdim=True), map_BChw.amax(dim=1, keepdim=True)], dim=1)
        return map_BChw * torch.sigmoid(self.convolution(summary_B2hw)) + map_BChw


class ChannelAttention(nn.Module):
    """A weight per channel: two layers without biases over the mean and over the maximum, summed, then a sigmoid."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, map_BChw: Tensor) -> Tensor:
        """Same shape."""
        logits_BC = self.layers(map_BChw.mean(dim=(2, 3))) + self.layers(map_BChw.amax(dim=(2, 3)))
        return map_BChw * torch.sigmoid(logits_BC)[:, :, None, None] + map_BChw
