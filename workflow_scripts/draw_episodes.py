"""Draw few-shot episodes from a dataset's manifest: support from its train and val shapes, queries from its test split.

val is a part of the official train split wherever there is no official val split, so that episodes are the same for
every share of it. Of ModelNet40 (base resampled) this gives the committed files.
"""

from __future__ import annotations

import argparse

from pointlift.contracts.command import Parser, run
from pointlift.contracts.episodes import EpisodePlan, draw, write_episodes
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import UNLABELLED, read_manifest
from pointlift.contracts.settings import parse


def main(arguments: argparse.Namespace) -> None:
    settings = arguments.settings
    plan = parse(EpisodePlan, settings["plan"], "plan")
    rows = read_manifest(arguments.manifest)
    if (rows["label"] == UNLABELLED).any():
        raise ArtifactError(f"{arguments.manifest}: has shapes without a label; episodes need a labelled dataset")
    is_test = rows["split"] == "test"
    train, test = (
        {str(k): list(v) for k, v in part.groupby("class_name")["shape_id"]} for part in (rows[~is_test], rows[is_test])
    )
    base = settings["base"]
    write_episodes(arguments.output, draw(f"{base}/{plan.name}", base, train, test, plan))


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("manifest", "output").parse_args())
