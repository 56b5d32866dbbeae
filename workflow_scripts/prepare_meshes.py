"""Read the meshes of one shard of a dataset, clean and normalise them; what cannot be used is quarantined."""

from __future__ import annotations

import argparse
from pathlib import Path

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import write_stage
from pointlift.datasets.ingest import load_shard


def main(arguments: argparse.Namespace) -> None:
    block, ids = arguments.settings["block"], arguments.settings["ids"]
    settings = parse(rooms.settings_class("datasets", block["kind"]), block, "block")
    dataset = rooms.load("datasets", block["kind"]).build(settings, arguments.folder)
    arrays, attributes = load_shard(dataset, ids)
    write_stage(arguments.output, "meshes", ids, arrays, **attributes)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("output")
    parser.add_argument("--folder", type=Path, default=None, help="where the dataset's files lie, if it has any")
    run(main, parser.parse_args())
