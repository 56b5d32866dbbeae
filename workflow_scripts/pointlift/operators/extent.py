"""How far a cloud reaches, and places as shares of it: what says where a token stands whatever the origin is."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

_FLATTEST = 1e-3  # an axis counts as at least this share of the longest: a floor alone has no height to divide by
_SMALLEST = 1e-6


class Extent(NamedTuple):
    """The smallest box along the axes around each cloud of a batch."""

    low: Tensor
    """(B, 3): its least corner."""
    edges: Tensor
    """(B, 3): its edges, above 0: those of flat clouds are a thousandth of the longest."""


def extent(points_BN3: Tensor) -> Extent:
    """Of clouds (B, N, 3)."""
    low_B3, high_B3 = points_BN3.aminmax(dim=1)
    edges_B3 = high_B3 - low_B3
    longest_B1 = edges_B3.amax(dim=1, keepdim=True).clamp_min(_SMALLEST)
    return Extent(low_B3, edges_B3.maximum(_FLATTEST * longest_B1))


def placed_within(places_BG3: Tensor, within: Extent) -> Tensor:
    """Places (B, G, 3) as shares of the extent: 0 to 1 for the cloud's own points."""
    return (places_BG3 - within.low[:, None]) / within.edges[:, None]
