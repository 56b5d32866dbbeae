"""Embed what is said of every class of a dataset with a frozen teacher that reads text."""

from pathlib import Path
from typing import Any

import numpy as np

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.prompts import EncodingSettings, read_classes
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import write_stage


def main(arguments: Any) -> None:
    from pointlift.teachers.extraction import frozen

    told = parse(EncodingSettings, arguments.settings, "encode_class_prompts")
    member = rooms.load("teachers", told.block.get("kind", ""))
    settings = parse(member.Settings, told.block, "teacher")
    if not settings.reads_text():
        raise ConfigError(
            f"teacher.kind: {settings.kind} looks at pictures alone: no text has an embedding in its space, so that "
            "zero_shot cannot be asked of what is distilled from it; take a teacher that reads text, e.g. clip"
        )
    classes = read_classes(arguments.manifest)
    teacher: Any = frozen(member, settings, arguments.weights, arguments.threads, arguments.device)
    embedding = teacher.encode_class_prompts(tuple(classes.values()), told.prompts).cpu().numpy()
    arrays = {"embedding": embedding, "label": np.array(list(classes), dtype=np.int64)}
    write_stage(arguments.output, "prompts", tuple(classes.values()), arrays, prompts=list(told.prompts))


def parser() -> Parser:
    """What it is told on its command line."""
    found = Parser(__doc__).add_paths("manifest", "output").add_compute()
    found.add_argument("--weights", type=Path, default=None, help="what train_teacher made, or the local weights file")
    return found


if __name__ == "__main__":
    run(main, parser().parse_args())
