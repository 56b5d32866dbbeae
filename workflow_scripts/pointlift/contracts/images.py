"""Rendered views, and maps of their parts, as losslessly compressed bytes."""

from __future__ import annotations

import io
import itertools

import numpy as np
from PIL import Image

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array, Shard


def pack_images(images: Array) -> tuple[Array, Array]:
    """Compress images uint8 (I, H, W, 3), or maps (I, H, W), as PNG: (bytes uint8 (n,), offsets int64 (I + 1,))."""
    files = [_encode(image) for image in images]
    offsets = np.concatenate([[0], np.cumsum([len(file) for file in files])]).astype(np.int64)
    return np.frombuffer(b"".join(files), dtype=np.uint8), offsets


def unpack_images(image_bytes: Array, offsets: Array) -> Array:
    """Decompress images: the inverse of ``pack_images``, uint8 (I, H, W, 3)."""
    pieces = itertools.pairwise(offsets)
    return np.stack([_decode(image_bytes[start:stop].tobytes()) for start, stop in pieces])


def unpack_maps(map_bytes: Array, offsets: Array) -> Array:
    """Decompress maps: the inverse of ``pack_images``, uint8 (I, H, W). Raises ``ValueError`` for other PNGs."""
    pieces = itertools.pairwise(offsets)
    return np.stack([_decode_map(map_bytes[start:stop].tobytes()) for start, stop in pieces])


def images_of(views: Shard, index: int) -> Array:
    """Decompress the views of one shape of a ``views`` shard: uint8 (V, H, W, 3).

    Raises ``ArtifactError`` for a shape that has none (``valid`` is False): its consumers skip it.
    """
    if not views["valid"][index]:
        raise ArtifactError(f"{views.ids[index]} has no views, it is not valid; skip it")
    num_views = views["foreground"].shape[1]
    return unpack_images(views["image_bytes"], views["image_offsets"][index * num_views : (index + 1) * num_views + 1])


def _encode(image: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def _decode(file: bytes) -> Array:
    with Image.open(io.BytesIO(file), formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))


def _decode_map(file: bytes) -> Array:
    with Image.open(io.BytesIO(file), formats=["PNG"]) as image:
        if image.mode != "L":
            raise ValueError(f"a map must be an 8-bit grey PNG, this one has mode {image.mode}")
        return np.asarray(image)
