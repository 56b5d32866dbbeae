"""Pictures, depth maps and matrices of posed frames: nothing is decoded before its size is known."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.mesh_file import read_bytes

LARGEST_PICTURE = 1 << 25  # pixels
LARGEST_PACKED = 1 << 27  # bytes
LARGEST_TEXT = 1 << 16
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)
_DEPTH_MODES = ("I;16", "I;16B", "I;16L", "I")


def read_picture(path: Path) -> Array:
    """The colours of a JPEG or PNG file: uint8 (H, W, 3). Raises ``UnusableShapeError`` naming the file."""
    return np.asarray(_decoded(path, ("JPEG", "PNG"), None).convert("RGB"))


def read_depth(path: Path) -> Array:
    """The numbers of a 16-bit grey PNG file: uint16 (H, W). Raises ``UnusableShapeError`` naming the file."""
    numbers = np.asarray(_decoded(path, ("PNG",), _DEPTH_MODES))
    if numbers.min() < 0 or numbers.max() > 65535:
        raise UnusableShapeError(f"{path.name}: a depth is not within 0 to 65535")
    return numbers.astype(np.uint16)


def _decoded(path: Path, formats: tuple[Literal["JPEG", "PNG"], ...], modes: tuple[str, ...] | None) -> Image.Image:
    content = _content(path, LARGEST_PACKED)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, of large pictures; ours refuses smaller ones
            image = Image.open(io.BytesIO(content), formats=formats)
            width, height = image.size
            if width * height > LARGEST_PICTURE:
                raise UnusableShapeError(
                    f"{path.name}: has {width} x {height} pixels, at most {LARGEST_PICTURE} are read"
                )
            if modes is not None and image.mode not in modes:
                raise UnusableShapeError(f"{path.name}: a depth map must be a 16-bit grey PNG, this is {image.mode}")
            image.load()
    except Image.DecompressionBombError:
        raise UnusableShapeError(f"{path.name}: has far more than {LARGEST_PICTURE} pixels") from None
    except _BROKEN as error:
        wanted = " or ".join(formats)
        raise UnusableShapeError(f"{path.name}: not a whole {wanted} picture ({str(error)[:80]})") from None
    return image


def read_matrix(path: Path) -> Array:
    """Four rows of four numbers: (4, 4) float64, perhaps not finite. Raises ``UnusableShapeError`` naming the file."""
    try:
        rows = [[float(word) for word in line.split()] for line in _text(path).splitlines() if line.strip()]
    except ValueError:
        raise UnusableShapeError(f"{path.name}: a word is no number; it must be a matrix of 4 rows of 4") from None
    if [len(row) for row in rows] != [4] * 4:
        raise UnusableShapeError(f"{path.name}: must be a matrix of 4 rows of 4 numbers")
    return np.array(rows)


def read_keys(path: Path) -> dict[str, str]:
    """The lines ``key = value`` of a text file. Raises ``UnusableShapeError`` naming the file."""
    pairs = [line.partition("=") for line in _text(path).splitlines()]
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def _text(path: Path) -> str:
    try:
        return _content(path, LARGEST_TEXT).decode("utf-8")
    except UnicodeDecodeError:
        raise UnusableShapeError(f"{path.name}: is no text") from None


def _content(path: Path, largest: int) -> bytes:
    """What a file holds. Raises ``UnusableShapeError`` naming it, also when it has more than ``largest`` bytes."""
    try:
        if path.exists() and path.stat().st_size > largest:
            raise UnusableShapeError(f"{path.name}: has more than {largest} bytes, which are not read")
        return read_bytes(path)
    except UnusableShapeError as error:
        told = str(error)
    except OSError as error:
        told = f"cannot be read: {error.strerror}"
    raise UnusableShapeError(told if told.startswith(path.name) else f"{path.parent.name}/{path.name}: {told}")
