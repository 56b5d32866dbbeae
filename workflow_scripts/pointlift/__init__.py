"""pointlift: from 2D image models to 3D point-cloud encoders, measured honestly."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["load"]
__version__ = "0.1.0"


def load(folder: str | Path, device: str = "auto") -> Any:
    """The trained student of a folder, e.g. ``results/students/<run>/seed0``, as a ``pointlift.encoder.Encoder``.

    Torch is imported here, not before. The module is not named in an import: every rule's code hash follows those, and
    no rule is made again because an encoder changed.
    """
    return importlib.import_module("pointlift.encoder").load(folder, device)
