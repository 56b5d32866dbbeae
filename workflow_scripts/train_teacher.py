"""Train a teacher on the renders of its dataset's train split, and say its zero-shot accuracy on the val split."""

from typing import Any

from pointlift import rooms
from pointlift.contracts.command import Parser, run, training_options
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.files import atomic_path
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.settings import parse


def main(arguments: Any) -> None:
    from safetensors.torch import save_file

    from pointlift.teachers.teacher import prepare_torch
    from pointlift.teachers.views import labelled_views

    block = arguments.settings["block"]
    prepare_torch(arguments.threads, arguments.device)
    member = rooms.load("teachers", block["kind"])
    if not hasattr(member, "train"):
        raise ConfigError(f"teacher.kind: {block['kind']} cannot be trained here; kind clip can")
    settings = parse(member.Settings, block, "teacher")
    rows = read_manifest(arguments.manifest)
    class_names = arguments.settings["class_names"] or sorted(set(rows["class_name"]) - {""})
    unknown = sorted(set(rows["class_name"]) - set(class_names))
    if unknown:
        raise ArtifactError(f"{arguments.manifest}: classes {unknown} are not among {list(class_names)}")

    def read(split: str, resize: Any) -> Any:
        chosen = rows[rows["split"] == split]
        pairs = zip(chosen["shape_id"], chosen["class_name"], strict=True)
        labels = {shape_id: class_names.index(name) for shape_id, name in pairs}
        return labelled_views(arguments.views, labels, resize)

    options = {"history": arguments.history, **training_options(arguments)}
    weights = member.train(settings, read, class_names, arguments.settings["seed"], **options)
    with atomic_path(arguments.output) as temporary:
        save_file(weights, temporary)


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("manifest", "views", "output", "history", many=("views",)).add_training()
    run(main, parser.parse_args())
