"""A small labelled dataset on disk: three kinds of ellipsoid surface, easy to tell apart; two shards, one bad shape."""

from pathlib import Path

import numpy as np
import pandas as pd

from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.stages import pack, write_stage

AXES = np.array([[1.0, 1.0, 1.0], [1.0, 0.4, 0.15], [0.2, 0.2, 1.0]])
SPLIT = ["train"] * 8 + ["val"] * 2 + ["test"] * 4
NUM_POINTS, NUM_VIEWS, TEACHER_WIDTH = 32, 3, 5
INVALID = "flat-003"
PART_NAMES = [f"{name}/{part}" for name in ("ball", "flat", "rod") for part in ("above", "below")]
STUDENT = {"kind": "pointnet", "widths": [8, 16], "feature_transform": False, "input_transform": False}


def write_dataset(folder: Path) -> dict[str, list[Path]]:
    """Paths by stage: manifest, points, visibility, features."""
    rows, clouds = [], []
    for label, name in enumerate(["ball", "flat", "rod"]):
        for number, split in enumerate(SPLIT):
            shape_id = f"{name}-{number:03d}"
            rng = np.random.default_rng([label, number])
            directions = rng.normal(size=(NUM_POINTS, 3))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            clouds.append((directions * AXES[label] * rng.uniform(0.9, 1.1, 3)).astype(np.float32))
            rows.append([shape_id, name, label, split, f"{len(rows) // 30:04d}", f"{shape_id}.off", "0" * 64])
    manifest = folder / "manifest.csv"
    write_manifest(manifest, pd.DataFrame(rows, columns=COLUMNS))
    ids = [row[0] for row in rows]
    paths = {"manifest": [manifest], "points": [], "visibility": [], "features": []}
    for shard, part in enumerate([slice(0, 30), slice(30, None)]):
        arrays = _shard(ids[part], clouds[part])
        for stage, content in arrays.items():
            paths[stage].append(folder / stage / f"{shard:04d}.safetensors")
            names = {"class_names": ["ball", "flat", "rod"], "part_names": PART_NAMES} if stage == "points" else {}
            write_stage(paths[stage][-1], stage, ids[part], content, **names)
    return paths


def _shard(ids: list[str], clouds: list[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    valid = np.array([shape_id != INVALID for shape_id in ids])
    kept = [cloud if good else cloud[:0] for cloud, good in zip(clouds, valid, strict=True)]
    points, offsets = pack(kept)
    visible_SVN = np.stack([cloud @ np.eye(3)[:, :NUM_VIEWS] > -0.2 for cloud in clouds]).transpose(0, 2, 1)
    rng = np.random.default_rng(len(ids))
    return {
        "points": {
            "points": points,
            "point_offsets": offsets,
            "normals": np.zeros_like(points),
            "face_index": np.zeros(len(points), dtype=np.int32),
            "part_label": _parts(ids, kept),
            "valid": valid,
        },
        "visibility": {
            "visible": np.packbits(visible_SVN, axis=-1),
            "num_points": np.where(valid, NUM_POINTS, 0).astype(np.int64),
            "valid": valid,
        },
        "features": {
            "embedding": rng.uniform(size=(len(ids), NUM_VIEWS, TEACHER_WIDTH)).astype(np.float16),
            "valid": valid,
        },
    }


def _parts(ids: list[str], clouds: list[np.ndarray]) -> np.ndarray:
    """Each point's half of its shape, above or below the middle; the first point of each has none."""
    labels = []
    for shape_id, cloud in zip(ids, clouds, strict=True):
        first = 2 * ["ball", "flat", "rod"].index(shape_id.split("-")[0])
        labels.append(np.where(cloud[:, 2] > 0, first, first + 1))
        labels[-1][:1] = -1
    return np.concatenate(labels).astype(np.int16)
