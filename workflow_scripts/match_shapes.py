"""Find the mesh of another dataset that each shape of a dataset of points names, and see whether it is that one.

Writes a table: shape_id, other_id, accepted (yes or no), chamfer_spacings, and for an accepted mesh how it comes to lie
on the cloud (cloud = scale * rotation @ mesh + shift), else the reason. The rows with no are the reject list.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.contracts.shards import Shard
from pointlift.contracts.stages import read_stage, read_stages, unpack
from pointlift.datasets.matching import COLUMNS, NO_MESH, Match, match, named_alike, token_of
from pointlift.geometry.meshes import meshes_of

logger = logging.getLogger("match_shapes")


def matches(points: Shard, paths: list[Path]) -> Iterator[Match]:
    """Every mesh that a shape names, compared with it. One shard at a time: ShapeNetCore does not fit into memory."""
    clouds = dict(zip(points.ids, unpack(points["points"], points["point_offsets"]), strict=True))
    named = defaultdict(list)
    for shape_id in (each for each in points.ids if each not in points.attributes["quarantine"]):
        named[token_of(shape_id)].append(shape_id)
    for shard in (read_stage(path, "meshes") for path in paths):
        reasons = shard.attributes["quarantine"]
        for other_id, mesh in zip(shard.ids, meshes_of(shard), strict=True):
            for shape_id in filter(partial(named_alike, other_id), named.get(token_of(other_id), ())):
                if other_id in reasons:
                    yield Match(shape_id, other_id, None, f"mesh unusable: {reasons[other_id]}")
                else:
                    yield match(shape_id, clouds[shape_id], other_id, mesh)


def main(arguments: argparse.Namespace) -> None:
    points = read_stages(arguments.points, "points")
    found = {shape_id: Match(shape_id, "", None, NO_MESH) for shape_id in points.ids}
    for shape_id, reason in points.attributes["quarantine"].items():
        found[shape_id] = Match(shape_id, "", None, f"cloud unusable: {reason}")
    for each in matches(points, arguments.meshes):
        found[each.shape_id] = min(found[each.shape_id], each, key=lambda one: one.order)
    counts = Counter(each.reason.partition(":")[0] or "accepted" for each in found.values())
    logger.info("%d shapes: %s", len(found), ", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    table = pd.DataFrame([each.row() for each in found.values()], columns=COLUMNS)
    write_text(arguments.output, table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("points", "meshes", "output", many=("points", "meshes")).parse_args())
