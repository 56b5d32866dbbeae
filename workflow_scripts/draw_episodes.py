"""Draw few-shot episodes from a dataset's manifest: support from its train and val shapes, queries from its test split.

val is a part of the official train split wherever there is no official val split, so that episodes are the same for
every share of it. Of ModelNet40 (base resampled) this gives the committed files.
"""

from __future__ import annotations

import argparse

from pointlift.contracts.command import Parser, run
from pointlift.contracts.episodes import EpisodePlan, draw, write_episodes
from pointlift.contracts.settings import parse
from pointlift.tasks.shapes import ids_by_class


def main(arguments: argparse.Namespace) -> None:
    settings = arguments.settings
    plan = parse(EpisodePlan, settings["plan"], "plan")
    train, test = ids_by_class(arguments.manifest)
    base = settings["base"]
    write_episodes(arguments.output, draw(f"{base}/{plan.name}", base, train, test, plan))


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("manifest", "output").parse_args())
