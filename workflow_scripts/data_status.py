"""Show what of every dataset's raw files is there, and whether it is what it must be."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.contracts.settings import parse
from pointlift.datasets.data_status import Row, as_csv, as_text, describe
from pointlift.datasets.sources import Places


def main(arguments: argparse.Namespace) -> None:
    places = Places.of(arguments.data / "downloads", arguments.lock)
    blocks = arguments.settings["blocks"]
    rows = [row_of(name, blocks[name], arguments.data, places) for name in sorted(blocks)]
    write_text(arguments.output, as_csv(rows))
    sys.stdout.write(as_text(rows))


def row_of(name: str, block: dict[str, Any], data: Path, places: Places) -> Row:
    settings = parse(rooms.settings_class("datasets", block["kind"]), block, f"datasets.{name}")
    folder = data / settings.folder if settings.folder is not None else None
    opened = partial(rooms.load("datasets", block["kind"]).build, settings, folder)
    return describe(name, settings, folder, places, opened)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("data", "output")
    parser.add_argument("--lock", type=Path, default=Path("data.lock.json"), help="checksums recorded on first use")
    run(main, parser.parse_args())
