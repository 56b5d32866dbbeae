"""See that the files of a dataset that only its owner gives are there, and say how many there are."""

from __future__ import annotations

import argparse
import json

from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text
from pointlift.contracts.raw_data import Licence
from pointlift.contracts.settings import parse
from pointlift.datasets.data_status import count_files
from pointlift.datasets.licence_gate import missing_paths, request


def main(arguments: argparse.Namespace) -> None:
    licence = parse(Licence, arguments.settings["licence"], "licence")
    missing = missing_paths(licence, arguments.folder)
    if missing:
        raise ArtifactError(request(arguments.settings["dataset"], licence, arguments.folder, missing))
    files, size = count_files(arguments.folder)
    index = {"licence": licence.name, "expected": list(licence.expected), "files": files, "bytes": size}
    write_text(arguments.output, json.dumps(index, sort_keys=True, indent=1) + "\n")


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("folder", "output").parse_args())
