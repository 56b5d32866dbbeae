"""train_teacher for the teachers that are made from views alone, and extract_features after it."""

import json

import numpy as np
import pandas as pd
import pytest

import extract_features
import train_teacher
from pointlift.contracts.command import Parser
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.images import pack_images, unpack_images
from pointlift.contracts.manifest import COLUMNS, read_manifest, write_manifest
from pointlift.contracts.stages import read_stage, write_stage
from teachers import pictures

TRAINING = {"dataset": "drawn", "rig": "flat", "recipe": {"epochs": 3, "batch_size": 6, "learning_rate": 3e-3}}
BLOCKS = {
    "view_classifier": {"architecture": "squeezenet1_1", "width": 8, "input_size": 32},
    "view_autoencoder": {"base_width": 4, "input_size": 32},
}
SPLITS = {"train": 15, "val": 6, "test": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One shard that holds shapes of all three splits, and its manifest."""
    folder = tmp_path_factory.mktemp("view_teachers")
    names = [pictures.CLASSES[row % 3] for row in range(sum(SPLITS.values()))]
    ids, _ = pictures.write_views(folder / "views.safetensors", names)
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    rows = [
        [shape_id, name, pictures.CLASSES.index(name), split, "0000", "", ""]
        for shape_id, name, split in zip(ids, names, splits, strict=True)
    ]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    return folder


def changed(folder, split):
    """The same shard, the pictures of one split inverted."""
    shard = read_stage(folder / "views.safetensors", "views")
    images = unpack_images(shard["image_bytes"], shard["image_offsets"])
    chosen = np.repeat(read_manifest(folder / "manifest.csv")["split"].to_numpy() == split, 2)
    images[chosen] = 255 - images[chosen]
    image_bytes, offsets = pack_images(images)
    arrays = {**shard.arrays, "image_bytes": image_bytes, "image_offsets": offsets}
    path = folder / f"{split}_inverted.safetensors"
    write_stage(path, "views", shard.ids, arrays, quarantine={})
    return path


def train(folder, kind, views, name, manifest="manifest.csv", **block):
    """Bytes of the weights, and the history's text."""
    chosen = {"kind": kind, "initialisation": "random", "training": TRAINING} | BLOCKS[kind] | block
    output, history = folder / f"{kind}_{name}.safetensors", folder / f"{kind}_{name}.jsonl"
    words = [
        *("--settings", json.dumps({"block": chosen, "class_names": None, "seed": 0})),
        *("--manifest", folder / manifest, "--views", views, "--threads", "1", "--device", "cpu"),
        *("--output", output, "--history", history),
    ]
    train_teacher.main(train_teacher.parser().parse_args([str(word) for word in words]))
    return output.read_bytes(), history.read_text()


@pytest.fixture(scope="module", params=sorted(BLOCKS))
def trained(request, folder):
    return request.param, train(folder, request.param, folder / "views.safetensors", "first")


def test_pictures_of_the_test_split_are_never_looked_at(folder, trained):
    kind, found = trained
    assert train(folder, kind, changed(folder, "test"), "other_test") == found


@pytest.mark.parametrize("split", ["train", "val"])
def test_pictures_of_the_other_splits_are(folder, trained, split):
    kind, found = trained
    assert train(folder, kind, changed(folder, split), f"other_{split}")[1] != found[1]


def test_features_of_the_trained_teacher_are_the_same_bytes_twice(folder, trained):
    kind, _ = trained
    block = {"kind": kind, "initialisation": "random", "training": TRAINING} | BLOCKS[kind]
    parser = Parser("").add_paths("views", "output").add_compute()
    parser.add_argument("--weights", type=type(folder))
    outputs = [folder / f"features_{kind}_{number}.safetensors" for number in range(2)]
    for output in outputs:
        words = ["--settings", json.dumps({"block": block}), "--views", folder / "views.safetensors"]
        words += ["--output", output, "--weights", folder / f"{kind}_first.safetensors", "--device", "cpu"]
        extract_features.main(parser.parse_args([str(word) for word in words]))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    shard = read_stage(outputs[0], "features")
    assert shard["embedding"].shape == (24, 2, {"view_classifier": 8, "view_autoencoder": 32}[kind])
    assert shard["embedding"].min() >= 0.0
    assert shard.attributes["nonnegative"] is True


def test_a_teacher_that_learns_names_needs_them(folder):
    rows = read_manifest(folder / "manifest.csv")
    rows["class_name"], rows["label"] = "", -1
    write_manifest(folder / "bare.csv", rows)
    views = folder / "views.safetensors"
    with pytest.raises(PointliftError, match=r"21 shapes of its train and val splits have no class"):
        train(folder, "view_classifier", views, "bare", "bare.csv")
    assert not (folder / "view_classifier_bare.safetensors").exists()
    train(folder, "view_autoencoder", views, "bare", "bare.csv")
    rows["class_name"] = "bar"
    write_manifest(folder / "one.csv", rows)
    with pytest.raises(PointliftError, match="there is but one class"):
        train(folder, "view_classifier", views, "one", "one.csv")
