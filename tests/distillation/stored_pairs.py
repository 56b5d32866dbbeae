"""Small stage files of a distillation set, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointlift.contracts.stages import write_stage

NUM_SHAPES, NUM_POINTS, NUM_VIEWS, WIDTH = 12, 45, 3, 8


def write_pairs(
    folder: Path,
    *,
    first: int = 0,
    shapes: int = NUM_SHAPES,
    points: int = NUM_POINTS,
    views: int = NUM_VIEWS,
    unusable: dict[str, tuple[int, ...]] | None = None,
    signed: bool = True,
) -> dict[str, list[Path]]:
    """Write one shard per stage; ``unusable``: stage -> numbers of shapes it could not use. Returns paths by stage."""
    rng = np.random.default_rng(first)
    ids = [f"shape-{number:03d}" for number in range(first, first + shapes)]
    bad = {stage: set((unusable or {}).get(stage, ())) for stage in ("points", "visibility", "features")}
    bad["visibility"] |= bad["points"]
    bad["features"] |= bad["points"]
    counts = [0 if number in bad["points"] else points for number in range(shapes)]
    directions = rng.normal(size=(sum(counts), 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    target = rng.normal(size=(shapes, views, WIDTH)) if signed else rng.random((shapes, views, WIDTH))
    stages = {
        "points": {
            "points": directions,
            "normals": directions,
            "point_offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            "face_index": np.zeros(sum(counts), dtype=np.int32),
        },
        "visibility": {
            "visible": np.packbits(rng.random((shapes, views, points)) < 0.4, axis=-1),
            "num_points": np.array(counts, dtype=np.int64),
        },
        "features": {"embedding": target.astype(np.float16)},
    }
    paths = {}
    for stage, arrays in stages.items():
        valid = np.array([number not in bad[stage] for number in range(shapes)])
        own = (unusable or {}).get(stage, ())
        reasons = {ids[number]: f"broken in {stage}" for number in own}
        paths[stage] = [folder / stage / f"{first:04d}.safetensors"]
        write_stage(paths[stage][0], stage, ids, {**arrays, "valid": valid}, quarantine=reasons)
    return paths
