"""Directions of embeddings: what cosine similarity looks at."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array

#: Similarities are told apart from this many decimals on: equal directions are equal, whatever the order of sums.
DECIMALS = 12


def unit_rows(embedding: Array) -> Array:
    """Rows (S, C) at length 1, float64. A row of zeros stays one: it is as near to everything."""
    rows = embedding.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0.0, length, 1.0)


def cosine(one: Array, other: Array) -> Array:
    """Cosine similarities (S, K) float64 of unit rows (S, C) and (K, C), to ``DECIMALS`` places."""
    return np.round(one @ other.T, DECIMALS)
