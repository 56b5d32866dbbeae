"""Distil a student from clouds, visibility and a teacher's view embeddings; without a method, initialise it only."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pointlift import rooms
from pointlift.contracts.command import Parser, run, training_options
from pointlift.contracts.files import write_text
from pointlift.contracts.settings import parse
from pointlift.distillation.pairs import apply_arm, listed_ids, read_pairs, read_val_pairs, train_ids
from pointlift.distillation.training import DistillationSettings, distil, leave_untrained
from pointlift.operators.checkpoint import save_student
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics


def main(arguments: argparse.Namespace) -> None:
    settings = parse(DistillationSettings, arguments.settings, "train_student")
    folder = arguments.output.parent
    students = rooms.load("students", settings.student["kind"])
    student_settings = parse(students.Settings, settings.student, "student")
    student = initialised(lambda: students.build(student_settings), "student", settings.seed)
    if settings.method is None:
        leave_untrained(folder)
    else:
        methods = rooms.load("distillation", settings.method["kind"])
        method_settings = parse(methods.Settings, settings.method, "method")
        shards = arguments.points, arguments.visibility, arguments.features
        chosen, excluded = train_ids(arguments.manifest), listed_ids(arguments.exclude)
        pairs = read_pairs(*shards, max_quarantined=settings.max_quarantined, chosen=chosen, excluded=excluded)
        val = read_val_pairs(*shards, manifest=arguments.manifest, excluded=excluded)
        pairs = apply_arm(pairs, settings.arm, settings.seed)
        targets = target_statistics(pairs.target)
        method = initialised(
            lambda: methods.build(method_settings, shape_of(student), targets), "method", settings.seed
        )
        distil(student, method, pairs, settings, folder, val=val, **training_options(arguments))
    save_student(arguments.output, student, student_settings.model_dump(mode="json"))
    write_text(folder / "settings.json", json.dumps(settings.model_dump(mode="json"), sort_keys=True, indent=1) + "\n")


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("output").add_training()
    for name in ("points", "visibility", "features"):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], help="shards; none for a scratch student")
    parser.add_argument("--exclude", type=Path, nargs="*", default=[], help="tables of shape_id not to be trained on")
    parser.add_argument("--manifest", type=Path, help="train on the shapes of its train split only")
    run(main, parser.parse_args())
