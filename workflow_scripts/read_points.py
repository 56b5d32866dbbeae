"""Read the clouds of one shard of a dataset without meshes, normalise them and take so many points of each."""

from __future__ import annotations

import argparse
from pathlib import Path

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import write_stage
from pointlift.datasets.ingest import load_points_shard


def main(arguments: argparse.Namespace) -> None:
    block, ids = arguments.settings["block"], arguments.settings["ids"]
    settings = parse(rooms.settings_class("datasets", block["kind"]), block, "block")
    dataset = rooms.load("datasets", block["kind"]).build(settings, arguments.folder)
    arrays, attributes = load_points_shard(dataset, ids, settings)
    write_stage(arguments.output, "points", ids, arrays, **attributes)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("output")
    parser.add_argument("--folder", type=Path, default=None, help="where the dataset's files lie")
    run(main, parser.parse_args())
