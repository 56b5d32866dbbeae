"""What every student hands out: one vector per shape, tokens with their places, and its own raw regularisers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Level(NamedTuple):
    """What a student knew of some points before its tokens: a task on points reads it beside them."""

    rows: Tensor
    """(B, M, C_level)."""
    xyz: Tensor
    """(B, M, 3): where each row stands."""
    point_index: Tensor
    """(B, M) int64: the input point each row is of."""


class StudentOutput(NamedTuple):
    """A batch of encoded clouds. Per-point students have one token per input point (G = N)."""

    embedding: Tensor
    """(B, C): one vector per shape."""
    tokens: Tensor
    """(B, G, C): one vector per token, never negative, so that a view's maximum has the floor 0."""
    token_xyz: Tensor
    """(B, G, 3): where each token stands, in unit-sphere radii."""
    token_index: Tensor
    """(B, G) int64: the input point each token came from; masks over points follow by gathering with it."""
    losses: dict[str, Tensor]
    """Raw, unweighted terms of the student itself, scalars, e.g. ``orthogonality``; whoever trains it weights them."""
    levels: tuple[Level, ...] = ()
    """Rows of earlier depths, finest first, of the widths that the student's ``level_widths`` says."""
