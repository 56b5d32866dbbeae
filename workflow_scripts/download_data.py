"""Unpack a dataset's local archive into its folder, checked and whole, and say what came out of it."""

from __future__ import annotations

import argparse
import json

from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.datasets.archives import unpack


def main(arguments: argparse.Namespace) -> None:
    archive = arguments.archive.parent.resolve() / arguments.archive.name  # as the user knows it, not by a link
    index = unpack(archive, arguments.folder, arguments.settings["archive_sha256"])
    write_text(arguments.output, json.dumps(index, sort_keys=True, indent=1) + "\n")


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("archive", "folder", "output").parse_args())
