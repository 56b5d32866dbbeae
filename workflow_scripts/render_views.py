"""Photograph every shape of a shard, of meshes or of points, from a rig's cameras. Settings: ``block``, the rig."""

from __future__ import annotations

import argparse

from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.rendering.part_maps import part_attributes
from pointlift.rendering.views import render_shapes
from pointlift.rooms import load, settings_class


def main(arguments: argparse.Namespace) -> None:
    block = arguments.settings["block"]
    settings = parse(settings_class("rendering", block["kind"]), block, "rig")
    shapes = read_stage(arguments.shapes, settings.draws)
    renderer = load("rendering", block["kind"]).build(settings)
    arrays, quarantine = render_shapes(renderer, settings, shapes)
    num_views = len(renderer.world_to_camera)
    facts = {"num_views": num_views, **part_attributes(settings, shapes)}
    write_stage(arguments.output, "views", shapes.ids, arrays, quarantine=quarantine, **facts)


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("shapes", "output").parse_args())
