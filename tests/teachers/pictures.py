"""Drawn pictures of three kinds of figure on white, as a shard of views and its manifest."""

import numpy as np
import pandas as pd

from pointlift.contracts.images import pack_images
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.stages import write_stage

CLASSES = ("bar", "disc", "frame")
MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "image_size": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def draw(figure, rng, size=32):
    """One picture uint8 (size, size, 3): the figure in a random place, size and grey."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    down, right = (axis - rng.uniform(0.42, 0.58) * size for axis in (rows, columns))
    radius = rng.uniform(0.22, 0.36) * size
    square = np.maximum(abs(down), abs(right))
    inside = {
        "disc": np.hypot(down, right) < radius,
        "frame": (square < radius) & (square > 0.65 * radius),
        "bar": (abs(down) < 0.25 * radius) & (abs(right) < radius),
    }[figure]
    return np.repeat(np.where(inside, rng.integers(40, 160), 255)[..., None], 3, axis=2).astype(np.uint8)


def write_views(path, classes, num_views=2, size=32, seed=0, unusable=()):
    """A shard of views with one shape per class name given; returns (ids, images (S, V, H, W, 3))."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"{name}-{path.stem}-{row}" for row, name in enumerate(classes))
    images = np.stack([[draw(name, rng, size) for _ in range(num_views)] for name in classes])
    valid = np.array([row not in unusable for row in range(len(ids))])
    image_bytes, kept = pack_images(images[valid].reshape(-1, size, size, 3))
    lengths = np.zeros((len(ids), num_views), np.int64)
    lengths[valid] = np.diff(kept).reshape(-1, num_views)
    arrays = {
        "image_bytes": image_bytes,
        "image_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "foreground": np.full((len(ids), num_views), 0.2, np.float32),
        "world_to_camera": np.tile(np.eye(4, dtype=np.float32), (num_views, 1, 1)),
        "intrinsics": np.eye(3, dtype=np.float32),
        "valid": valid,
    }
    write_stage(path, "views", ids, arrays, quarantine={ids[row]: "blank" for row in unusable})
    return ids, images


def write_drawn_dataset(folder, per_class=24, val_per_class=8):
    """Two shards of views (train, val) and manifest.csv in ``folder``."""
    rows = []
    for split, count, seed in (("train", per_class, 1), ("val", val_per_class, 2)):
        classes = CLASSES * count
        ids, _ = write_views(folder / f"{split}.safetensors", classes, seed=seed)
        rows += [
            [shape_id, name, CLASSES.index(name), split, "0000", "", ""]
            for shape_id, name in zip(ids, classes, strict=True)
        ]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
