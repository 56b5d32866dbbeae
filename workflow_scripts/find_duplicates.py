"""List the shapes of one dataset that stand in another, whatever their pose, scale and mirror side.

Writes a table: shape_id, other_id, how (exact, near), chamfer_spacings (chamfer distance after the best alignment
found, in spacings of the points: 1 is as near as two samples of one surface). Either dataset has meshes or points. A
dataset with itself (no --others): its twins.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pointlift.contracts.command import Parser, run
from pointlift.contracts.duplicates import write_duplicates
from pointlift.contracts.settings import parse
from pointlift.datasets.comparison import ComparisonSettings, compare, compare_within, read_side


def main(arguments: argparse.Namespace) -> None:
    settings = parse(ComparisonSettings, arguments.settings, "find_duplicates")
    side = read_side(arguments.shapes, settings.shapes, beside=settings.others)
    if settings.same:
        write_duplicates(arguments.output, compare_within(side))
    else:
        others = read_side(arguments.others, settings.others, beside=settings.shapes)
        write_duplicates(arguments.output, compare(side, others))


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("shapes", "output", many=("shapes",))
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="shards of the other dataset")
    run(main, parser.parse_args())
