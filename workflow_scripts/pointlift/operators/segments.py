"""Sum, mean and maximum over rows that follow one another."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from pointlift.operators.precision import full

Reduction = Literal["sum", "mean", "max"]


def reduce_segments(rows_MC: Tensor, counts_X: Tensor, reduction: Reduction) -> Tensor:
    """One row for each ``counts_X[x]`` rows that follow one another, (X, C); 0 for a segment without rows.

    counts_X : int64, their sum is M. Summed in float32 or better, the same bits each time. The gradient of a maximum
    is shared by rows that are equal. Raises ``ValueError`` for another reduction.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction {reduction!r}: allowed are {', '.join(get_args(Reduction))}")
    kind = "max" if reduction == "max" else "sum"
    # "unsafe" leaves out a check of the counts that reads them back from the device and fails where there are none.
    found = torch.segment_reduce(full(rows_MC).contiguous(), kind, lengths=counts_X, axis=0, unsafe=True)
    if reduction == "mean":
        found = found / counts_X.clamp(min=1)[:, None]
    return found.masked_fill((counts_X == 0)[:, None], 0.0).to(rows_MC.dtype)
