"""Say which points of a shard every camera of a rig sees. Settings: ``block``, the rig."""

from __future__ import annotations

import argparse

from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.rendering.point_visibility import see_shapes
from pointlift.rooms import load, settings_class


def main(arguments: argparse.Namespace) -> None:
    block = arguments.settings["block"]
    settings = parse(settings_class("rendering", block["kind"]), block, "rig")
    shapes, points = read_stage(arguments.shapes, settings.draws), read_stage(arguments.points, "points")
    arrays = see_shapes(settings, shapes, points, lambda: load("rendering", block["kind"]).build(settings))
    write_stage(arguments.output, "visibility", points.ids, arrays, quarantine={})


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("shapes", "points", "output").parse_args())
