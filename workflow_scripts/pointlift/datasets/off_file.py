"""A strict and fast reader of OFF text files that knows the ways real ones are broken.

Format: https://shape.cs.princeton.edu/benchmark/documentation/off_format.html; geomview's prefixes (C, N, ST) add
numbers to a vertex, which are skipped, as are colours after a face.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.geometry.meshes import triangulate

_KEYWORD = re.compile(rb"(?:ST)?C?N?OFF(?=[\s\d]|$)")
_COMMENT = re.compile(rb"#[^\n]*")
_MOST = 50_000_000  # vertices or faces that a file may promise


def is_off(content: bytes) -> bool:
    """Whether a file begins as OFF files do, comments and byte order mark aside."""
    start = _COMMENT.sub(b"", content[:4096].removeprefix(b"\xef\xbb\xbf")).lstrip()
    return _KEYWORD.match(start) is not None


def read_off(content: bytes) -> tuple[Array, Array, Array]:
    """Read an OFF file: vertices (v, 3) float64, faces (f, 3) int64, polygon_index (f,) int64.

    Polygons are cut into fans; polygon_index says which polygon of the file a face came from. Raises
    ``UnusableShapeError`` with the reason.
    """
    lines = _lines(content)
    num_vertices, num_faces = _counts(lines)
    if len(lines) < num_vertices + num_faces:
        lines = _rewrapped(lines, num_vertices, num_faces)
    if len(lines) > num_vertices + num_faces:
        surplus = len(lines) - num_vertices - num_faces
        raise UnusableShapeError(f"OFF file has {surplus} lines more than its header promises")
    return _vertices(lines[:num_vertices]), *_faces(lines[num_vertices:])


def _lines(content: bytes) -> list[bytes]:
    """Lines with something on them, keyword and comments taken out; the first one holds the counts."""
    if b"#" in content:
        content = _COMMENT.sub(b"", content)
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n").lstrip()
    keyword = _KEYWORD.match(content)
    content = content[keyword.end() :] if keyword else content
    if content.lstrip()[:6].upper() == b"BINARY":
        raise UnusableShapeError("binary OFF is not supported; save it as text")
    return [line for line in content.split(b"\n") if line.strip()]


def _counts(lines: list[bytes]) -> tuple[int, int]:
    """Take the counts off the first line or lines; returns vertices and faces (edges are not used)."""
    found: list[bytes] = []
    while lines and len(found) < 2:
        found += lines.pop(0).split()
    if len(found) > 3:  # the body begins on the same line
        lines.insert(0, b" ".join(found[3:]))
    try:
        counts = [int(word) for word in found[:3]]
    except ValueError:
        raise UnusableShapeError(f"OFF header holds no counts: {_shown(b' '.join(found))}") from None
    if len(counts) < 2:
        raise UnusableShapeError("OFF header must hold 2 or 3 counts, of vertices, faces and edges")
    if min(counts[:2]) < 0 or max(counts[:2]) > _MOST:
        vertices, faces = (str(count)[:20] for count in counts[:2])
        raise UnusableShapeError(f"OFF header promises {vertices} vertices and {faces} faces")
    if not counts[0] or not counts[1]:
        raise UnusableShapeError(f"the mesh is empty: {counts[0]} vertices and {counts[1]} faces")
    return counts[0], counts[1]


def _rewrapped(lines: list[bytes], num_vertices: int, num_faces: int) -> list[bytes]:
    """One vertex or face per line, from a file that breaks its lines elsewhere (no colours then)."""
    words = b" ".join(lines).split()
    found = [b" ".join(words[3 * index : 3 * index + 3]) for index in range(min(num_vertices, len(words) // 3))]
    at = 3 * num_vertices
    while at < len(words) and len(found) < num_vertices + num_faces:
        length = int(words[at]) if words[at].isdigit() else len(words)
        if at + length + 1 > len(words):
            break
        found.append(b" ".join(words[at : at + length + 1]))
        at += length + 1
    if len(found) < num_vertices + num_faces or at != len(words):
        raise UnusableShapeError(
            f"OFF header promises {num_vertices} vertices and {num_faces} faces, "
            f"but only {len(lines)} lines follow: truncated, or wrong counts"
        )
    return found


def _vertices(lines: Sequence[bytes]) -> Array:
    numbers = _numbers(lines, np.float64)
    if len(numbers) == 3 * len(lines):
        return numbers.reshape(-1, 3)
    rows = [line.split() for line in lines]
    short = next((index for index, row in enumerate(rows) if len(row) < 3), None)
    if short is not None:
        raise UnusableShapeError(f"OFF vertex {short} has {len(rows[short])} coordinates: {_shown(lines[short])}")
    if len({len(row) for row in rows}) > 1:
        raise UnusableShapeError("OFF vertices have different numbers of values: wrong counts in the header")
    try:
        return np.array([row[:3] for row in rows]).astype(np.float64)
    except ValueError as error:
        raise UnusableShapeError(f"an OFF vertex holds something that is no number ({error})") from None


def _faces(lines: Sequence[bytes]) -> tuple[Array, Array]:
    numbers = _numbers(lines, np.int64)
    if len(numbers) == 4 * len(lines) and (numbers[::4] == 3).all():
        return numbers.reshape(-1, 4)[:, 1:].copy(), np.arange(len(lines))
    try:
        return triangulate([_polygon(index, line.split()) for index, line in enumerate(lines)])
    except (ValueError, OverflowError) as error:
        raise UnusableShapeError(f"an OFF face holds something that is no whole number ({error})") from None


def _numbers(lines: Sequence[bytes], dtype: type[np.generic]) -> Array:
    """All numbers of the lines, fast; fewer than there are words when one of them is no number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.fromstring(b" ".join(lines), dtype=dtype, sep=" ")
        except ValueError:
            return np.zeros(0, dtype=dtype)


def _polygon(index: int, row: list[bytes]) -> list[int]:
    count = int(row[0])
    if count < 0 or len(row) < count + 1:
        raise UnusableShapeError(f"OFF face {index} promises {count} corners: {_shown(b' '.join(row))}")
    return [int(word) for word in row[1 : count + 1]]


def _shown(text: bytes) -> str:
    return repr(text[:40].decode("latin-1"))
