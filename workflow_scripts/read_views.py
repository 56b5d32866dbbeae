"""Read the pictures that come with the clouds of a shard, and say what they show of them. Settings: ``block``, the
dataset, and ``rig``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage


def main(arguments: argparse.Namespace) -> None:
    block, rig, ids = (arguments.settings[key] for key in ("block", "rig", "ids"))
    settings = parse(rooms.settings_class("datasets", block["kind"]), block, "block")
    dataset = rooms.load("datasets", block["kind"]).build(settings, arguments.folder)
    reader = rooms.load("rendering", rig["kind"]).build(
        parse(rooms.settings_class("rendering", rig["kind"]), rig, "rig")
    )
    points = read_stage(arguments.points, "points", ids)
    found = reader.read(dataset.load_views, points)
    num_views = found.views["foreground"].shape[1]
    write_stage(
        arguments.views, "views", ids, found.views, quarantine=found.quarantine, num_views=num_views, phase="read_views"
    )
    write_stage(arguments.visibility, "visibility", ids, found.visibility, quarantine={})


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("points", "views", "visibility")
    parser.add_argument("--folder", type=Path, default=None, help="where the dataset's files lie")
    run(main, parser.parse_args())
