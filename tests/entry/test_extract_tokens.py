"""extract_tokens as the workflow calls it: a shard of views in, a shard of patch tokens out."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import extract_tokens
from pointlift.contracts.command import Parser
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.stages import read_stage
from pointlift.teachers import clip
from teachers import pictures

MODEL = pictures.MODEL | {"vision_cfg": pictures.MODEL["vision_cfg"] | {"image_size": 64}}
CLIP = {"kind": "clip", "model": MODEL, "initialisation": "random", "batch_size": 3}
CNN = {"kind": "imagenet_cnn", "architecture": "squeezenet1_1", "initialisation": "random", "input_size": 64}


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    path = tmp_path_factory.mktemp("extract_tokens") / "views.safetensors"
    return path, *pictures.write_views(path, ("bar", "disc", "frame"), unusable=(1,))


def words(views, name, block):
    output = views[0].with_name(name)
    given = ["--settings", json.dumps({"block": block}), "--views", views[0], "--output", output]
    return [str(word) for word in (*given, "--threads", "1", "--device", "cpu")], output


def call(given):
    arguments = Parser("").add_paths("views", "output").add_compute().parse_args(given)
    arguments.weights = None
    extract_tokens.main(arguments)


def test_the_shard_holds_what_the_teacher_says_and_a_second_run_the_same_bytes(repository, views):
    _, ids, images = views
    first, path = words(views, "first", CLIP)
    command = [sys.executable, repository / "workflow_scripts" / "extract_tokens.py", *first]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    shard = read_stage(path, "tokens", ids)
    teacher = clip.build(clip.Settings.model_validate_json(json.dumps(CLIP)), None)
    wanted = teacher.encode_patches(torch.from_numpy(images[2])).numpy()
    assert shard["tokens"].shape == (3, 2, 4, 24)
    np.testing.assert_allclose(shard["tokens"][2], wanted, rtol=2e-3, atol=1e-3)
    assert shard["valid"].tolist() == [True, False, True]
    assert shard.attributes == {"quarantine": {}, "width": 24, "teacher": "clip"}
    second, again = words(views, "second", CLIP)
    call(second)
    assert again.read_bytes() == path.read_bytes()


def test_a_teacher_without_patches_writes_nothing(views):
    given, path = words(views, "none", CNN)
    with pytest.raises(ConfigError, match="take kind 'clip'"):
        call(given)
    assert not path.exists()
