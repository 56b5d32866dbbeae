"""One cloud per text file, one point a line: what cannot be read has a reason, never a stack trace."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.mesh_file import read_bytes


def read_table(path: Path, columns: int, delimiter: str | None) -> Array:
    """The numbers of a file, (n, columns) float64. ``delimiter`` None: blanks. Raises ``UnusableShapeError``."""
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table: Array = np.loadtxt(io.BytesIO(content), delimiter=delimiter, comments=None, ndmin=2)
    except (ValueError, UserWarning, OverflowError) as error:
        reason = str(error).split("\n")[0][:120]
        raise UnusableShapeError(f"{path.name}: not a table of numbers ({reason})") from None
    if table.shape[1] != columns:
        raise UnusableShapeError(f"{path.name}: lines have {table.shape[1]} numbers, must have {columns}")
    return table
