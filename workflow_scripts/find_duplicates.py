"""List the shapes of one dataset that are near-duplicates of another's, whatever their pose, scale and mirror side.

Writes a table: shape_id, other_id, chamfer_distance (mean nearest-neighbour distance after alignment, radii).
"""

from __future__ import annotations

import argparse

import pandas as pd
from pointlift.geometry.duplicates import near_duplicates

from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.contracts.shards import Array
from pointlift.contracts.stages import read_stages, unpack

COLUMNS = ["shape_id", "other_id", "chamfer_distance"]


def usable_clouds(paths: list[str]) -> tuple[list[str], list[Array]]:
    """Ids and points (n, 3) of the valid shapes of some point shards."""
    shard = read_stages(paths, "points")
    clouds = unpack(shard["points"], shard["point_offsets"])
    kept = [index for index, valid in enumerate(shard["valid"]) if valid]
    return [shard.ids[index] for index in kept], [clouds[index] for index in kept]


def main(arguments: argparse.Namespace) -> None:
    ids, clouds = usable_clouds(arguments.points)
    other_ids, others = usable_clouds(arguments.others)
    found = near_duplicates(clouds, others)
    rows = [(ids[i], other_ids[j], f"{distance:.5f}") for i, j, distance in found]
    table = pd.DataFrame(sorted(rows), columns=COLUMNS)
    write_text(arguments.output, table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("points", "others", "output", many=("points", "others")).parse_args())
