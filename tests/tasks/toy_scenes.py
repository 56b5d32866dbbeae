"""A few small scenes in shards, as a task on scenes reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.stages import pack, write_stage

SEMANTIC_NAMES = ("floor", "wall", "chair")
BOX_NAMES = ("chair",)


def write_scenes(
    folder: Path, splits: dict[str, str], per_shard: int = 2, unusable: tuple[str, ...] = (), num_points: int = 300
) -> tuple[Path, list[Path]]:
    """Manifest and point shards of scenes (id -> split): a floor, a wall, and a chair-sized cube with its box."""
    names = list(splits)
    paths = []
    for number, first in enumerate(range(0, len(names), per_shard)):
        path = folder / f"{number:04d}.safetensors"
        _write_shard(path, names[first : first + per_shard], unusable, num_points)
        paths.append(path)
    rows = [
        [name, "", -1, split, f"{index // per_shard:04d}", "", ""] for index, (name, split) in enumerate(splits.items())
    ]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    return folder / "manifest.csv", paths


def _write_shard(path: Path, names: list[str], unusable: tuple[str, ...], num_points: int) -> None:
    scenes = [scene(name, 0 if name in unusable else num_points) for name in names]
    points, point_offsets = pack([each[0] for each in scenes])
    boxes, box_offsets = pack([each[2] for each in scenes])
    arrays = {
        "points": points,
        "point_offsets": point_offsets,
        "semantic_label": np.concatenate([each[1] for each in scenes]),
        "boxes": boxes,
        "box_offsets": box_offsets,
        "box_label": np.zeros(len(boxes), dtype=np.int16),
        "valid": np.array([name not in unusable for name in names]),
    }
    facts = {"semantic_names": list(SEMANTIC_NAMES), "box_names": list(BOX_NAMES)}
    quarantine = {name: "broken" for name in names if name in unusable}
    write_stage(path, "points", names, arrays, quarantine=quarantine, **facts)


def scene(name: str, num_points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 3) float32, their classes (n,) int16, boxes (k, 7) float32; the same for the same name."""
    rng = np.random.default_rng(sum(map(ord, name)))
    place = rng.uniform(0.5, 2.5, 2)
    label = np.arange(num_points) % 3
    points = rng.uniform(0.0, 1.0, (num_points, 3)) * [3.0, 3.0, 0.0]  # the floor
    wall, chair = label == 1, label == 2
    points[wall] = rng.uniform(0.0, 1.0, (wall.sum(), 3)) * [0.0, 3.0, 2.0]
    points[chair] = rng.uniform(-0.5, 0.5, (chair.sum(), 3)) * [0.5, 0.5, 1.0] + [*place, 0.5]
    boxes = np.array([[*place, 0.5, 0.5, 0.5, 1.0, 0.0]] if num_points else np.zeros((0, 7)))
    return points.astype(np.float32), label.astype(np.int16), boxes.astype(np.float32)
