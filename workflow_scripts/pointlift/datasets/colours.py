"""Colours that stand beside the places of points, in one scale or the other."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array


def colours(table: Array, largest: Literal[1, 255], name: str) -> Array:
    """Columns 3 to 5 of x y z r g b as (n, 3) uint8; ``largest`` is what white has in the file.

    Where that is 255 they must be whole numbers, so that a file of the other scale is told from a dark one. Raises
    ``UnusableShapeError`` naming the file.
    """
    if table.shape[1] != 6:
        raise UnusableShapeError(f"{name}: has no colours; if no file has, say `colour: false` in the dataset's block")
    colour = table[:, 3:].astype(np.float64)
    if not ((colour >= 0) & (colour <= largest)).all():
        raise UnusableShapeError(f"{name}: a colour is not within 0 to {largest}")
    if largest == 255 and (colour != np.round(colour)).any():
        raise UnusableShapeError(f"{name}: a colour is no whole number; they must be 0 to 255")
    return np.round(colour * (255 / largest)).astype(np.uint8)
