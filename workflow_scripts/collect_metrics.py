"""Fold every metrics file of a suite into the tables of its report; audit that no test shape leaked.

``--views`` gives shards of renders, whose headers say which shapes could not be rendered.
"""

from pathlib import Path
from typing import Any

from pointlift.contracts.command import Parser, run
from pointlift.contracts.manifest import read_manifest, read_quarantine
from pointlift.contracts.metrics import read_metrics
from pointlift.contracts.settings import parse
from pointlift.reporting import tables
from pointlift.reporting.cost import cost_rows, job_costs
from pointlift.reporting.disjointness import check_disjoint, excluded_shapes, used_shapes
from pointlift.reporting.ladder import ladder_rows
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.one_protocol import check_protocols
from pointlift.reporting.quarantine import dataset_name, faults_of_table, faults_of_views, quarantine_rows
from pointlift.reporting.slices import CollectSettings
from pointlift.reporting.summary import check_seeds, summary_rows


def main(arguments: Any) -> None:
    settings = parse(CollectSettings, arguments.settings, "collect_metrics")
    metrics = [read_metrics(path) for path in sorted(arguments.metrics)]
    manifests = {dataset_name(path): read_manifest(path) for path in arguments.manifests}
    quarantines = {dataset_name(path): read_quarantine(path) for path in arguments.quarantines}
    used = used_shapes(manifests, [(dataset, table["shape_id"]) for dataset, table in quarantines.items()])
    check_disjoint(settings.disjoint, used, excluded_shapes(arguments.duplicates))
    check_seeds(metrics, settings.seeds)
    check_protocols(metrics)
    faults = [fault for path in arguments.views for fault in faults_of_views(path)]
    faults += [fault for dataset, table in quarantines.items() for fault in faults_of_table(dataset, table)]
    jobs = job_costs(settings.cost, arguments.benchmarks)
    tables.write_table(arguments.summary, tables.SUMMARY_COLUMNS, summary_rows(settings.suite, metrics))
    tables.write_table(
        arguments.leaderboard, tables.LEADERBOARD_COLUMNS, leaderboard_rows(settings.suite, metrics, settings.matches)
    )
    tables.write_table(arguments.ladder, tables.LADDER_COLUMNS, ladder_rows(settings.suite, metrics))
    tables.write_table(arguments.cost, tables.COST_COLUMNS, cost_rows(jobs))
    tables.write_table(arguments.quarantine, tables.QUARANTINE_COLUMNS, quarantine_rows(manifests, faults))


if __name__ == "__main__":
    lists = ("metrics", "manifests", "quarantines", "views")
    parser = Parser(__doc__).add_paths(*lists, many=lists)
    parser.add_argument("--duplicates", type=Path, nargs="*", default=[], help="{dataset}.duplicates.{other}.csv files")
    parser.add_argument("--benchmarks", type=Path, nargs="*", default=[], help="besides those the settings name")
    run(main, parser.add_paths("summary", "leaderboard", "ladder", "cost", "quarantine").parse_args())
