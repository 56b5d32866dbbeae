"""From procedural meshes to the embeddings of a teacher that learned their parts, program by program."""

import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest

import build_manifest
import extract_features
import prepare_meshes
import train_teacher
from pointlift.contracts.command import Parser
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.images import unpack_maps
from pointlift.contracts.stages import read_stage
from pointlift.datasets import procedural

pytestmark = pytest.mark.render
CLASSES = ["chair", "cup", "table"]
DATASET = {
    "kind": "procedural",
    "protocol": "test/parts",
    "series": "parts",
    "classes": CLASSES,
    "shapes_per_class": 8,
    "splits": {"train": 0.5, "val": 0.25, "test": 0.25},
}
RIG = {"kind": "mesh", "image_size": 32, "cameras": {"num_views": 2}, "part_maps": True}
TEACHER = {
    "kind": "view_segmenter",
    "base_width": 4,
    "input_size": 32,
    "initialisation": "random",
    "autoencoder_epochs": 1,
    "training": {
        "dataset": "shapes",
        "rig": "rig",
        "recipe": {"epochs": 4, "batch_size": 6, "learning_rate": 5e-3},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repository):
    """Meshes, manifest, and views with and without part maps."""
    folder = tmp_path_factory.mktemp("parts")
    ids = procedural.list_ids(procedural.Settings(**{**DATASET, "classes": tuple(CLASSES)}))
    prepare_meshes.main(Namespace(settings={"block": DATASET, "ids": ids}, folder=None, output=folder / "0000"))
    build_manifest.main(
        Namespace(
            settings={"block": DATASET},
            shards=[folder / "0000"],
            output=folder / "manifest.csv",
            quarantine=folder / "quarantine.csv",
        )
    )
    for name, part_maps in (("views", True), ("bare", False)):
        command = [sys.executable, repository / "workflow_scripts" / "render_views.py", "--shapes", folder / "0000"]
        command += ["--settings", json.dumps({"block": RIG | {"part_maps": part_maps}}), "--output", folder / name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def train(folder, views="views"):
    output, history = folder / "weights.safetensors", folder / "history.jsonl"
    words = [
        *("--settings", json.dumps({"block": TEACHER, "class_names": None, "seed": 0})),
        *("--manifest", folder / "manifest.csv", "--views", folder / views, "--threads", "1", "--device", "cpu"),
        *("--output", output, "--history", history),
    ]
    train_teacher.main(train_teacher.parser().parse_args([str(word) for word in words]))
    return output, [json.loads(line) for line in history.read_text().splitlines()]


def test_parts_of_meshes_become_a_teacher_and_its_embeddings(folder):
    shard = read_stage(folder / "views", "views")
    assert shard.attributes["class_names"] == CLASSES
    maps = unpack_maps(shard["part_map_bytes"], shard["part_map_offsets"]).reshape(len(shard.ids), 2, 32, 32)
    for shape_id, drawn in zip(shard.ids, maps, strict=True):
        own = {
            number
            for number, name in enumerate(shard.attributes["part_names"])
            if shape_id.startswith(f"{name.split('/')[0]}-")
        }
        assert set(np.unique(drawn)) - {255} <= own
    weights, rows = train(folder)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert "val_reconstruction_loss" in rows[0] and 0.0 < rows[-1]["val_view_miou"] < 1.0
    assert rows[-1]["segmentation_loss"] < rows[1]["segmentation_loss"]
    output = folder / "features"
    parser = Parser("").add_paths("views", "output").add_compute()
    parser.add_argument("--weights", type=type(folder))
    words = ["--settings", json.dumps({"block": TEACHER}), "--views", folder / "bare", "--output", output]
    words += ["--weights", weights, "--device", "cpu"]  # the maps are not needed any more
    extract_features.main(parser.parse_args([str(word) for word in words]))
    found = read_stage(output, "features", shard.ids)
    assert found["embedding"].shape == (24, 2, 32)
    assert found["embedding"].min() >= 0.0 and found["embedding"].std(axis=(0, 1)).max() > 0.0


def test_a_rig_without_maps_is_told(folder):
    with pytest.raises(PointliftError, match="take a rig with part_maps: true"):
        train(folder, "bare")
