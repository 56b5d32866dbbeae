"""Ask a classifier that others released about a dataset's test split, by its own head. Nothing is trained."""

from __future__ import annotations

import argparse

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.students.released_weights import fill_released
from pointlift.tasks.replaying import Replayed, ReplaySettings, replay
from pointlift.tasks.shapes import read_clouds


def main(arguments: argparse.Namespace) -> None:
    settings = parse(ReplaySettings, arguments.settings, "replay_student")
    students = rooms.load("students", settings.student["kind"])
    block = parse(students.Settings, settings.student, "student")
    student = students.build(block)
    head, _ = fill_released(student, block.model_dump(mode="json"), arguments.released, settings.released)
    if head is None:
        raise ConfigError(f"run {settings.run}: layout {settings.released.layout} has no head to answer with")
    shapes = read_clouds(arguments.manifest, arguments.points)
    replay(
        Replayed(student, head),
        shapes,
        settings,
        arguments.output,
        device=arguments.device,
        threads=arguments.threads,
    )


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("manifest", "released").add_compute()
    run(main, parser.add_paths("points", "output", many=("points", "output")).parse_args())
