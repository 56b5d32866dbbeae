"""Tell the patches of every rendered view of a shard, in the space of a frozen teacher's embedding."""

from pathlib import Path
from typing import Any

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage


def main(arguments: Any) -> None:
    from pointlift.teachers.extraction import extract_tokens, frozen

    block = arguments.settings["block"]
    member = rooms.load("teachers", block["kind"])
    settings = parse(member.Settings, block, "teacher")
    teacher = frozen(member, settings, arguments.weights, arguments.threads, arguments.device)
    views = read_stage(arguments.views, "views")
    arrays = {"tokens": extract_tokens(teacher, views, settings.batch_size), "valid": views["valid"]}
    facts = {"width": teacher.width, "teacher": block["kind"]}
    write_stage(arguments.output, "tokens", views.ids, arrays, quarantine={}, **facts)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("views", "output").add_compute()
    parser.add_argument("--weights", type=Path, default=None, help="what train_teacher made, or the local weights file")
    run(main, parser.parse_args())
