"""Layers over rows that students, methods and tasks share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def shared_layers(width: int, widths: Sequence[int], *, bias: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """Linear, batch norm and ReLU per width, over rows (rows, width); dropout, if any, after every width but the last.

    Without bias it is PointMCD's block.
    """
    layers: list[nn.Module] = []
    for number, wider in enumerate(widths):
        layers += [nn.Linear(width, wider, bias=bias), nn.BatchNorm1d(wider), nn.ReLU(inplace=True)]
        if dropout and number < len(widths) - 1:
            layers.append(nn.Dropout(dropout))
        width = wider
    return nn.Sequential(*layers)


def per_row(layer: nn.Module, rows_BNC: Tensor) -> Tensor:
    """``layer`` over the rows (B, N, C) of all clouds together, as its batch norms want them."""
    flat: Tensor = layer(rows_BNC.flatten(0, 1))
    return flat.unflatten(0, rows_BNC.shape[:2])
