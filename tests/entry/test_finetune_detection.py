"""Detection from raw scenes in the published layouts to metrics: ScanNet's boxes along the axes, SUN RGB-D's turned."""

import json
from argparse import Namespace

import pytest

import build_manifest
import evaluate_task
import finetune_student
import read_points
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.metrics import read_metrics
from pointlift.contracts.stages import read_stage
from pointlift.operators.checkpoint import save_student
from scene_layouts import write_scannet, write_sunrgbd
from tasks.detection_cases import SMALL, STUDENT, student

BLOCKS = {
    "scannet": {"kind": "scannet", "protocol": "test/one", "folder": "raw", "partial": True, "val_share": 0.0},
    "sunrgbd": {"kind": "sunrgbd", "protocol": "test/one", "folder": "raw", "partial": True, "labels": "v1"},
}
IDS = {
    "scannet": ("scene0000_00", "scene0000_01", "scene0007_00", "scene0011_00", "scene0011_01"),
    "sunrgbd": ("000001", "000002", "005051", "005052", "010335"),
}
NUM_CLASSES = {"scannet": 18, "sunrgbd": 10}


@pytest.fixture(params=BLOCKS)
def dataset(request, tmp_path):
    """Kind, manifest and two shards of points."""
    kind = request.param
    (write_scannet if kind == "scannet" else write_sunrgbd)(tmp_path / "raw")
    shards = []
    for number, ids in enumerate((IDS[kind][:2], IDS[kind][2:])):
        shards.append(tmp_path / f"{number:04d}.safetensors")
        settings = {"block": BLOCKS[kind], "ids": ids}
        read_points.main(Namespace(settings=settings, folder=tmp_path / "raw", output=shards[-1]))
    manifest, settings = tmp_path / "manifest.csv", {"block": BLOCKS[kind]}
    quarantine = tmp_path / "quarantine.csv"
    build_manifest.main(Namespace(settings=settings, shards=shards, output=manifest, quarantine=quarantine))
    return kind, manifest, shards


STUDENT_BLOCK = json.loads(student().settings.model_dump_json())


def finetune(dataset, folder, **changes):
    kind, manifest, shards = dataset
    folder.mkdir()
    save_student(folder / "start", student(), STUDENT_BLOCK)
    task = {"kind": "detection", "dataset": kind, "oriented": kind == "sunrgbd", **SMALL, "num_queries": 6, **changes}
    settings = {"run": "r", "student": STUDENT, "task": task, "arm": "scratch", "form": "transfer", "seed": 0}
    beside = {"visibility": [], "features": [], "tokens": []}
    compute = {"checkpoints": None, "curves": None, "code": "", "threads": 1, "device": "cpu"}
    output = folder / "predictions.safetensors"
    finetune_student.main(
        Namespace(
            settings=settings,
            manifest=manifest,
            points=shards,
            weights=folder / "start",
            output=output,
            **beside,
            **compute,
        )
    )
    return task, output


def test_scenes_in_the_published_layout_are_learned_and_judged(dataset, tmp_path):
    kind = dataset[0]
    task, output = finetune(dataset, tmp_path / "first")
    found = read_stage(output, "box_predictions")
    assert found["boxes"].shape == (1, 2, 2, 6, 7) and found["scores"].shape[-1] == NUM_CLASSES[kind]
    assert found["epoch"].tolist() == [1] and found.attributes["num_train"] == 3
    assert bool(found["boxes"][..., 6].any()) == (kind == "sunrgbd") == bool(found["truth"][..., 6].any())
    assert (found["truth_label"] >= 0).sum(axis=1).tolist() == ([2, 2] if kind == "scannet" else [0, 2])
    assert found["inside"].max() <= SMALL["num_points"]
    lines = [json.loads(line) for line in (tmp_path / "first" / "history.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and ("heading_loss" in lines[0]) == (kind == "sunrgbd")
    assert finetune(dataset, tmp_path / "again")[1].read_bytes() == output.read_bytes()
    metrics = read_metrics(evaluated(dataset, task, output, tmp_path))
    values = {value.metric: value.value for value in metrics.values}
    assert {"map_25", "map_25_sd", "map_50", "scene_recall_50"} <= set(values)
    assert 0.0 <= values["map_50"] <= values["map_25"] <= 1.0 and metrics.n_test == 2
    assert len(metrics.outcomes["class_ap_25"]) == 2


def evaluated(dataset, task, predictions, folder):
    manifest = dataset[1]
    words = ("method", "student", "teacher", "pretrain_dataset", "dataset")
    row = dict.fromkeys(words, "x") | {"arm": "scratch"}
    protocol = {"base": "x", "form": "transfer"}
    settings = {"run": "r", "row": row, "protocol": protocol, "task": task, "seeds": [0], "settings_hash": "x"}
    output = folder / "metrics.json"
    asked = Namespace(settings=settings, manifest=manifest, predictions=[predictions], embeddings=[], prompts=None)
    asked.output = [output]
    evaluate_task.main(asked)
    return output


def test_turned_boxes_are_not_taken_for_straight_ones(dataset, tmp_path):
    if dataset[0] == "scannet":
        pytest.skip("its boxes stand along the axes")
    with pytest.raises(ConfigError, match="say oriented: true"):
        finetune(dataset, tmp_path / "first", oriented=False)
    assert not (tmp_path / "first" / "predictions.safetensors").exists()
