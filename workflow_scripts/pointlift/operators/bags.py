"""Sum and maximum over chosen rows of a cloud, without the array of all chosen rows, forward or backward.

A bag is one row of the index: k rows of its cloud. The result has one row per bag.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SUM, _MAXIMUM = 0, 2  # torch.embedding_bag takes its mode as a number


def bag_sum(values_BNC: Tensor, index_BMk: Tensor, weight_BMk: Tensor | None = None) -> Tensor:
    """Sum of the rows ``values[b, index[b, m]]``, (B, M, C); a row that stands in a bag twice counts twice.

    Each times its weight, where there are some; these are rounded to the type of the values and get no gradient.
    """
    summed: Tensor = _BagSum.apply(values_BNC, index_BMk, weight_BMk)
    return summed


def bag_maximum(values_BNC: Tensor, index_BMk: Tensor) -> Tensor:
    """Maximum over the rows ``values[b, index[b, m]]`` per channel, (B, M, C). Of equals one gets the gradient."""
    largest: Tensor = _BagMaximum.apply(values_BNC, index_BMk)
    return largest


def _rows(index_BMk: Tensor, num_rows: int) -> Tensor:
    """The bags' rows counted through the whole batch, (B * M * k,)."""
    first_B = torch.arange(len(index_BMk), device=index_BMk.device) * num_rows
    return (index_BMk + first_B[:, None, None]).flatten()


def _starts(index_BMk: Tensor) -> Tensor:
    batch, num_bags, size = index_BMk.shape
    return torch.arange(batch * num_bags, device=index_BMk.device) * size


class _BagSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_BNC: Tensor, index_BMk: Tensor, weight_BMk: Tensor | None) -> Tensor:
        batch, num_rows, _ = values_BNC.shape
        rows = _rows(index_BMk, num_rows)
        weight = None if weight_BMk is None else weight_BMk.flatten().to(values_BNC.dtype)
        flat = values_BNC.flatten(0, 1)
        summed = torch.embedding_bag(flat, rows, _starts(index_BMk), mode=_SUM, per_sample_weights=weight)[0]
        ctx.save_for_backward(rows, weight)
        ctx.sizes = batch, num_rows, index_BMk.shape[2]
        return summed.unflatten(0, (batch, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        rows, weight = ctx.saved_tensors
        batch, num_rows, size = ctx.sizes
        order = rows.argsort(stable=True)
        bags = order.div(size, rounding_mode="floor")  # bags by the row they hold
        degree = torch.zeros(batch * num_rows, dtype=torch.int64, device=rows.device)
        degree.scatter_add_(0, rows, torch.ones_like(rows))
        flat, weight = gradients[0].flatten(0, 1), None if weight is None else weight[order]
        starts = degree.cumsum(0) - degree
        gradient = torch.embedding_bag(flat, bags, starts, mode=_SUM, per_sample_weights=weight)[0]
        return gradient.unflatten(0, (batch, num_rows)), None, None


class _BagMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_BNC: Tensor, index_BMk: Tensor) -> Tensor:
        batch, num_rows, _ = values_BNC.shape
        rows = _rows(index_BMk, num_rows)
        found = torch.embedding_bag(values_BNC.flatten(0, 1), rows, _starts(index_BMk), mode=_MAXIMUM)
        ctx.save_for_backward(found[3])
        ctx.sizes = batch, num_rows
        return found[0].unflatten(0, (batch, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (winners,) = ctx.saved_tensors
        batch, num_rows = ctx.sizes
        flat = gradients[0].flatten(0, 1)
        gradient = flat.new_zeros(batch * num_rows, flat.shape[1])
        gradient.scatter_add_(0, winners.long(), flat)
        return gradient.unflatten(0, (batch, num_rows)), None
