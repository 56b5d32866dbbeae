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
    return parse_table(read_bytes(path), path.name, columns, delimiter)


def parse_table(content: bytes, name: str, columns: int, delimiter: str | None) -> Array:
    """As ``read_table``, of the content of the file called ``name``; a reason tells the first line that is amiss."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table: Array = np.loadtxt(io.BytesIO(content), delimiter=delimiter, comments=None, ndmin=2)
    except (ValueError, UserWarning, OverflowError) as error:
        reason = str(error).split("\n")[0][:120]
        number = _first_odd_line(content, columns, delimiter)
        told = f"line {number}: {reason}" if number else reason
        raise UnusableShapeError(f"{name}: not a table of numbers ({told})") from None
    if table.shape[1] != columns:
        raise UnusableShapeError(f"{name}: lines have {table.shape[1]} numbers, must have {columns}")
    return table


def _first_odd_line(content: bytes, columns: int, delimiter: str | None) -> int:
    """Number of the first line, counted from 1, that is not ``columns`` numbers; 0 when all are."""
    for number, line in enumerate(io.BytesIO(content), start=1):
        words = line.split(delimiter.encode() if delimiter is not None else None)
        if words and not (len(words) == columns and all(map(_is_number, words))):
            return number
    return 0


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
