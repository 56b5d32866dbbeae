"""finetune_student: alone and jointly with a distillation method; the test split is kept, not looked at."""

import argparse
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import finetune_student
import labelled_clouds
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage
from pointlift.operators.checkpoint import save_student

TASK = {
    "kind": "classification",
    "dataset": "ellipsoids",
    "recipe": {"epochs": 5, "batch_size": 8, "learning_rate": 0.01},
    "head_width": 16,
    "log_every": 2,
}


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)


@pytest.fixture
def weights(tmp_path):
    module = rooms.load("students", "pointnet")
    settings = parse(module.Settings, labelled_clouds.STUDENT, "student")
    torch.manual_seed(0)
    save_student(tmp_path / "weights", module.build(settings), settings.model_dump(mode="json"))
    return tmp_path / "weights"


def finetune(dataset, weights, output, task=None, **changes):
    settings = {
        "run": "scratch",
        "student": labelled_clouds.STUDENT,
        "task": {**TASK, **(task or {})},
        "method": None,
        "arm": "scratch",
        "form": "transfer",
        "seed": 3,
        "max_quarantined": 0.1,
    }
    joint = changes.get("form") == "joint"
    finetune_student.main(
        argparse.Namespace(
            settings=settings | changes,
            manifest=dataset["manifest"][0],
            points=dataset["points"],
            visibility=dataset["visibility"] if joint else [],
            features=dataset["features"] if joint else [],
            weights=weights,
            output=output / "predictions.safetensors",
            checkpoints=None,
            curves=None,
            code="",
            threads=1,
            device="cpu",
        )
    )
    return read_stage(output / "predictions.safetensors", "predictions")


def lines(output):
    return [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]


def joint(arm: str, **method):
    return {"form": "joint", "arm": arm, "method": {"kind": "pointmcd", **method}}


def test_predictions_are_of_val_and_test_at_logged_epochs(tmp_path, dataset, weights):
    found = finetune(dataset, weights, tmp_path / "out")
    assert found["epoch"].tolist() == [1, 3, 4]
    assert found["logits"].shape == (3, 18, 3)
    assert sorted(set(found["split"].tolist())) == [1, 2]
    assert found.attributes["num_train"] == 23
    assert not any("test" in name for line in lines(tmp_path / "out") for name in line)
    assert ["val_accuracy" in line for line in lines(tmp_path / "out")] == [False, True, False, True, True]


def test_it_learns_ellipsoids(tmp_path, dataset, weights):
    task = {"recipe": {"epochs": 30, "batch_size": 8, "learning_rate": 0.01}}
    found = finetune(dataset, weights, tmp_path / "out", task)
    test = found["split"] == 2
    assert (found["logits"][-1, test].argmax(1) == found["label"][test]).mean() > 0.9


def test_a_frozen_student_keeps_its_bits(tmp_path, dataset, weights):
    finetune(dataset, weights, tmp_path / "out", {"regime": "frozen"})
    before, after = load_file(weights), load_file(tmp_path / "out" / "weights.safetensors")
    assert all(torch.equal(after[f"student.{name}"], value) for name, value in before.items())
    assert after["head.weight"].shape == (3, 16)


def test_the_same_bytes_again(tmp_path, dataset, weights):
    for name in ("one", "two"):
        finetune(dataset, weights, tmp_path / name, **joint("mcd"))
    for file in ("predictions.safetensors", "weights.safetensors", "history.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_joint_adds_the_view_loss_and_drops_the_head(tmp_path, dataset, weights):
    finetune(dataset, weights, tmp_path / "mcd", {"task_weight": 0.1}, **joint("mcd"))
    finetune(dataset, weights, tmp_path / "alone", {"task_weight": 0.1})
    assert lines(tmp_path / "mcd")[-1]["view_loss"] > 0
    assert "view_loss" not in lines(tmp_path / "alone")[-1]
    names = set(load_file(tmp_path / "mcd" / "weights.safetensors"))
    assert names == set(load_file(tmp_path / "alone" / "weights.safetensors"))


def test_the_control_arm_is_the_supervised_run(tmp_path, dataset, weights):
    control = finetune(dataset, weights, tmp_path / "control", **joint("control"))
    alone = finetune(dataset, weights, tmp_path / "alone")
    mcd = finetune(dataset, weights, tmp_path / "mcd", **joint("mcd"))
    np.testing.assert_array_equal(control["logits"], alone["logits"])
    assert not np.array_equal(mcd["logits"], alone["logits"])
    assert lines(tmp_path / "control")[-1]["view_loss"] == 0


@pytest.mark.parametrize("arm", ["shuffled", "all_visible", "random_visibility"])
def test_arms_change_what_is_distilled(tmp_path, dataset, weights, arm):
    changed = finetune(dataset, weights, tmp_path / arm, **joint(arm))
    mcd = finetune(dataset, weights, tmp_path / "mcd", **joint("mcd"))
    assert not np.array_equal(changed["logits"], mcd["logits"])


def test_too_many_unusable_shapes_stop_a_joint_run(tmp_path, dataset, weights):
    with pytest.raises(ArtifactError, match="max_quarantined"):
        finetune(dataset, weights, tmp_path / "out", max_quarantined=0.0, **joint("mcd"))
