"""List the shapes of one dataset that are near-duplicates of another's, whatever their pose, scale and mirror side.

Writes a table: shape_id, other_id, chamfer_spacings (chamfer distance after the best alignment found, in spacings of
the points: 1 is as near as two samples of one surface).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from pointlift.contracts.blocks import Scan
from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.shards import Array
from pointlift.contracts.stages import read_stage
from pointlift.geometry.duplicates import near_duplicates
from pointlift.geometry.meshes import meshes_of
from pointlift.geometry.sampling import sample_scan

COLUMNS = ["shape_id", "other_id", "chamfer_spacings"]
# Only what shows from outside: a model and its watertight repair differ within.
OUTSIDE, NUM_POINTS = Scan(num_views=20), 1024


def clouds_of(paths: list[Path]) -> dict[str, Array]:
    """Points (n, 3) on the outside of every valid shape of some mesh shards, by id."""
    clouds: dict[str, Array] = {}
    for shard in (read_stage(path, "meshes") for path in paths):
        for shape_id, mesh, valid in zip(shard.ids, meshes_of(shard), shard["valid"], strict=True):
            if valid:
                rng = np.random.default_rng(stable_seed(shape_id, "find_duplicates"))
                clouds[shape_id] = sample_scan(mesh, OUTSIDE, NUM_POINTS, rng)[0]
    return clouds


def main(arguments: argparse.Namespace) -> None:
    clouds, others = clouds_of(arguments.meshes), clouds_of(arguments.others)
    ids, other_ids = list(clouds), list(others)
    found = near_duplicates(list(clouds.values()), list(others.values()))
    rows = [(ids[i], other_ids[j], f"{distance:.4f}") for i, j, distance in found]
    table = pd.DataFrame(sorted(rows), columns=COLUMNS)
    write_text(arguments.output, table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("meshes", "others", "output", many=("meshes", "others")).parse_args())
