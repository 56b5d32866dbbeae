"""Arrays in .npy and .npz files: their header is checked before any value is read, and nothing in them is ever run."""

from __future__ import annotations

import hashlib
import io
import math
import stat
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.mesh_file import LARGEST_FILE
from pointlift.datasets.source_folder import checksum

LARGEST_ZIP = 1 << 26  # bytes, packed
LARGEST_MEMBER = 1 << 28  # bytes, unpacked
_LARGEST_HEADER = 1 << 14
#: Length of every axis: a number, several that are allowed, or None for any.
ShapeSpec = Sequence[int | tuple[int, ...] | None]
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (ValueError, TypeError, KeyError, IndexError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError)
_KINDS = {"f": "floats", "i": "integers", "u": "unsigned integers", "b": "booleans"}


def read_npy(path: Path, shape: ShapeSpec, kinds: str) -> Array:
    """The array of a .npy file, in the machine's byte order.

    shape : length of every axis, e.g. ``(None, (3, 6))``; kinds : which kinds of numpy dtypes it may have: ``"fiu"``.
    Raises ``UnusableShapeError`` naming the file when it cannot be read, is none, or holds another array.
    """
    with _opened(path, LARGEST_FILE) as (stream, size):
        return _read(stream, size, path.name, shape, kinds)


def read_npz(path: Path, key: str, shape: ShapeSpec, kinds: str) -> Array:
    """One array of a .npz file; see ``read_npy``. What would unpack to more than ``LARGEST_MEMBER`` is refused.

    Raises ``UnusableShapeError``.
    """
    with _opened(path, LARGEST_ZIP) as (packed, _), _member(packed, path.name, f"{key}.npy") as (stream, size):
        return _read(stream, size, f"{path.name}, {key}", shape, kinds)


def checksum_together(paths: Iterable[Path]) -> str:
    """sha256 over the checksums of several files, in their order; "" when one of them cannot be read."""
    found = [checksum(path) for path in paths]
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if all(found) else ""


@contextmanager
def _opened(path: Path, largest: int) -> Iterator[tuple[IO[bytes], int]]:
    """(stream, bytes) of a plain file that is not too large."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # reading a pipe or a device need never end
            raise UnusableShapeError(f"{path.name}: cannot be read: it is a folder, a pipe or a device")
        if state.st_size > largest:
            raise UnusableShapeError(f"{path.name}: has {state.st_size} bytes, at most {largest} are read")
        with path.open("rb") as stream:
            yield stream, state.st_size
    except OSError as error:
        raise UnusableShapeError(f"{path.name}: cannot be read: {error.strerror or error}") from None


@contextmanager
def _member(packed: IO[bytes], name: str, wanted: str) -> Iterator[tuple[IO[bytes], int]]:
    """(stream, bytes) of one file of a zip archive; the stream ends after so many bytes, whatever was packed."""
    try:
        with zipfile.ZipFile(packed) as archive:
            if wanted not in archive.namelist():
                raise UnusableShapeError(f"{name}: holds no array {wanted.removesuffix('.npy')}")
            found = archive.getinfo(wanted)
            if found.file_size > LARGEST_MEMBER:
                raise UnusableShapeError(
                    f"{name}: {wanted} would unpack to {found.file_size} bytes, at most {LARGEST_MEMBER} are read"
                )
            with archive.open(found) as stream:
                yield stream, found.file_size
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OverflowError) as error:
        raise UnusableShapeError(f"{name}: not a readable .npz file ({str(error)[:120]})") from None


def _read(stream: IO[bytes], size: int, name: str, shape: ShapeSpec, kinds: str) -> Array:
    start = stream.read(_LARGEST_HEADER)
    found, fortran_order, dtype, offset = _header(start, name)
    if dtype.hasobject or dtype.kind not in kinds or dtype.itemsize > 8:
        allowed = " or ".join(_KINDS[kind] for kind in kinds)
        raise UnusableShapeError(f"{name}: holds values of the type {dtype}, must be {allowed}")
    if len(found) != len(shape) or not all(_fits(length, axis) for length, axis in zip(found, shape, strict=True)):
        raise UnusableShapeError(f"{name}: has the shape {found}, must be {_told(shape)}")
    wanted = math.prod(found) * dtype.itemsize
    if size - offset != wanted:
        raise UnusableShapeError(f"{name}: is damaged: {size - offset} bytes follow its header, which says {wanted}")
    content = start[offset:] + stream.read(max(0, size - len(start)))
    if len(content) != wanted:
        raise UnusableShapeError(f"{name}: is damaged: it ends after {len(content)} of {wanted} bytes")
    values = np.frombuffer(content, dtype).reshape(found, order="F" if fortran_order else "C")
    return np.array(values, dtype.newbyteorder("="), order="C")


def _header(start: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Shape, whether its first axis runs fastest, dtype, and where the values begin."""
    stream = io.BytesIO(start)
    try:
        reader = _READERS[np.lib.format.read_magic(stream)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Python 2 wrote it
            shape, fortran_order, dtype = reader(stream)
    except _BROKEN:
        raise UnusableShapeError(f"{name}: is no .npy array, or its header is damaged") from None
    return tuple(int(length) for length in shape), bool(fortran_order), dtype, stream.tell()


def _fits(length: int, axis: int | tuple[int, ...] | None) -> bool:
    return length >= 0 and (axis is None or length in (axis if isinstance(axis, tuple) else (axis,)))


def _told(shape: ShapeSpec) -> str:
    axes = [
        "n" if axis is None else " or ".join(map(str, axis)) if isinstance(axis, tuple) else str(axis) for axis in shape
    ]
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
