"""Train a teacher on the renders of its dataset's train split, and say how it does on the val split."""

from pathlib import Path
from typing import Any

from pointlift import rooms
from pointlift.contracts.command import Parser, run, training_options
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.files import atomic_path
from pointlift.contracts.settings import parse


def main(arguments: Any) -> None:
    from safetensors.torch import save_file

    from pointlift.teachers.teacher import prepare_torch
    from pointlift.teachers.training_views import TrainingViews

    block = arguments.settings["block"]
    prepare_torch(arguments.threads, arguments.device)
    member = rooms.load("teachers", block["kind"])
    if not hasattr(member, "train"):
        able = [kind for kind in rooms.available("teachers") if hasattr(rooms.load("teachers", kind), "train")]
        raise ConfigError(f"teacher.kind: {block['kind']} cannot be trained here; these can: {', '.join(able)}")
    settings = parse(member.Settings, block, "teacher")
    options = {"history": arguments.history, **training_options(arguments)}
    if arguments.backbone is not None:  # as the user knows it, not by a link
        options["backbone"] = arguments.backbone.parent.resolve() / arguments.backbone.name
    views = TrainingViews(arguments.manifest, arguments.views, arguments.settings["class_names"])
    weights = member.train(settings, views, arguments.settings["seed"], **options)
    with atomic_path(arguments.output) as temporary:
        save_file(weights, temporary)


def parser() -> Parser:
    """What it is told on its command line."""
    found = Parser(__doc__).add_paths("manifest", "views", "output", "history", many=("views",)).add_training()
    found.add_argument("--backbone", type=Path, default=None, help="the local weights that training starts from")
    return found


if __name__ == "__main__":
    run(main, parser().parse_args())
