"""Write the model card of every run of a suite: what its students are, whose terms, what was measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.metrics import read_metrics
from pointlift.contracts.settings import parse
from pointlift.operators.student_output import shape_of
from pointlift.reporting.model_card import StudentFacts, by_run, render_card
from pointlift.reporting.provenance import gather
from pointlift.reporting.slices import CardsSettings
from pointlift.reporting.summary import check_seeds


def facts_of(block: dict[str, Any], weights: dict[int, Path]) -> StudentFacts:
    """Build a student to count it; its weights are read for their checksums alone."""
    module = rooms.load("students", block["kind"])
    student = module.build(parse(module.Settings, block, "student"))
    parameters = sum(values.numel() for values in student.parameters())
    return StudentFacts(parameters, shape_of(student).width, {seed: file_sha256(weights[seed]) for seed in weights})


def main(arguments: argparse.Namespace) -> None:
    suite = parse(CardsSettings, arguments.settings, "write_model_cards")
    seeds, files = suite.seeds, arguments.weights
    if not len(arguments.output) == len(suite.runs) == len(files) / len(seeds):
        raise ArtifactError("write_model_cards: one --output per run, and --weights of all seeds of each, in order")
    for path in files:
        if not path.is_file():
            raise ArtifactError(f"{path}: no such file; run snakemake to make it")
    metrics = [read_metrics(path) for path in sorted(arguments.metrics)]
    check_seeds(metrics, seeds)
    found = by_run(suite, metrics)
    for number, (card, output) in enumerate(zip(suite.runs, arguments.output, strict=True)):
        weights = dict(zip(seeds, files[number * len(seeds) :], strict=False))
        blocks = suite.blocks_of(card.run)
        facts, provenance = facts_of(blocks["student"], weights), gather({}, blocks)
        write_text(output, render_card(card, suite, facts, found[card.run], provenance))


if __name__ == "__main__":
    lists = ("metrics", "weights", "output")
    run(main, Parser(__doc__).add_paths(*lists, many=lists).parse_args())
