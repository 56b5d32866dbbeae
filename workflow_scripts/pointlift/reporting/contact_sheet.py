"""A few renders of every class, so that a reader sees what the teacher saw."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pointlift.contracts.images import images_of
from pointlift.contracts.shards import Array, Shard, read_header
from pointlift.contracts.stages import read_stage

_MAX_SHAPES = 32
_SHAPES_PER_CLASS = 2
_VIEWS = 4
_MAX_PIXELS = 112


@dataclass(frozen=True)
class Strip:
    """Some views of one shape side by side. ``source`` is a data URL of a PNG, ``size`` its (width, height)."""

    class_name: str
    shape_id: str
    source: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Sheet:
    """Renders of one dataset under one rig."""

    dataset: str
    rig: str
    strips: tuple[Strip, ...]


def contact_sheets(paths: Sequence[Path], manifests: Mapping[str, pd.DataFrame]) -> list[Sheet]:
    """One sheet per dataset and rig, from shards ``.../{dataset}/{rig}/{shard}.safetensors``.

    Up to two shapes per class, in the order of the dataset, none of its test split; without a manifest the class is
    unknown and the first shapes are shown. Shards that hold nothing wanted are not read beyond their header.
    """
    folders: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(paths):
        folders.setdefault((path.parent.parent.name, path.parent.name), []).append(path)
    sheets = []
    for (dataset, rig), shards in sorted(folders.items()):
        table = manifests.get(dataset)
        classes = {} if table is None else _shown(table)
        strips = sorted(_strips(shards, classes), key=lambda strip: (strip.class_name, strip.shape_id))
        sheets.append(Sheet(dataset, rig, tuple(strips)))
    return sheets


def _shown(table: pd.DataFrame) -> dict[str, str]:
    """Class of each shape that may be shown: not of the test split, which nobody looks at to choose anything."""
    seen = table[table["split"] != "test"]
    return dict(zip(seen["shape_id"], seen["class_name"], strict=True))


def _strips(shards: Sequence[Path], classes: Mapping[str, str]) -> list[Strip]:
    limit = _SHAPES_PER_CLASS if 1 < len(set(classes.values())) <= _MAX_SHAPES // _SHAPES_PER_CLASS else 1
    if len(set(classes.values())) <= 1:
        limit = _MAX_SHAPES // 4
    taken: dict[str, int] = {}
    strips: list[Strip] = []
    for path in shards:
        wanted = {i: classes.get(i, "") for i in read_header(path, "views").ids if i in classes or not classes}
        if len(strips) >= _MAX_SHAPES or all(taken.get(name, 0) >= limit for name in wanted.values()):
            continue
        shard = read_stage(path, "views")
        for index, shape_id in enumerate(shard.ids):
            name = wanted.get(shape_id)
            if name is None or not shard["valid"][index]:
                continue
            if taken.get(name, 0) < limit and len(strips) < _MAX_SHAPES:
                taken[name] = taken.get(name, 0) + 1
                strips.append(_strip(name, shape_id, _images(shard, index)))
    return strips


def _images(shard: Shard, index: int) -> Array:
    """Some views of one shape, evenly spaced: uint8 (views, H, W, 3)."""
    images = images_of(shard, index)
    return images[np.linspace(0, len(images), min(_VIEWS, len(images)), endpoint=False).astype(int)]


def _strip(class_name: str, shape_id: str, images: Array) -> Strip:
    picture = Image.fromarray(np.concatenate(list(images), axis=1))
    if picture.height > _MAX_PIXELS:
        picture = picture.resize((picture.width * _MAX_PIXELS // picture.height, _MAX_PIXELS), Image.Resampling.BOX)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return Strip(class_name, shape_id, f"data:image/png;base64,{text}", picture.size)
