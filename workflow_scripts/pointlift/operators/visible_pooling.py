"""View-aware feature projection (VAFP, PointMCD section "visibility-aware feature projection"): one vector per view.

The vector of a view is the maximum over the points its camera sees. Written as a loop over views that keeps the index
of each maximum, so that no (B, V, G, C) array ever exists: the peak is one (B, G, C) copy, however many views.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_HIDDEN = -1.0  # below every token, which are never negative


def visible_max_pool(tokens_BGC: Tensor, visible_BVG: Tensor) -> Tensor:
    """Maximum over the visible tokens of each view, (B, V, C); zero for a view that sees nothing.

    tokens_BGC : float, never negative (a student that ends in a ReLU); visible_BVG : bool. The gradient goes to the
    token that holds the maximum, and never to a hidden one. Raises ``ValueError`` for a negative or NaN token (the
    maximum over a mask multiplied in, as PointMCD defines it, would silently be another function), ``TypeError`` for a
    mask that is not bool.
    """
    _require(tokens_BGC, visible_BVG)
    pooled: Tensor = _VisibleMaximum.apply(tokens_BGC, visible_BVG)
    return pooled


def gather_visible(visible_BVN: Tensor, token_index_BG: Tensor) -> Tensor:
    """The mask of the tokens, (B, V, G), from the mask of the points each of them came from."""
    num_views = visible_BVN.shape[1]
    return visible_BVN.gather(2, token_index_BG[:, None].expand(-1, num_views, -1))


def _require(tokens_BGC: Tensor, visible_BVG: Tensor) -> None:
    if visible_BVG.dtype != torch.bool:
        raise TypeError(f"visible must be bool, not {visible_BVG.dtype}")
    batch, num_tokens, _ = tokens_BGC.shape
    if visible_BVG.ndim != 3 or (visible_BVG.shape[0], visible_BVG.shape[2]) != (batch, num_tokens):
        raise ValueError(f"visible {tuple(visible_BVG.shape)} does not fit tokens {tuple(tokens_BGC.shape)}")
    if tokens_BGC.numel() and not bool(tokens_BGC.detach().min() >= 0):
        raise ValueError("tokens must be >= 0 and not NaN: pooling by view needs a student whose last layer is a ReLU")


class _VisibleMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens_BGC: Tensor, visible_BVG: Tensor) -> Tensor:
        maxima, indices = [], []
        for visible_BG in visible_BVG.unbind(1):
            largest = tokens_BGC.masked_fill(~visible_BG[:, :, None], _HIDDEN).max(dim=1)
            maxima.append(largest.values)
            indices.append(largest.indices)
        pooled_BVC = torch.stack(maxima, dim=1)
        ctx.save_for_backward(torch.stack(indices, dim=1), pooled_BVC >= 0)
        ctx.tokens_shape = tokens_BGC.shape
        return pooled_BVC.clamp_min(0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        indices_BVC, seen_BVC = ctx.saved_tensors
        gradient_BVC = gradients[0] * seen_BVC
        gradient_BGC = gradient_BVC.new_zeros(ctx.tokens_shape)
        for view in range(indices_BVC.shape[1]):  # within one view every target is distinct: no race, same bits
            gradient_BGC.scatter_add_(1, indices_BVC[:, view, None], gradient_BVC[:, view, None])
        return gradient_BGC, None
