"""Queries that stand at farthest tokens, and a decoder in which they look at each other and at all tokens.

3DETR, Misra, Girdhar, Joulin, ICCV 2021, sections 3.2 and 4: no query is learned, each is an MLP of where it stands, in
Fourier form (Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains",
NeurIPS 2020). Ours, not theirs: GELU, and values of attention are made of rows with their places, not without.
Letters beside those of the house: Q queries, L layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError
from pointlift.operators.extent import Extent, placed_within
from pointlift.operators.layers import per_row, shared_layers
from pointlift.operators.neighbours import farthest_point_sample, gather_rows
from pointlift.operators.student_output import StudentOutput
from pointlift.operators.transformer import Attention, Mlp, start_small

if TYPE_CHECKING:
    from pointlift.tasks.detection import Settings


class Queries(NamedTuple):
    """What the decoder says of the queries of a batch of clouds."""

    places: Tensor
    """(B, Q, 3): the token that each stands at."""
    rows: Tensor
    """(L, B, Q, C): behind every layer and the norm."""


class FourierPlaces(nn.Module):
    """sin and cos of places, shares of an extent, along directions that are drawn once, from a normal of sd 1."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(3, width // 2))

    def forward(self, places_BQ3: Tensor) -> Tensor:
        """(B, Q, width) float32, within -1 and 1."""
        with torch.autocast(places_BQ3.device.type, enabled=False):
            angles = 2.0 * math.pi * (places_BQ3 @ self.frequencies)
            return torch.cat([angles.sin(), angles.cos()], dim=2)


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the tokens, then an MLP; norms before each, what each finds is added."""

    def __init__(self, width: int, heads: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.own_norm, self.cross_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.own, self.cross = Attention(width, heads), Attention(width, heads, context_width=width)
        self.mlp = Mlp(width, mlp_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows_BQC: Tensor, query_BQC: Tensor, tokens_BGC: Tensor) -> Tensor:
        """query_BQC : what says where the queries stand. tokens_BGC : with their places. Returns (B, Q, C)."""
        rows_BQC = rows_BQC + self.dropout(self.own(self.own_norm(rows_BQC) + query_BQC))
        rows_BQC = rows_BQC + self.dropout(self.cross(self.cross_norm(rows_BQC) + query_BQC, tokens_BGC))
        return rows_BQC + self.dropout(self.mlp(self.mlp_norm(rows_BQC)))


class QueryDecoder(nn.Module):
    """Tokens of any student to rows of queries."""

    def __init__(self, token_width: int, settings: Settings) -> None:
        super().__init__()
        self.num_queries, self.start, width = settings.num_queries, settings.query_start, settings.decoder_width
        self.project = shared_layers(token_width, (width, width), bias=False)
        self.places, self.query = FourierPlaces(width), Mlp(width, width)
        heads, mlp_width = settings.decoder_heads, settings.decoder_mlp_width
        layers = (DecoderLayer(width, heads, mlp_width, settings.dropout) for _ in range(settings.decoder_depth))
        self.layers = nn.ModuleList(layers).apply(start_small)
        self.norm = nn.LayerNorm(width)

    def forward(self, output: StudentOutput, within: Extent) -> Queries:
        """within : the extent of the clouds, in the unit of the tokens' places.

        Raises ``ConfigError`` for a student with fewer tokens than there are queries.
        """
        num_tokens = output.tokens.shape[1]
        if num_tokens < self.num_queries:
            raise ConfigError(
                f"num_queries: {self.num_queries} queries stand at tokens, and the student gives {num_tokens}; "
                "say fewer queries, or a student with more tokens"
            )
        places_BG3 = output.token_xyz.float()
        chosen_BQ = farthest_point_sample(places_BG3, self.num_queries)
        position_BGC = self.places(placed_within(places_BG3, within))
        projected_BGC = per_row(self.project, output.tokens)
        tokens_BGC = projected_BGC + position_BGC
        query_BQC = self.query(gather_rows(position_BGC, chosen_BQ))
        rows_BQC, found = torch.zeros_like(query_BQC), []
        if self.start == "tokens":
            rows_BQC = gather_rows(projected_BGC, chosen_BQ)
        for layer in self.layers:
            rows_BQC = layer(rows_BQC, query_BQC, tokens_BGC)
            found.append(self.norm(rows_BQC))
        return Queries(gather_rows(places_BG3, chosen_BQ), torch.stack(found))
