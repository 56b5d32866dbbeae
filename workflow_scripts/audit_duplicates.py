"""Count, per pair of datasets, the test shapes of a suite that stand in what it is trained on; show the table."""

from __future__ import annotations

import argparse
import sys

from pointlift.contracts.command import Parser, run
from pointlift.contracts.duplicates import compared_datasets, read_duplicates
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.settings import parse
from pointlift.reporting.duplicates_audit import AUDIT_COLUMNS, AuditSettings, as_text, audit_rows
from pointlift.reporting.tables import write_table


def main(arguments: argparse.Namespace) -> None:
    settings = parse(AuditSettings, arguments.settings, "audit_duplicates")
    manifests = {path.stem: read_manifest(path) for path in arguments.manifests}
    tables = {compared_datasets(path): read_duplicates(path) for path in arguments.duplicates}
    rows = audit_rows(settings, manifests, tables)
    write_table(arguments.output, AUDIT_COLUMNS, rows)
    sys.stdout.write(as_text(rows))


if __name__ == "__main__":
    lists = ("manifests", "duplicates")
    run(main, Parser(__doc__).add_paths(*lists, "output", many=lists).parse_args())
