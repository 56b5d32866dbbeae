"""Embed every rendered view of a shard with a frozen teacher."""

from pathlib import Path
from typing import Any

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage


def main(arguments: Any) -> None:
    from pointlift.teachers.extraction import extract, frozen

    block = arguments.settings["block"]
    member = rooms.load("teachers", block["kind"])
    settings = parse(member.Settings, block, "teacher")
    teacher = frozen(member, settings, arguments.weights, arguments.threads, arguments.device)
    views = read_stage(arguments.views, "views")
    kept = ("valid", "world_to_camera", "posed_world_to_camera")
    arrays = {name: views[name] for name in kept if name in views.arrays}
    arrays["embedding"] = extract(teacher, views, settings.batch_size)
    facts = {"nonnegative": teacher.nonnegative, "width": teacher.width, "teacher": block["kind"]}
    write_stage(arguments.output, "features", views.ids, arrays, quarantine={}, **facts)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("views", "output").add_compute()
    parser.add_argument("--weights", type=Path, default=None, help="what train_teacher made, or the local weights file")
    run(main, parser.parse_args())
