"""Judge a run by a task, once per seed: from predictions or frozen embeddings to metrics. Test splits open here."""

from __future__ import annotations

import argparse
from pathlib import Path

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.tasks.copies import told_apart
from pointlift.tasks.evaluation import EvaluationSettings
from pointlift.tasks.readers import reader_of
from pointlift.tasks.shapes import read_prompts


def main(arguments: argparse.Namespace) -> None:
    settings = parse(EvaluationSettings, arguments.settings, "evaluate_task")
    module = rooms.load("tasks", settings.task["kind"])
    task_settings = parse(module.Settings, settings.task, "task")
    task, read = module.build(task_settings), reader_of(task_settings)
    answers = arguments.predictions if module.Settings.finetunes else arguments.embeddings
    if not len(settings.seeds) == len(answers) == len(arguments.output):
        wanted = "--predictions" if module.Settings.finetunes else "--embeddings"
        raise ArtifactError(f"evaluate_task: {wanted} and --output must be as many as seeds, in the same order")
    beside = []
    if task_settings.reads_prompts:
        if arguments.prompts is None:
            raise ArtifactError("evaluate_task: this task needs --prompts, which encode_class_prompts makes")
        beside = [read_prompts(arguments.manifest, arguments.prompts)]
    for seed, answer, output in zip(settings.seeds, answers, arguments.output, strict=True):
        judgement = task.evaluate(read(arguments.manifest, answer), *beside)
        settings.save(output, told_apart(judgement, arguments.manifest), seed)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("manifest").add_paths("output", many=("output",))
    parser.add_argument("--embeddings", type=Path, nargs="*", default=[], help="one shard per seed")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="one shard per seed")
    parser.add_argument("--prompts", type=Path, help="of the classes, for tasks that read them")
    run(main, parser.parse_args())
