"""What every student hands out: one vector per shape, tokens with their places, and its own raw regularisers."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn


class Level(NamedTuple):
    """What a student knew of some points before its tokens: a task on points reads it beside them."""

    rows: Tensor
    """(B, M, C_level)."""
    xyz: Tensor
    """(B, M, 3): where each row stands."""
    point_index: Tensor
    """(B, M) int64: the input point each row is of."""


class Masked(NamedTuple):
    """Groups of points that a student was not shown, for a method that asks it to say what was there."""

    centres: Tensor
    """(B, X, 3): where the hidden groups stand."""
    points: Tensor
    """(B, X, k, 3): their points, relative to the centre."""


class StudentOutput(NamedTuple):
    """A batch of encoded clouds. Per-point students have one token per input point (G = N)."""

    embedding: Tensor
    """(B, C): one vector per shape."""
    tokens: Tensor
    """(B, G, C'): one vector per token. Those of students that end in a ReLU are never negative."""
    token_xyz: Tensor
    """(B, G, 3): where each token stands, in unit-sphere radii."""
    token_index: Tensor
    """(B, G) int64: the input point each token came from; masks over points follow by gathering with it."""
    losses: dict[str, Tensor]
    """Raw, unweighted terms of the student itself, scalars, e.g. ``orthogonality``; whoever trains it weights them."""
    levels: tuple[Level, ...] = ()
    """Rows of earlier depths, finest first, of the widths that the student's ``level_widths`` says."""
    summary: Tensor | None = None
    """(B, C'): the class token, of students that have one beside their tokens."""
    masked: Masked | None = None
    """What was hidden, where the student was called with ``mask_ratio``; tokens are then of the shown groups alone."""


class StudentShape(NamedTuple):
    """What a method must know of a student to build its heads."""

    width: int
    """C, of the embedding."""
    token_width: int
    """C', of tokens and summary."""
    group_size: int | None
    """Points k of a group, of students with a masked form: ``forward(points_BN3, mask_ratio=0.6)``."""


def shape_of(student: nn.Module) -> StudentShape:
    """Widths of a student: its ``width``, and ``token_width`` and ``group_size`` where it says them."""
    width: Any = student.width
    return StudentShape(width, getattr(student, "token_width", width), getattr(student, "group_size", None))
