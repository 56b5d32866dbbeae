"""Fetch a dataset's raw files, or take its local archive, and make its folder of them, checked and whole."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.contracts.raw_data import RawFile
from pointlift.contracts.settings import parse
from pointlift.datasets.archives import unpack
from pointlift.datasets.fetch import fetch
from pointlift.datasets.sources import Places


def main(arguments: argparse.Namespace) -> None:
    settings = arguments.settings
    if arguments.archive is not None:
        archive = arguments.archive.parent.resolve() / arguments.archive.name  # as the user knows it, not by a link
        index = unpack(archive, arguments.folder, settings["archive_sha256"])
    else:
        places = Places.of(arguments.downloads, arguments.lock)
        index = fetch(with_urls(settings["files"]), arguments.folder, places)
    write_text(arguments.output, json.dumps(index, sort_keys=True, indent=1) + "\n")


def with_urls(files: list[dict[str, Any]]) -> list[RawFile]:
    """The files with their mirrors, which stand in the environment: where a file comes from changes no result."""
    urls = json.loads(os.environ.get("POINTLIFT_URLS", "{}"))
    return [parse(RawFile, {**file, "urls": urls.get(file["name"], [])}, "files") for file in files]


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("folder", "output")
    parser.add_argument("--archive", type=Path, default=None, help="local archive; else files are fetched")
    parser.add_argument("--downloads", type=Path, default=Path("data/downloads"), help="where fetched files are kept")
    parser.add_argument("--lock", type=Path, default=Path("data.lock.json"), help="checksums recorded on first use")
    run(main, parser.parse_args())
