"""Pre-norm transformer blocks over rows: attention to the same rows or to others, an MLP, stochastic depth.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1; norms before each part as in Dosovitskiy et al.,
"An Image is Worth 16x16 Words", ICLR 2021, equations 2 and 3; stochastic depth: Huang et al., ECCV 2016. Letters beside
those of the house: M rows of a context, h heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention: softmax(Q K^T / sqrt(width / heads)) V, then a linear layer over the heads side by side.

    Queries are rows of ``width``; keys and values are of the same rows, or, with ``context_width``, of a context.
    bias : of queries, keys and values. Raises ``ValueError`` when the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None, *, bias: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide the width {width}")
        self.heads = heads
        self.crosses = context_width is not None
        if context_width is None:
            self.query_key_value = nn.Linear(width, 3 * width, bias=bias)
        else:
            self.query = nn.Linear(width, width, bias=bias)
            self.key_value = nn.Linear(context_width, 2 * width, bias=bias)
        self.out = nn.Linear(width, width)

    def forward(self, rows_BGC: Tensor, context_BMX: Tensor | None = None) -> Tensor:
        """rows_BGC : (B, G, width). context_BMX : (B, M, context_width), where there is one. Returns (B, G, width).

        Raises ``ValueError`` for a context that is missing, or that is not asked for.
        """
        if self.crosses != (context_BMX is not None):
            raise ValueError("attention with a context_width needs a context, and no other one takes it")
        if context_BMX is None:
            query, key, value = self._by_head(self.query_key_value(rows_BGC), 3)
        else:
            (query,) = self._by_head(self.query(rows_BGC), 1)
            key, value = self._by_head(self.key_value(context_BMX), 2)
        found_BhGd = functional.scaled_dot_product_attention(query, key, value)
        attended: Tensor = self.out(found_BhGd.transpose(1, 2).flatten(2))
        return attended

    def _by_head(self, rows_BGC: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Each of the parts that stand side by side in a row, (B, h, G, C / h)."""
        return rows_BGC.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Linear, GELU, linear; back to its own width, unless ``out_width`` says another."""

    def __init__(self, width: int, hidden_width: int, out_width: int | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden_width)
        self.second = nn.Linear(hidden_width, width if out_width is None else out_width)

    def forward(self, rows: Tensor) -> Tensor:
        """rows : (..., width). Returns (..., out_width)."""
        answer: Tensor = self.second(functional.gelu(self.first(rows)))
        return answer


class DropPath(nn.Module):
    """In training, nothing at all for a random share of the batch; the others scaled up so that the mean stays.

    Drawn from the global generator of the device. Wherever nothing is dropped no number is drawn.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0.0 <= share < 1.0:
            raise ValueError(f"the share dropped must be in [0, 1), not {share}")
        self.share = share

    def forward(self, rows_BGC: Tensor) -> Tensor:
        """rows_BGC : (B, ...). Returns the same shape."""
        if not self.training or self.share == 0.0:
            return rows_BGC
        size = (len(rows_BGC),) + (1,) * (rows_BGC.ndim - 1)
        kept = torch.rand(size, device=rows_BGC.device) >= self.share
        return rows_BGC * (kept / (1.0 - self.share)).to(rows_BGC.dtype)


class Block(nn.Module):
    """x + Attention(LN(x)), then x + MLP(LN(x)); with ``context_width`` the attention reads a context, not normed."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        context_width: int | None = None,
        bias: bool = False,
        norm_epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = (nn.LayerNorm(width, eps=norm_epsilon) for _ in range(2))
        self.attention = Attention(width, heads, context_width, bias=bias)
        self.mlp = Mlp(width, round(width * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, rows_BGC: Tensor, context_BMX: Tensor | None = None) -> Tensor:
        """rows_BGC : (B, G, width); context_BMX : (B, M, context_width) or None. Returns (B, G, width)."""
        rows_BGC = rows_BGC + self.drop_path(self.attention(self.attention_norm(rows_BGC), context_BMX))
        return rows_BGC + self.drop_path(self.mlp(self.mlp_norm(rows_BGC)))


def start_small(module: nn.Module) -> None:
    """Weights of linear layers from a normal of sd 0.02, biases 0: the start of ViT and its point forms.

    Use it as ``network.apply(start_small)``.
    """
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
