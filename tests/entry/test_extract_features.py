"""extract_features as the workflow calls it: a shard of views in, a shard of features out."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import extract_features
from pointlift.contracts.command import Parser
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.stages import read_stage
from pointlift.teachers import clip, imagenet_cnn
from teachers import pictures

CLIP = {"kind": "clip", "model": pictures.MODEL, "initialisation": "random", "batch_size": 4}
CNN = {"kind": "imagenet_cnn", "architecture": "squeezenet1_1", "initialisation": "random", "input_size": 64}


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    path = tmp_path_factory.mktemp("extract_features") / "views.safetensors"
    return path, *pictures.write_views(path, ("bar", "disc", "frame"), unusable=(1,))


def given(views, name, block):
    """The entry point's arguments, as a command line."""
    output = views[0].with_name(name)
    words = ["--settings", json.dumps({"block": block}), "--views", views[0], "--output", output]
    return [str(word) for word in (*words, "--threads", "1", "--device", "cpu")], output


def call(words, weights=None):
    """The same inside this process: a process start costs seconds."""
    arguments = Parser("").add_paths("views", "output").add_compute().parse_args(words)
    arguments.weights = weights
    extract_features.main(arguments)


@pytest.fixture(scope="module")
def done(repository, views):
    words, output = given(views, "first", CLIP)
    command = [sys.executable, repository / "workflow_scripts" / "extract_features.py", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False), output


def test_the_process_says_its_rate(done):
    assert done[0].returncode == 0, done[0].stderr
    assert re.search(r"4 views in [\d.]+ s: \d+ images/s", done[0].stderr)


@pytest.mark.parametrize("member, block", [(clip, CLIP), (imagenet_cnn, CNN)], ids=["clip", "imagenet_cnn"])
def test_the_shard_holds_what_the_teacher_says(views, member, block):
    _, ids, images = views
    words, path = given(views, f"{block['kind']}.safetensors", block)
    call(words)
    shard = read_stage(path, "features", ids)
    teacher = member.build(member.Settings.model_validate_json(json.dumps(block)), None)
    wanted = teacher.encode(torch.from_numpy(images[2])).embedding.numpy()
    np.testing.assert_allclose(shard["embedding"][2], wanted, rtol=2e-3, atol=1e-3)
    assert shard["valid"].tolist() == [True, False, True]
    assert not shard["embedding"][1].any()
    assert shard.attributes == {
        "quarantine": {},
        "nonnegative": teacher.nonnegative,
        "width": teacher.width,
        "teacher": block["kind"],
    }


def test_a_second_run_gives_the_same_bytes(views, done):
    words, path = given(views, "second", CLIP)
    call(words)
    assert path.read_bytes() == done[1].read_bytes()


def test_a_missing_weights_file_is_told(views, tmp_path):
    block = {key: value for key, value in CLIP.items() if key != "initialisation"} | {"weights_file": "a.pt"}
    words, path = given(views, "none", block)
    with pytest.raises(ArtifactError, match="no such weights file"):
        call(words, tmp_path / "a.pt")
    assert not path.exists()
