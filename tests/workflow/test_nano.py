"""Suite nano from end to end: the results contract, identical bytes, and reruns of exactly what changed."""

import json

import pandas as pd
import pytest

from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.stages import read_stages

REPORT = "results/report/nano"
SUMMARY_COLUMNS = [
    "suite",
    "run",
    "method",
    "arm",
    "student",
    "teacher",
    "pretrain_dataset",
    "task",
    "dataset",
    "protocol",
    "selection",
    "seed",
    "metric",
    "value",
    "n_train",
    "n_test",
    "settings_hash",
]


def test_the_report_folder_holds_the_contract(finished_nano):
    folder = finished_nano.folder / REPORT
    assert {path.name for path in folder.iterdir()} == {
        "summary.csv", "leaderboard.csv", "ladder.csv", "cost.csv", "quarantine.csv", "report.html", "cards",
    }  # fmt: skip
    summary = pd.read_csv(folder / "summary.csv", keep_default_na=False)
    assert {path.stem for path in (folder / "cards").iterdir()} == set(summary["run"])
    assert list(summary.columns) == SUMMARY_COLUMNS
    assert set(summary["arm"]) == {
        "scratch", "mcd", "shuffled", "random_teacher", "control", "concept", "point_mae", "init_point_mae", "io",
    }  # fmt: skip
    assert set(summary["task"]) == {
        "classification", "part_segmentation", "linear_probe", "few_shot", "retrieval", "data_efficiency", "zero_shot",
        "neural_collapse", "speed_to_target", "finetuned_few_shot", "semi_supervised", "semantic_segmentation",
        "detection",
    }  # fmt: skip
    assert set(summary["protocol"]) == {
        "procedural/nano/transfer", "procedural/nano/joint", "procedural/nano/target20/transfer",
        "rooms/2x40x30-all/transfer", "rooms/2x40x30-all/points512/transfer",
    }  # fmt: skip
    assert set(summary["selection"]) == {"last", "val"}
    accuracy = summary[summary["metric"].str.startswith("accuracy")]["value"]
    assert accuracy.between(0, 1).all()
    assert accuracy.nunique() > 3


def test_every_transfer_run_stands_beside_its_controls(finished_nano):
    board = pd.read_csv(finished_nano.folder / REPORT / "leaderboard.csv", keep_default_na=False)
    probe = board[(board["run"] == "nano_mcd") & (board["task"] == "linear_probe") & (board["metric"] == "accuracy")]
    assert set(probe["control"]) == {"nano_scratch", "nano_mcd_shuffled", "nano_mcd_random_teacher"}
    joint = board[(board["run"] == "nano_joint_mcd") & (board["selection"] == "last") & (board["metric"] == "accuracy")]
    assert list(joint["control"]) == ["nano_joint_control"]


def test_cost_knows_every_phase(finished_nano):
    cost = pd.read_csv(finished_nano.folder / REPORT / "cost.csv", keep_default_na=False)
    phases = set(cost["phase"])
    assert {"prepare_meshes", "render_views", "train_teacher", "extract_features", "train_student"} <= phases
    assert (pd.to_numeric(cost["wall_s"]) > 0).all()


def test_the_same_config_gives_the_same_bytes(finished_nano, checkout):
    checkout.snakemake()
    for name in ("summary.csv", "leaderboard.csv", "ladder.csv", "quarantine.csv"):
        first, second = (c.folder / REPORT / name for c in (finished_nano, checkout))
        assert first.read_bytes() == second.read_bytes(), name
    for pattern in (
        "students/*/*/weights.safetensors",
        "features/*/*/*/*.safetensors",
        "teachers/*/weights.safetensors",
    ):
        files = sorted(finished_nano.folder.glob(f"results/{pattern}"))
        assert files
        for file in files:
            twin = checkout.folder / file.relative_to(finished_nano.folder)
            assert file.read_bytes() == twin.read_bytes(), file


def test_a_second_call_does_nothing_and_says_so(finished_nano):
    assert finished_nano.planned() == {}
    result = finished_nano.snakemake()
    assert "Nothing to be done" in result.stdout + result.stderr


def test_no_shape_and_no_mesh_stands_where_it_must_not(finished_nano):
    names = ("nano_teacher_shapes", "nano_distillation_shapes", "nano_shapes")
    manifests = [read_manifest(finished_nano.folder / f"results/manifest/{name}.csv") for name in names]
    together = pd.concat(manifests)
    assert len(together) == 240
    assert together["shape_id"].is_unique
    assert together["sha256"].is_unique


def test_distillation_never_saw_the_task_or_its_labels(finished_nano):
    settings = json.loads((finished_nano.folder / "results/students/nano_mcd/seed0/settings.json").read_text())
    assert settings["arm"] == "mcd"
    meshes = read_stages(sorted((finished_nano.folder / "results/points/nano_distillation_shapes").iterdir()), "points")
    assert all("-nanodistil-" in shape_id for shape_id in meshes.ids)


EDITS = {
    "one task's setting": ("config.yaml", "shots: [1, 3]\n", "shots: [1, 2]\n", {"evaluate_task": 3}),
    "how a teacher is told the classes": (
        "config.yaml",
        "{kind: zero_shot, dataset: nano_shapes}",
        "{kind: zero_shot, dataset: nano_shapes, prompts: ['a cloud of a {}']}",
        {"encode_class_prompts": 1, "evaluate_task": 2},
    ),
    "a comment in config": ("config.yaml", "suite: mini #", "# a comment\nsuite: mini #", {}),
    "a docstring": (
        "workflow_scripts/pointlift/geometry/cameras.py",
        "from __future__ import annotations",
        "# why\nfrom __future__ import annotations",
        {},
    ),
    "a method's code": (
        "workflow_scripts/pointlift/distillation/pointmcd.py",
        "from __future__ import annotations",
        "from __future__ import annotations\n\n_NEW = 1",
        {"train_student": 5, "embed_shapes": 3, "finetune_student": 6, "evaluate_task": 11},
    ),
    "a method that another run starts from": (
        "config.yaml",
        "point_mae: {kind: point_mae}",
        "point_mae: {kind: point_mae, mask_ratio: 0.5}",
        {"train_student": 2, "embed_shapes": 2, "evaluate_task": 2},
    ),
    "a source of 2D weights": (
        "config.yaml",
        "recipe: {epochs: 6, batch_size: 16, learning_rate: 3.0e-3}",
        "recipe: {epochs: 7, batch_size: 16, learning_rate: 3.0e-3}",
        {"train_teacher": 1, "train_student": 1, "finetune_student": 3, "evaluate_task": 3},
    ),
    "where cameras stand": (  # all that saw a view; runs from scratch and masked autoencoders did not
        "config.yaml",
        "layout: ring, num_views: 4}",
        "layout: sphere, num_views: 4}",
        {"render_views": 3, "compute_visibility": 2, "train_teacher": 2, "extract_features": 4, "extract_tokens": 1,
         "train_student": 7, "encode_class_prompts": 1, "embed_shapes": 5, "finetune_student": 13,
         "evaluate_task": 24},
    ),
    "how many points": (  # no picture and no teacher
        "config.yaml",
        "num_points: 128\n    shard_size: 128",
        "num_points: 120\n    shard_size: 128",
        {"sample_points": 2, "compute_visibility": 2, "train_student": 6, "embed_shapes": 7, "finetune_student": 15,
         "evaluate_task": 33},
    ),
    "a teacher's weights": (  # the run whose teacher is another one stays
        "config.yaml",
        "recipe: {epochs: 20, batch_size: 32,",
        "recipe: {epochs: 21, batch_size: 32,",
        {"train_teacher": 1, "extract_features": 3, "extract_tokens": 1, "train_student": 5, "encode_class_prompts": 1,
         "embed_shapes": 4, "finetune_student": 10, "evaluate_task": 20},
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_reruns_what_it_touches(finished_nano, edit):
    name, old, new, jobs = EDITS[edit]
    with finished_nano.edited(name, old, new):
        planned = finished_nano.planned()
    downstream = {"collect_metrics": 1, "draw_report": 1, "write_model_cards": 1, "all": 1} if jobs else {}
    assert planned == {**jobs, **downstream}
