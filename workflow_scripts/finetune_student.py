"""Finetune a run's student on a task's train split; a joint run adds its distillation loss. Keeps all answers."""

from __future__ import annotations

import argparse
import json

from pointlift import rooms
from pointlift.contracts.command import Parser, each_seed, run, training_options
from pointlift.contracts.settings import parse
from pointlift.distillation.arms import apply_arm
from pointlift.distillation.methods import build_method, method_settings
from pointlift.distillation.pairs import READ_STAGES, classes_of, prepare, read_pairs, train_ids
from pointlift.operators.checkpoint import load_student, save_student
from pointlift.operators.student_output import StudentShape, shape_of
from pointlift.operators.target_statistics import target_statistics
from pointlift.tasks.finetuning import Companion, FinetuneSettings, Finetuning
from pointlift.tasks.scenes import read_scenes
from pointlift.tasks.shapes import read_clouds


def companion(arguments: argparse.Namespace, settings: FinetuneSettings, shape: StudentShape) -> Companion:
    """The distillation method of a joint run, with its pairs of the train split as the arm wants them."""
    block = method_settings(settings.method_block())
    shards = {name: getattr(arguments, name) for name in READ_STAGES}
    pairs = read_pairs(shards, max_quarantined=settings.max_quarantined, chosen=train_ids(arguments.manifest))
    pairs = apply_arm(pairs.for_method(block.reads()), settings.arm, settings.seed, classes_of(arguments.manifest))
    targets = None if pairs.target is None else target_statistics(pairs.target)
    method = build_method(block, shape, targets, settings.seed)
    return Companion(method, pairs.ids, pairs.arrays(), prepare)


def main(arguments: argparse.Namespace) -> None:
    settings = parse(FinetuneSettings, arguments.settings, "finetune_student")
    students, tasks = (rooms.load(f"{room}s", getattr(settings, room)["kind"]) for room in ("student", "task"))
    block = parse(students.Settings, settings.student, "student")
    student = students.build(block)
    load_student(arguments.weights, student, json.loads(block.model_dump_json()))
    task = tasks.build(parse(tasks.Settings, settings.task, "task"))
    read = read_scenes if task.settings.reads_scenes else read_clouds
    shapes = read(arguments.manifest, arguments.points)
    if hasattr(task, "finetuning"):
        finetuning = task.finetuning(student, shapes, settings.seed)
    else:
        beside = companion(arguments, settings, shape_of(student)) if settings.form == "joint" else None
        finetuning = Finetuning(task, student, shapes, settings.seed, beside)
    folder = arguments.output.parent
    finetuning.run(settings, folder, **training_options(arguments))
    save_student(folder / "weights.safetensors", finetuning.deployed(), arguments.settings)
    finetuning.save_predictions(arguments.output)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("manifest").add_seeds()
    parser.add_paths("points", "weights", "output", many=("points", "weights", "output"))
    parser.add_optional_paths("visibility", "features", "tokens", text="joint form: shards that its method reads")
    run(each_seed(main, "weights", "output"), parser.add_training().parse_args())
