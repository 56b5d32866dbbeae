"""Is a render a picture of the shape? A blank view is an error of that shape, not something to train on."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.rig_blocks import RigSettings
from pointlift.contracts.shards import Array


def check_views(images: Array, foreground: Array, settings: RigSettings) -> None:
    """Raise ``UnusableShapeError`` naming the first view that shows too little, or a constant grey.

    images : (V, H, W, 3) uint8, foreground : (V,) share of pixels that show the shape.
    """
    for view, (share, spread) in enumerate(zip(foreground, contrast(images), strict=True)):
        if share < settings.min_foreground:
            raise UnusableShapeError(
                f"view {view} is blank: foreground {share:.4f}, at least {settings.min_foreground:g} is asked for"
            )
        if spread < settings.min_contrast:
            raise UnusableShapeError(
                f"view {view} is flat: contrast {spread:.4f}, at least {settings.min_contrast:g} is asked for"
            )


def contrast(images: Array) -> Array:
    """Standard deviation of the grey values (mean of the channels, in [0, 1]) of images (V, H, W, 3) uint8: (V,)."""
    grey = images.mean(axis=-1, dtype=np.float64) / 255.0
    return grey.std(axis=(1, 2))
