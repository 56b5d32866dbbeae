"""Distil a student from clouds and what its method reads of a teacher; without a method, initialise it only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import nn

from pointlift import rooms
from pointlift.contracts.command import Parser, each_seed, run
from pointlift.contracts.settings import parse
from pointlift.distillation.from_files import distil_from_files
from pointlift.distillation.pairs import READ_STAGES
from pointlift.distillation.training import DistillationSettings, leave_settings, leave_untrained
from pointlift.operators.checkpoint import load_student, save_student
from pointlift.operators.inflation import Origin
from pointlift.operators.initialisation import initialised
from pointlift.students.image_start import fill_student
from pointlift.students.released_weights import fill_released


def started(student: nn.Module, block: Any, settings: DistillationSettings, weights: Path | None) -> dict[str, Origin]:
    """Where each tensor of a student is from that starts from 2D or released weights, filled in place; else none."""
    if settings.released is not None:
        return fill_released(student, block, weights, settings.released)[1]
    if settings.inflation is None or settings.source is None:
        return {}
    teachers = rooms.load("teachers", settings.source["kind"])
    stages = teachers.image_stages(parse(teachers.Settings, settings.source, "source"), weights)
    return fill_student(student, stages, settings.inflation)


def main(arguments: argparse.Namespace) -> None:
    settings = parse(DistillationSettings, arguments.settings, "train_student")
    folder = arguments.output.parent
    students = rooms.load("students", settings.student["kind"])
    student_settings = parse(students.Settings, settings.student, "student")
    block = student_settings.model_dump(mode="json")
    student = initialised(lambda: students.build(student_settings), "student", settings.seed)
    if arguments.init is not None:
        load_student(arguments.init, student, block)
    origins = started(student, block, settings, arguments.source)
    if settings.method is None:
        leave_untrained(folder, arguments.projector)
    else:
        distil_from_files(student, settings, arguments)
    save_student(arguments.output, student, block)
    leave_settings(folder, settings, origins)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("output", "projector", many=("output", "projector")).add_seeds().add_training()
    parser.add_optional_paths(*READ_STAGES, "exclude", text="shards that its method reads; tables of ids to leave out")
    parser.add_argument("--manifest", type=Path, help="train on the shapes of its train split only")
    parser.add_argument("--init", type=Path, nargs="*", help="weights of the student to start from")
    parser.add_argument("--source", type=Path, help="2D or released weights to fill it from")
    run(each_seed(main, "output", "projector", "init"), parser.parse_args())
