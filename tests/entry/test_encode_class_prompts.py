"""encode_class_prompts as the workflow calls it: a manifest and a teacher in, one vector per class out."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import encode_class_prompts
from pointlift.contracts.errors import ArtifactError, ConfigError, PointliftError
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.stages import read_stage
from pointlift.teachers import clip, clip_network
from teachers.pictures import MODEL

BLOCK = {"kind": "clip", "model": MODEL, "initialisation": "random"}
PROMPTS = ["a render of a {}", "{} in grey"]
#: By label, with a class that no shape has (1) between.
CLASSES = {0: "office_chair", 2: "Cup", 3: "t-shirt"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encode_class_prompts")
    labels = [3, 0, 2, 0, -1]
    rows = [[f"s{row}", CLASSES.get(label, ""), label, "train", "0000", "", ""] for row, label in enumerate(labels)]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    return folder


def given(folder, name, block=BLOCK, prompts=PROMPTS, weights=None):
    """The entry point's arguments, as a command line."""
    words = ["--settings", json.dumps({"block": block, "prompts": prompts}), "--manifest", folder / "manifest.csv"]
    words += ["--output", folder / name, "--threads", "1", "--device", "cpu"]
    return [str(word) for word in (*words, *(["--weights", weights] if weights else []))]


def call(words):
    """The same inside this process: a process start costs seconds."""
    encode_class_prompts.main(encode_class_prompts.parser().parse_args(words))


@pytest.fixture(scope="module")
def first(repository, folder):
    command = [sys.executable, repository / "workflow_scripts" / "encode_class_prompts.py", *given(folder, "first")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "first"


def test_one_unit_vector_per_class_in_the_order_of_labels(first):
    shard = read_stage(first, "prompts")
    assert shard.ids == tuple(CLASSES.values()) and shard["label"].tolist() == list(CLASSES)
    assert shard.attributes == {"prompts": PROMPTS}
    np.testing.assert_allclose(np.linalg.norm(shard["embedding"].astype(float), axis=1), 1.0, atol=1e-6)


def test_vectors_are_means_over_the_teachers_own_texts(first):
    teacher = clip.build(clip.Settings.model_validate_json(json.dumps(BLOCK)), None)
    for row, spoken in enumerate(("office chair", "cup", "t shirt")):
        texts = teacher.encode_text([f"a render of a {spoken}", f"{spoken} in grey"]).double().numpy()
        mean = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).mean(axis=0)
        found = read_stage(first, "prompts")["embedding"][row]
        np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-6)


def test_a_second_run_gives_the_same_bytes(folder, first):
    call(given(folder, "second"))
    assert (folder / "second").read_bytes() == first.read_bytes()


def test_prompts_are_the_tasks_not_the_teachers(folder):
    for name, of_block in (("one", ["a {}"]), ("other", ["the {}"])):
        call(given(folder, name, BLOCK | {"prompts": of_block}))
    assert (folder / "one").read_bytes() == (folder / "other").read_bytes()
    call(given(folder, "theirs", prompts=["a {}"]))
    assert (
        read_stage(folder / "theirs", "prompts")["embedding"] != read_stage(folder / "one", "prompts")["embedding"]
    ).any()


def test_weights_come_from_the_file(folder, first):
    torch.manual_seed(1)
    network = clip_network.untrained(MODEL, 17)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "w.safetensors")
    block = {"kind": "clip", "model": MODEL, "weights_file": "w.safetensors"}
    call(given(folder, "filed", block, weights=folder / "w.safetensors"))
    assert (read_stage(folder / "filed", "prompts")["embedding"] != read_stage(first, "prompts")["embedding"]).any()


@pytest.mark.parametrize(
    "block, prompts, told",
    [
        ({"kind": "imagenet_cnn", "architecture": "squeezenet1_1", "initialisation": "random"}, PROMPTS,
         r"teacher\.kind: imagenet_cnn looks at pictures alone.*zero_shot.*clip"),
        (BLOCK, [], r"encode_class_prompts\.prompts"),
        (BLOCK, ["a render"], "names the class once"),
        ({"model": "x"}, PROMPTS, "teachers has no kind ''"),
        (BLOCK | {"tag": 1}, PROMPTS, "tag: unknown key"),
        (BLOCK, ["one two three four five six seven eight nine ten eleven {}"],
         "'office_chair' and 'Cup' are the same to this model, which reads 12 tokens; shorten the prompts"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_leave_no_file(folder, block, prompts, told):
    with pytest.raises(ConfigError, match=told):
        call(given(folder, "wrong", block, prompts))
    assert not (folder / "wrong").exists()


def test_a_missing_weights_file_is_told(folder):
    block = {"kind": "clip", "model": MODEL, "weights_file": "none.pt"}
    with pytest.raises(ArtifactError, match="no such weights file"):
        call(given(folder, "wrong", block, weights=folder / "none.pt"))


def test_a_dataset_without_classes_is_told(folder, tmp_path):
    rows = [["s0", "", -1, "train", "0000", "", ""]]
    write_manifest(tmp_path / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    with pytest.raises(PointliftError, match="need a labelled dataset"):
        call(given(tmp_path, "wrong"))
    assert not (tmp_path / "wrong").exists()
