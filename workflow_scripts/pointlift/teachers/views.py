"""Reading rendered views from their shards: decoded ahead in a thread while the network works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.images import unpack_images, unpack_maps
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import read_stage

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class LabelledViews:
    """Views of shapes whose class is known: images uint8 (S, V, ...), label (S,) int64 into the class names."""

    images: Array
    label: Array


def num_views(shard: Shard) -> int:
    """V of a shard of views."""
    return int(shard["foreground"].shape[1])


def decode(shard: Shard, image_index: Array) -> Array:
    """Images of a shard of views by number (shape * V + view): uint8 (len(image_index), H, W, 3).

    Raises ``ArtifactError`` naming the shape whose picture cannot be read, or is of another size than the rest.
    """
    return _decoded(shard, image_index, "image", unpack_images)


def decode_maps(shard: Shard, image_index: Array) -> Array:
    """The maps of parts that belong to the images of these numbers: uint8 (len(image_index), H, W), 255 for no part.

    Raises ``ArtifactError`` as ``decode`` does.
    """
    return _decoded(shard, image_index, "part_map", unpack_maps)


def _decoded(shard: Shard, image_index: Array, name: str, unpack: Callable[[Array, Array], Array]) -> Array:
    offsets, file_bytes, images = shard[f"{name}_offsets"], shard[f"{name}_bytes"], []
    for index in image_index:
        try:
            images.append(unpack(file_bytes, offsets[index : index + 2])[0])
        except (OSError, ValueError, SyntaxError) as error:
            shape_id = shard.ids[index // num_views(shard)]
            raise ArtifactError(f"views of shape {shape_id}: a picture cannot be read ({error})") from None
        if images[-1].shape != images[0].shape:
            shape_id = shard.ids[index // num_views(shard)]
            raise ArtifactError(f"views of shape {shape_id}: {images[-1].shape}, the others are {images[0].shape}")
    return np.stack(images)


def usable_images(shard: Shard) -> Array:
    """Numbers of all images of the valid shapes, in order, int64."""
    views = num_views(shard)
    return (np.flatnonzero(shard["valid"])[:, None] * views + np.arange(views)).reshape(-1)


def labelled_views(
    paths: Iterable[Path], labels: Mapping[str, int], resize: Callable[[Array], Array]
) -> LabelledViews | None:
    """All valid shapes of these shards that stand in ``labels`` (shape id -> label); None when there is none.

    Every shape's images go through ``resize`` ((V, H, W, 3) to (V, ...)) at once, so that full-size images of one shape
    alone are in memory.
    """
    images, label = [], []
    for path in paths:
        shard = read_stage(path, "views")
        rows = [row for row, shape_id in enumerate(shard.ids) if shard["valid"][row] and shape_id in labels]
        numbers = np.arange(num_views(shard))
        images += [resize(decode(shard, row * num_views(shard) + numbers)) for row in rows]
        label += [labels[shard.ids[row]] for row in rows]
    return LabelledViews(np.stack(images), np.array(label, dtype=np.int64)) if images else None


def ahead(make: Callable[[Item], Result], items: Sequence[Item], depth: int = 2) -> Iterator[Result]:
    """``make`` of every item in order, up to ``depth`` of them made ahead in one background thread."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(make, item) for item in items[:depth]]
        for item in items[depth:]:
            result = waiting.pop(0).result()
            waiting.append(pool.submit(make, item))
            yield result
        for future in waiting:
            yield future.result()
