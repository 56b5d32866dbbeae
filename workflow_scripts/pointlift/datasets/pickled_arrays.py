"""What a pickle says of numpy arrays and of bytes, carried out on records: no name in it is ever imported or called.

numpy writes an array as a call of ``_reconstruct`` with a state, or in protocol 5 of ``_frombuffer``, and a dtype as a
call with a state (numpy.ndarray.__reduce__, __setstate__); Python 3 writes bytes in protocol 2 as a call of ``encode``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

_NUMPY = tuple(f"numpy.{core}.{module}" for core in ("core", "_core") for module in ("multiarray", "numeric"))
NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    **{(module, "_reconstruct"): "reconstruct" for module in _NUMPY},
    **{(module, "scalar"): "scalar" for module in _NUMPY},
    **{(module, "_frombuffer"): "frombuffer" for module in _NUMPY},
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
}
_DTYPES = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))


class RefusedError(Exception):
    """Why an opcode is not carried out."""


@dataclass(frozen=True)
class Name:
    """A known name, never the thing it names."""

    role: str


@dataclass
class DtypeRecord:
    """A numpy dtype; its byte order comes later, by BUILD."""

    code: str
    order: str = "="

    def real(self) -> np.dtype[Any]:
        """The dtype itself; its code is one of ``_DTYPES``."""
        return np.dtype(("|" if self.code[1:] == "1" else self.order) + self.code)


@dataclass
class ArrayRecord:
    """An array, empty until BUILD."""

    value: Any = None


def refuse(reason: str) -> NoReturn:
    """Raise ``RefusedError``."""
    raise RefusedError(reason)


def _make_array(arguments: tuple[Any, ...]) -> ArrayRecord:
    """An array that BUILD will fill: numpy writes (ndarray, (0,), b"b")."""
    if arguments != (Name("ndarray"), (0,), b"b"):
        refuse("an array must be begun as numpy begins it")
    return ArrayRecord()


def _make_dtype(arguments: tuple[Any, ...]) -> DtypeRecord:
    if len(arguments) != 3 or type(arguments[0]) is not str or arguments[0] not in _DTYPES:
        refuse(f"a dtype must be one of {', '.join(sorted(_DTYPES))}")
    if arguments[1] not in (False, 0) or arguments[2] not in (True, 1):
        refuse("a dtype must be plain")
    return DtypeRecord(arguments[0])


def _make_scalar(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) != 2 or type(arguments[0]) is not DtypeRecord:
        refuse("a scalar must have a dtype and its bytes")
    return _array_of(arguments[0], (), False, arguments[1])[()]


def _make_from_buffer(arguments: tuple[Any, ...]) -> ArrayRecord:
    if len(arguments) != 4 or type(arguments[1]) is not DtypeRecord or arguments[3] not in ("C", "F"):
        refuse("an array must have bytes, dtype, shape and order")
    content, dtype, shape, order = arguments
    return ArrayRecord(_array_of(dtype, shape, order == "F", content))


def _make_bytes(arguments: tuple[Any, ...]) -> bytes:
    """Python 3 writes bytes of protocol 2 as a string of their numbers."""
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] != "latin1":
        refuse("bytes must be written as Python writes them")
    return bytes(arguments[0].encode("latin1"))


def _make_no_bytes(arguments: tuple[Any, ...]) -> bytes:
    return b"" if arguments == () else refuse("bytes must be written as Python writes them")


MAKERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "reconstruct": _make_array,
    "dtype": _make_dtype,
    "scalar": _make_scalar,
    "frombuffer": _make_from_buffer,
    "encode": _make_bytes,
    "bytes": _make_no_bytes,
}


def set_byte_order(held: DtypeRecord, state: tuple[Any, ...]) -> None:
    """(3, order, None, None, None, -1, -1, 0): no fields, no subarray, no metadata."""
    plain = len(state) == 8 and state[2:] == (None, None, None, -1, -1, 0)
    if not plain or state[0] not in (3, 4) or type(state[1]) is not str or state[1] not in tuple("<>|="):
        refuse("a dtype must be plain, with its byte order")
    held.order = state[1]


def fill(held: ArrayRecord, state: tuple[Any, ...]) -> None:
    """(1, shape, dtype, is_fortran, bytes)."""
    if held.value is not None or len(state) != 5 or state[0] != 1 or type(state[2]) is not DtypeRecord:
        refuse("an array must be filled once, by version, shape, dtype, order and bytes")
    held.value = _array_of(state[2], state[1], bool(state[3]), state[4])


def _array_of(dtype: DtypeRecord, shape: Any, fortran: bool, content: Any) -> Any:
    """An array over the bytes, no copy, in the byte order of the file; they must be as many as dtype and shape say."""
    if type(shape) is not tuple or len(shape) > 8 or any(type(n) is not int or n < 0 for n in shape):
        refuse("a shape must be at most 8 whole numbers")
    real = dtype.real()
    if not isinstance(content, bytes | bytearray) or len(content) != math.prod(shape) * real.itemsize:
        refuse(f"the bytes of an array are not as many as {shape} of {real} need")
    flat = np.frombuffer(content, dtype=real) if len(content) else np.empty(0, dtype=real)
    return flat.reshape(shape, order="F" if fortran else "C")
