"""train_teacher as the workflow calls it: shards of views in, an open_clip checkpoint and its history out."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

import train_teacher
from pointlift.contracts.errors import PointliftError
from pointlift.teachers import clip
from teachers import pictures

RECIPE = {"epochs": 6, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": 5}
BLOCK = {
    "kind": "clip",
    "model": pictures.MODEL,
    "training": {"dataset": "drawn", "rig": "flat", "recipe": RECIPE},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train_teacher")
    pictures.write_drawn_dataset(folder)
    return folder


def given(folder, name, class_names=None, **block):
    """The entry point's arguments, as a command line."""
    settings = {"block": BLOCK | block, "class_names": class_names, "seed": 0}
    views = [folder / "train.safetensors", folder / "val.safetensors"]
    output, history = folder / f"{name}.safetensors", folder / f"{name}.jsonl"
    return [
        *("--settings", json.dumps(settings), "--manifest", folder / "manifest.csv", "--views", *views),
        *("--threads", "1", "--device", "cpu", "--output", output, "--history", history),
    ]


def call(words):
    """The same inside this process: a process start costs seconds."""
    train_teacher.main(train_teacher.parser().parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def trained(repository, folder):
    command = [sys.executable, repository / "workflow_scripts" / "train_teacher.py", *given(folder, "first")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "first"


def test_it_learns_to_name_drawings_it_has_not_seen(trained):
    rows = [json.loads(line) for line in trained.with_suffix(".jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[-1]["contrastive_loss"] < rows[0]["contrastive_loss"]
    assert rows[-1]["val_view_accuracy"] > 0.8  # chance: 1/3
    assert rows[-1]["val_shape_accuracy"] > 0.8


def test_the_checkpoint_is_a_teacher(trained):
    settings = clip.Settings.model_validate_json(json.dumps(BLOCK))
    teacher = clip.build(settings, trained.with_suffix(".safetensors"))
    assert teacher.width == 24
    assert load_file(trained.with_suffix(".safetensors"))["token_embedding.weight"].shape == (49408, 16)


def test_a_second_run_gives_the_same_bytes(folder, trained):
    call(given(folder, "second"))
    for suffix in (".safetensors", ".jsonl"):
        assert (folder / "second").with_suffix(suffix).read_bytes() == trained.with_suffix(suffix).read_bytes()


@pytest.mark.parametrize(
    "block, class_names, told",
    [
        ({"kind": "imagenet_cnn"}, None, r"teacher\.kind: imagenet_cnn cannot be trained here; these can: clip, "),
        ({}, ["bar", "disc"], r"classes \['frame'\] are not among \['bar', 'disc'\]"),
        ({"training": None, "initialisation": "random"}, None, "this teacher's block has no training"),
        ({"training": BLOCK["training"] | {"epochs": 3}}, None, "epochs: unknown key"),
    ],
)
def test_mistakes_are_told_and_leave_no_file(folder, block, class_names, told):
    with pytest.raises(PointliftError, match=told):
        call(given(folder, "wrong", class_names, **block))
    assert not (folder / "wrong.safetensors").exists()
