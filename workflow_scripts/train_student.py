"""Distil a student from clouds and what its method reads of a teacher; without a method, initialise it only."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from torch import nn

from pointlift import rooms
from pointlift.contracts.command import Parser, run, training_options
from pointlift.contracts.files import write_text
from pointlift.contracts.settings import parse
from pointlift.distillation.arms import apply_arm
from pointlift.distillation.methods import build_method, method_settings
from pointlift.distillation.pairs import STAGES, classes_of, read_split_pairs
from pointlift.distillation.projector import save_projector
from pointlift.distillation.training import DistillationSettings, distil, leave_untrained
from pointlift.operators.checkpoint import load_student, save_student
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics


def distilled(student: nn.Module, settings: DistillationSettings, arguments: argparse.Namespace) -> None:
    """Train the student in place; its method's head is left beside the weights."""
    block = method_settings(settings.method or {})
    shards = {name: getattr(arguments, name) for name in STAGES}
    pairs, val = read_split_pairs(shards, arguments.manifest, arguments.exclude, settings.max_quarantined)
    pairs = apply_arm(pairs, settings.arm, settings.seed, classes_of(arguments.manifest))
    shape, targets = shape_of(student), None if pairs.target is None else target_statistics(pairs.target)
    method = build_method(block, shape, targets, settings.seed)
    distil(student, method, pairs, settings, arguments.output.parent, val=val, **training_options(arguments))
    save_projector(arguments.projector, method, block.model_dump(mode="json"), shape, targets)


def main(arguments: argparse.Namespace) -> None:
    settings = parse(DistillationSettings, arguments.settings, "train_student")
    folder = arguments.output.parent
    students = rooms.load("students", settings.student["kind"])
    student_settings = parse(students.Settings, settings.student, "student")
    student = initialised(lambda: students.build(student_settings), "student", settings.seed)
    if arguments.init is not None:
        load_student(arguments.init, student, student_settings.model_dump(mode="json"))
    if settings.method is None:
        leave_untrained(folder, arguments.projector)
    else:
        distilled(student, settings, arguments)
    save_student(arguments.output, student, student_settings.model_dump(mode="json"))
    write_text(folder / "settings.json", json.dumps(settings.model_dump(mode="json"), sort_keys=True, indent=1) + "\n")


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("output", "projector").add_training()
    parser.add_optional_paths(*STAGES, "exclude", text="shards that its method reads; tables of ids to leave out")
    parser.add_argument("--manifest", type=Path, help="train on the shapes of its train split only")
    parser.add_argument("--init", type=Path, help="weights of the student to start from")
    run(main, parser.parse_args())
