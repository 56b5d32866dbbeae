"""List the shapes of a dataset with class, split, shard and checksum, and those that cannot be used with the reason."""

from __future__ import annotations

import argparse
import logging

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import write_manifest, write_quarantine
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage
from pointlift.datasets.ingest import manifest_rows, quarantine_rows


def main(arguments: argparse.Namespace) -> None:
    block = arguments.settings["block"]
    settings = parse(rooms.settings_class("datasets", block["kind"]), block, "block")
    kind, stage = ("meshes", "prepare_meshes") if settings.has_meshes else ("points", "read_points")
    shards = [(path.stem, read_stage(path, kind)) for path in arguments.shards]
    unusable = quarantine_rows(shards, stage)
    write_quarantine(arguments.quarantine, unusable)
    rows = manifest_rows(shards)
    if len(unusable) > settings.max_quarantined * len(rows):
        for shape_id, stage, reason in unusable:
            logging.getLogger("build_manifest").warning("%s: %s: %s", stage, shape_id, reason)
        first = "; ".join(f"{shape_id}: {reason}" for shape_id, _, reason in unusable[:3])
        raise ArtifactError(
            f"dataset {arguments.output.stem}: {len(unusable)} of {len(rows)} shapes cannot be used, more than its "
            f"max_quarantined of {settings.max_quarantined:g} allows (first: {first}). "
            f"All reasons stand in this job's log. Mend the files, delete {arguments.shards[0].parent} and run again; "
            "or raise max_quarantined in config.yaml"
        )
    write_manifest(arguments.output, rows)


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("shards", "output", "quarantine", many=("shards",)).parse_args())
