"""Draw report.html from the tables of ``collect_metrics``, training histories and renders: one file, no network."""

from pathlib import Path
from typing import Any

from pointlift.contracts.command import Parser, run
from pointlift.contracts.files import write_text
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.metrics import read_metrics
from pointlift.contracts.settings import parse
from pointlift.reporting import tables
from pointlift.reporting.contact_sheet import contact_sheets
from pointlift.reporting.contamination import read_lists
from pointlift.reporting.history import read_histories
from pointlift.reporting.one_protocol import check_protocols
from pointlift.reporting.page import render_page
from pointlift.reporting.provenance import gather
from pointlift.reporting.quarantine import dataset_name
from pointlift.reporting.reported import read_reported
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.task_curves import task_curves


def main(arguments: Any) -> None:
    manifests = {dataset_name(path): read_manifest(path) for path in arguments.manifests}
    settings = parse(PageSettings, arguments.settings, "draw_report")
    page = render_page(
        settings,
        summary=tables.read_table(arguments.summary, tables.SUMMARY_COLUMNS),
        leaderboard=tables.read_table(arguments.leaderboard, tables.LEADERBOARD_COLUMNS),
        ladder=tables.read_table(arguments.ladder, tables.LADDER_COLUMNS),
        cost=tables.read_table(arguments.cost, tables.COST_COLUMNS),
        quarantine=tables.read_table(arguments.quarantine, tables.QUARANTINE_COLUMNS),
        trainings=read_histories(arguments.history),
        sheets=contact_sheets(arguments.views, manifests),
        provenance=gather(settings.provenance, settings.config),
        curves=task_curves(check_protocols([read_metrics(path) for path in arguments.metrics])),
        duplicates=read_lists(arguments.duplicates),
        reported=read_reported(),
    )
    write_text(arguments.output, page)


if __name__ == "__main__":
    lists = ("history", "views", "manifests")
    parser = Parser(__doc__).add_paths("summary", "leaderboard", "ladder", "cost", "quarantine", *lists, many=lists)
    parser.add_argument("--metrics", type=Path, nargs="*", default=[], help="of tasks that keep curves")
    parser.add_argument("--duplicates", type=Path, nargs="*", default=[], help="{dataset}.duplicates.{other}.csv files")
    run(main, parser.add_paths("output").parse_args())
