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
    meshes, points = read_stage(arguments.meshes, "meshes"), read_stage(arguments.points, "points")
    arrays = see_shapes(settings, meshes, points, lambda: load("rendering", block["kind"]).build(settings))
    write_stage(arguments.output, "visibility", points.ids, arrays, quarantine={})


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("meshes", "points", "output").parse_args())
