"""Blocks of teachers that are trained on views: what goes with which dataset, arm and local file."""

import copy
from pathlib import Path

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.graph import Graph
from pointlift.jobs import Jobs
from pointlift.local_files import require_local_files

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
RECIPE = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}
TRAINING = {"dataset": "nano_shapes", "rig": "ring4_32px", "recipe": RECIPE}
CLASSIFIER = {"kind": "view_classifier", "input_size": 32}
JOINT = {**CONFIG["runs"]["nano_joint_mcd"], "teacher": "own"}
TRANSFER = {**CONFIG["runs"]["nano_mcd"], "teacher": "own"}


def config_with(teacher, run=None, **paths):
    values = copy.deepcopy(CONFIG)
    values["suite"] = "own"
    values["teachers"]["own"] = teacher
    values["runs"]["own"] = run or CONFIG["runs"]["nano_scratch"]
    values["suites"]["own"] = {"runs": ["nano_scratch", "own"], "tasks": ["nano_classification"], "seeds": [0]}
    values["paths"] = {**values["paths"], **paths}
    return read_config(values)


@pytest.mark.parametrize(
    "teacher, told",
    [
        (CLASSIFIER, r"'psb' is unlabelled, and this teacher \(kind 'view_classifier'\) learns from labels"),
        ({"kind": "view_autoencoder", "sampler": "label_balanced"}, r"'psb' is unlabelled.*sampler uniform"),
        ({"kind": "clip", "model": CONFIG["teachers"]["nano_clip"]["model"]}, "'psb' is unlabelled"),
        ({"kind": "view_autoencoder"}, None),
    ],
)
def test_a_teacher_that_learns_from_labels_needs_a_labelled_dataset(teacher, told):
    block = teacher | {"training": {**TRAINING, "dataset": "psb"}}
    if told is None:
        assert not config_with(block).teachers["own"].learns_from_labels()
        return
    with pytest.raises(ConfigError, match=rf"teachers\.own\.training\.dataset: {told}"):
        config_with(block)


def config_with_maps(teacher, part_maps, dataset="nano_teacher_shapes", run=None):
    values = copy.deepcopy(CONFIG)
    values["rigs"]["own"] = {"kind": "mesh", "part_maps": part_maps}
    values["teachers"]["own"] = {**teacher, "training": {**TRAINING, "rig": "own", "dataset": dataset}}
    values["runs"]["nano_scratch"] = run or values["runs"]["nano_scratch"]
    return read_config(values)


def test_a_teacher_that_learns_from_parts_needs_maps_of_them():
    segmenter = {"kind": "view_segmenter", "input_size": 32}
    assert config_with_maps(segmenter, True).teachers["own"].learns_from_parts()
    with pytest.raises(
        ConfigError, match=r"teachers\.own\.training\.rig: 'own' draws no maps of parts.*part_maps: true"
    ):
        config_with_maps(segmenter, False)
    no_parts = r"'psb' \(kind 'psb'\) has no named parts, and rig 'own' draws maps of them"
    with pytest.raises(ConfigError, match=rf"teachers\.own\.training\.dataset: {no_parts}"):
        config_with_maps({"kind": "view_autoencoder"}, True, "psb")
    with pytest.raises(ConfigError, match=rf"runs\.nano_scratch\.dataset: {no_parts}"):
        config_with_maps(segmenter, True, run={**TRANSFER, "teacher": "nano_clip", "rig": "own", "dataset": "psb"})


@pytest.mark.parametrize("kind", ["view_classifier", "view_autoencoder"])
def test_an_untrained_one_is_the_random_teacher_and_one_trained_from_random_weights_is_not(kind):
    untrained = {"kind": kind, "input_size": 32, "initialisation": "random"}
    trained = untrained | {"training": {**TRAINING, "dataset": "nano_teacher_shapes"}}
    assert config_with(untrained, {**TRANSFER, "arm": "random_teacher"})
    assert config_with(trained, TRANSFER)
    with pytest.raises(ConfigError, match=r"runs\.own\.arm: 'mcd' does not go with teacher 'own'"):
        config_with(untrained, TRANSFER)
    with pytest.raises(ConfigError, match=r"runs\.own\.arm: 'random_teacher' does not go with teacher 'own'"):
        config_with(trained, {**TRANSFER, "arm": "random_teacher"})


def test_joint_rows_share_the_train_split_with_the_teacher_and_transfer_rows_do_not():
    teacher = CLASSIFIER | {"initialisation": "random", "training": TRAINING}
    graph = Graph(config_with(teacher, JOINT))
    assert graph.views_used == [("nano_shapes", "ring4_32px")]
    assert graph.teacher_weights("own") == ["results/teachers/own/weights.safetensors"]
    assert graph.teacher_views("own") == ["results/views/nano_shapes/ring4_32px/0000.safetensors"]
    assert "results/teachers/own/history.jsonl" in graph.histories()
    own = [row for row in Jobs(graph).disjoint_sets() if row["row"].startswith("own on")]
    assert [sorted(name for name, _ in row["sets"]) for row in own] == [["nano_shapes", "nano_shapes"]]
    with pytest.raises(ConfigError, match="'own' is a transfer run, and dataset 'nano_shapes' stands in two"):
        config_with(teacher, TRANSFER)


def test_the_weights_that_training_starts_from_are_asked_for_at_the_start(tmp_path):
    teacher = CLASSIFIER | {"backbone_file": "image_weights/own.pth", "training": TRAINING}
    graph = Graph(config_with(teacher, JOINT, archives=str(tmp_path)))
    assert graph.teacher_backbone("own") == [".snakemake/archives/image_weights/own.pth"]
    assert graph.teacher_backbone("nano_clip") == []
    with pytest.raises(ConfigError, match=r"teachers\.own\.backbone_file: image_weights/own\.pth"):
        require_local_files(graph)
    (tmp_path / "image_weights").mkdir()
    (tmp_path / "image_weights" / "own.pth").touch()
    require_local_files(graph)
    with pytest.raises(ConfigError, match=r"teachers\.own\.backbone_file: 'image_weights/own\.pth' lies below"):
        Graph(config_with(teacher, JOINT)).teacher_backbone("own")


def test_the_published_ones_are_what_was_published():
    config = read_config(CONFIG)
    named, drawn = config.teachers["pointmcd_cls"], config.teachers["pointmcd_unsup"]
    parts = config.teachers["pointmcd_seg_splats"]
    assert (parts.base_width, parts.sampler, parts.autoencoder_epochs) == (64, "label_balanced", None)
    assert (named.architecture, named.width, named.label_smoothing) == ("mobilenet_v2", 512, 0.2)
    assert (drawn.base_width, drawn.sampler) == (64, "uniform")
    for teacher in (named, drawn, parts):
        assert (teacher.input_size, teacher.mean, teacher.std) == (224, (0.0,) * 3, (1.0,) * 3)
        assert config.rigs[teacher.training.rig].image_size == 224
