"""Layers that several students share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def shared_layers(width: int, widths: Sequence[int], *, bias: bool = True) -> nn.Sequential:
    """Linear, batch norm and ReLU per width, over rows (rows, width)."""
    layers: list[nn.Module] = []
    for wider in widths:
        layers += [nn.Linear(width, wider, bias=bias), nn.BatchNorm1d(wider), nn.ReLU(inplace=True)]
        width = wider
    return nn.Sequential(*layers)
