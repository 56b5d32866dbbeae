"""Judge a run by a task, once per seed: from predictions or frozen embeddings to metrics. Test splits open here."""

from __future__ import annotations

import argparse
from pathlib import Path

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.tasks.evaluation import EvaluationSettings
from pointlift.tasks.shapes import READERS


def main(arguments: argparse.Namespace) -> None:
    settings = parse(EvaluationSettings, arguments.settings, "evaluate_task")
    module = rooms.load("tasks", settings.task["kind"])
    task = module.build(parse(module.Settings, settings.task, "task"))
    read = READERS[module.Settings.answers]
    answers = arguments.predictions if module.Settings.finetunes else arguments.embeddings
    if not len(settings.seeds) == len(answers) == len(arguments.output):
        wanted = "--predictions" if module.Settings.finetunes else "--embeddings"
        raise ArtifactError(f"evaluate_task: {wanted} and --output must be as many as seeds, in the same order")
    for seed, answer, output in zip(settings.seeds, answers, arguments.output, strict=True):
        settings.save(output, task.evaluate(read(arguments.manifest, answer)), seed)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("manifest").add_paths("output", many=("output",))
    parser.add_argument("--embeddings", type=Path, nargs="*", default=[], help="one shard per seed")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="one shard per seed")
    run(main, parser.parse_args())
