"""finetune_student: alone and jointly with a distillation method; the test split is kept, not looked at."""

import argparse
import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import finetune_student
import labelled_clouds
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.manifest import open_test_split, write_manifest
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.distillation.pairs import prepare
from pointlift.operators.checkpoint import save_student
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import TargetStatistics
from pointlift.tasks.finetuning import Companion, Finetuning
from pointlift.tasks.part_segmentation import Settings as PartSettings
from pointlift.tasks.part_segmentation import build as build_task
from pointlift.tasks.shapes import read_clouds, read_part_predictions
from pointlift.training import engine
from pointlift.training.augmentation import augment

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


def finetune(dataset, weights, output, task=None, whole_task=None, kind="predictions", **changes):
    settings = {
        "run": "scratch",
        "student": labelled_clouds.STUDENT,
        "task": whole_task or {**TASK, **(task or {})},
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
            tokens=[],
            weights=weights,
            output=output / "predictions.safetensors",
            checkpoints=None,
            curves=None,
            code="",
            threads=1,
            device="cpu",
        )
    )
    return read_stage(output / "predictions.safetensors", kind)


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


def test_eight_shapes_are_learnt_to_the_floor_of_the_smoothed_loss(tmp_path, dataset, weights):
    rows = open_test_split(dataset["manifest"][0])
    train = rows.index[rows["split"] == "train"]
    rows.loc[train[8:], "split"] = "val"
    rows.loc[train[:8], "label"] = [0, 1, 2, 0, 1, 2, 0, 1]  # whatever the shapes are
    rows["class_name"] = rows["label"].map({0: "ball", 1: "flat", 2: "rod"})
    write_manifest(dataset["manifest"][0], rows)
    recipe = {"epochs": 200, "batch_size": 8, "learning_rate": 0.01}
    task = {"recipe": recipe, "label_smoothing": 0.2, "log_every": 200}
    finetune(dataset, weights, tmp_path / "out", task)
    floor = -0.8 * np.log(0.8) - 0.2 * np.log(0.1)
    assert floor <= lines(tmp_path / "out")[-1]["task_loss"] < 1.02 * floor


def test_a_smoothing_that_says_the_label_is_wrong_is_refused(tmp_path, dataset, weights):
    with pytest.raises(ConfigError, match=r"label_smoothing: 0\.7 .* at most \(K - 1\) / K, here 0\.666;") as caught:
        finetune(dataset, weights, tmp_path / "out", {"label_smoothing": 0.7})
    assert "\n" not in str(caught.value)


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


def published(dataset):
    """PointMCD's own sizes, as the entry point would build them: finetuning with 40 classes and 512-wide targets."""
    students, tasks, methods = (
        rooms.load(room, kind)
        for room, kind in [("students", "pointnet"), ("tasks", "classification"), ("distillation", "pointmcd")]
    )
    student = students.build(parse(students.Settings, {"kind": "pointnet"}, "student"))
    task = tasks.build(parse(tasks.Settings, {**TASK, "head_width": 512}, "task"))
    targets = TargetStatistics(np.zeros(512, np.float32), np.ones(512, np.float32), nonnegative=True)
    method = methods.build(parse(methods.Settings, {"kind": "pointmcd"}, "method"), shape_of(student), targets)
    shapes = replace(read_clouds(dataset["manifest"][0], dataset["points"]), num_classes=40)
    return Finetuning(task, student, shapes, 0, Companion(method, (shapes.ids[0],), {}, prepare))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_counts_with_and_without_what_only_training_needs(dataset):
    finetuning = published(dataset)
    assert count(finetuning.model) == 1_570_313
    assert count(finetuning.deployed()) == 1_045_001


def test_answers_do_not_depend_on_what_is_visible(dataset):
    model = published(dataset).model.eval()
    generator = torch.Generator().manual_seed(0)
    batch = {
        "points": torch.randn(4, 20, 3, generator=generator),
        "label": torch.arange(4),
        "target": torch.rand(4, 3, 512, generator=generator),
    }
    masks = [torch.rand(4, 3, 20, generator=generator) < share for share in (0.2, 0.9)]
    with torch.no_grad():
        one, two = (model({**batch, "visible": mask}) for mask in masks)
    assert one["view_loss"] != two["view_loss"]
    assert torch.equal(one["task_loss"], two["task_loss"])
    assert "visible" not in inspect.signature(model.logits).parameters


def test_no_label_target_or_mask_outside_the_train_split_is_looked_at(tmp_path, dataset, weights):
    before = finetune(dataset, weights, tmp_path / "before", **joint("mcd"))
    rows = open_test_split(dataset["manifest"][0])
    held = rows["split"] != "train"
    names = {0: "ball", 1: "flat", 2: "rod"}
    rows.loc[held, "label"] = (rows["label"][held] + 1) % 3
    rows["class_name"] = rows["label"].map(names)
    write_manifest(dataset["manifest"][0], rows)
    outside = set(rows["shape_id"][held])
    for stage, array in (("features", "embedding"), ("visibility", "visible")):
        for path in dataset[stage]:
            shard = read_stage(path, stage)
            chosen = [shape_id in outside for shape_id in shard.ids]
            shard.arrays[array][chosen] = 3 if stage == "features" else 0
            write_stage(path, stage, shard.ids, shard.arrays)
    after = finetune(dataset, weights, tmp_path / "after", **joint("mcd"))
    assert not np.array_equal(after["label"], before["label"])
    np.testing.assert_array_equal(after["logits"], before["logits"])


def test_arms_see_the_same_clouds_in_the_same_order(tmp_path, dataset, weights, monkeypatch):
    seen = {}
    recipe = {**TASK["recipe"], "epochs": 2, "augmentation": {"scale": [0.8, 1.25], "shift": 0.1}}
    for arm in ("mcd", "control", "shuffled", "random_teacher"):
        clouds = seen.setdefault(arm, [])

        def noted(*given, clouds=clouds):
            found = augment(*given)
            clouds.append(found.numpy().tobytes())
            return found

        monkeypatch.setattr(engine, "augment", noted)
        finetune(dataset, weights, tmp_path / arm, {"recipe": recipe}, **joint(arm))
    assert len(seen["mcd"]) == len(set(seen["mcd"])) == 4
    assert seen["control"] == seen["shuffled"] == seen["random_teacher"] == seen["mcd"]


PARTS = {"kind": "part_segmentation", "head_widths": [16], "log_every": 10}


def segment(dataset, weights, output, epochs, **changes):
    task = {name: value for name, value in TASK.items() if name != "head_width"} | PARTS
    task["recipe"] = {"epochs": epochs, "batch_size": 8, "learning_rate": 0.01}
    finetune(dataset, weights, output, whole_task=task, kind="part_predictions", **changes)
    return read_part_predictions(dataset["manifest"][0], output / "predictions.safetensors")


def test_it_learns_the_halves_of_ellipsoids(tmp_path, dataset, weights):
    found = segment(dataset, weights, tmp_path / "out", 30)
    task = build_task(parse(PartSettings, {**PARTS, "dataset": "x", "recipe": TASK["recipe"]}, "task"))
    values = {(value.metric, value.selection): value.value for value in task.evaluate(found).values}
    assert values["instance_miou", "last"] > 0.6  # half of the points by chance: 0.33
    assert values["instance_miou", "last"] <= values["instance_miou_compat", "last"] + 0.05
    assert found.epoch.tolist() == [9, 19, 29]
    assert "val_instance_miou" in lines(tmp_path / "out")[-1]
    labelled = found.arrays["labelled"].sum(axis=1)
    assert found.class_names == ("ball", "flat", "rod")
    assert (labelled == labelled_clouds.NUM_POINTS - 1).all(), "the first point of each shape has no part"


def test_parts_and_views_are_learnt_together_to_the_same_bytes(tmp_path, dataset, weights):
    for name in ("one", "two"):
        segment(dataset, weights, tmp_path / name, 3, **joint("mcd"))
    for file in ("predictions.safetensors", "weights.safetensors", "history.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert {"task_loss", "view_loss"} <= set(lines(tmp_path / "one")[0])
