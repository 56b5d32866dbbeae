"""A released classifier, from a file of another program to rows of the results: by its own head, and as an encoder."""

import argparse
import json

import numpy as np
import pytest
import torch

import embed_shapes
import evaluate_task
import labelled_clouds
import replay_student
import train_student
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.metrics import read_metrics
from pointlift.contracts.stages import read_stage
from students import released_networks as published

LEVELS = [
    {"num_centres": n, "radius": r, "num_neighbours": k, "widths": w}
    for (n, r, k), w in zip(published.BALLS, ([8, 8, 12], [12, 12, 16]), strict=True)
]
STUDENT = {"kind": "pointnet2", "levels": LEVELS, "widths": [16, 24, 32], "balls": "first"}
RELEASED = {"file": "released/ssg.pth", "layout": "pointnet2_ssg"}
RECIPE = {"epochs": 5, "batch_size": 8, "learning_rate": 0.01}


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path / "dataset")


@pytest.fixture
def tensors():
    """Of a classifier of the dataset's three classes; its fifth and fourth are left out."""
    found = published.pointnet2()
    return found | {name: found[name][:3] for name in ("fc3.weight", "fc3.bias")}


@pytest.fixture
def file(tmp_path, tensors):
    torch.save({"epoch": 7, "instance_acc": np.float64(0.9), "model_state_dict": tensors}, tmp_path / "ssg.pth")
    return tmp_path / "ssg.pth"


def replay(dataset, file, folder, **released):
    arguments = argparse.Namespace(
        settings={"run": "theirs", "student": STUDENT, "released": {**RELEASED, **released}},
        manifest=dataset["manifest"][0],
        points=dataset["points"],
        released=file,
        output=[folder / "predictions.safetensors"],
        threads=1,
        device="cpu",
    )
    replay_student.main(arguments)
    return folder / "predictions.safetensors"


def start(file, folder):
    settings = {"run": "theirs", "student": STUDENT, "arm": "replayed", "seed": 0, "released": RELEASED}
    nothing = {name: [] for name in ("points", "visibility", "features", "tokens", "exclude")}
    paths = {"output": folder / "weights.safetensors", "projector": folder / "projector.safetensors", "source": file}
    given = {"init": None, "manifest": None, "checkpoints": None, "curves": None, "code": ""}
    train_student.main(argparse.Namespace(settings=settings, threads=1, device="cpu", **nothing, **paths, **given))
    return folder


def judge(dataset, task, answer, output, method="released"):
    row = {"method": method, "arm": "replayed", "student": "ssg", "teacher": "", "pretrain_dataset": ""}
    protocol = {"base": "ellipsoids", "variant": "32", "num_points": 32, "form": "transfer"}
    settings = {
        "run": "theirs",
        "row": {**row, "dataset": "ellipsoids"},
        "protocol": protocol,
        "task": {"dataset": "ellipsoids", **task},
        "seeds": [0],
        "settings_hash": "0",
    }
    evaluate_task.main(
        argparse.Namespace(
            settings=settings,
            manifest=dataset["manifest"][0],
            embeddings=[answer],
            predictions=[answer],
            prompts=None,
            output=[output],
        )
    )
    return read_metrics(output)


def clouds_of(dataset, ids):
    """Clouds by id, as the shards hold them."""
    found = {}
    for path in dataset["points"]:
        shard = read_stage(path, "points")
        starts = shard["point_offsets"]
        found |= {one: shard["points"][starts[i] : starts[i + 1]] for i, one in enumerate(shard.ids)}
    return [torch.from_numpy(found[one]) for one in ids]


def test_the_files_own_head_answers_and_becomes_rows_of_the_results(tmp_path, dataset, file, tensors):
    answers = replay(dataset, file, tmp_path / "replayed")
    found = read_stage(answers, "predictions")
    assert set(found["split"].tolist()) == {2} and found.attributes["num_train"] == 0
    wanted = torch.stack([published.pointnet2_scores(tensors, cloud) for cloud in clouds_of(dataset, found.ids)])
    np.testing.assert_allclose(found["logits"][0], wanted.numpy(), rtol=1e-4, atol=1e-5)
    metrics = judge(dataset, {"kind": "classification", "recipe": RECIPE}, answers, tmp_path / "metrics.json")
    right = wanted.argmax(dim=1).numpy() == found["label"]
    by_class = [right[found["label"] == label].mean() for label in range(3)]
    assert [(v.metric, v.selection) for v in metrics.values] == [("accuracy", "last"), ("mean_class_accuracy", "last")]
    assert [v.value for v in metrics.values] == pytest.approx([right.mean(), np.mean(by_class)])
    assert metrics.n_train == 0 and not metrics.audit.votes
    assert sorted(path.name for path in answers.parent.iterdir()) == [
        "predictions.safetensors",
        "weights.safetensors",
    ]


def test_an_answer_beyond_the_datasets_classes_is_wrong(tmp_path, dataset):
    tensors = published.pointnet2()
    tensors["fc3.bias"] = torch.tensor([0.0, 0.0, 0.0, 1e6, 0.0])
    torch.save(tensors, tmp_path / "five.pth")
    answers = replay(dataset, tmp_path / "five.pth", tmp_path / "replayed", head_classes=5)
    metrics = judge(dataset, {"kind": "classification", "recipe": RECIPE}, answers, tmp_path / "metrics.json")
    assert [value.value for value in metrics.values] == [0.0, 0.0]


def test_the_same_bytes_again(tmp_path, dataset, file):
    one, two = (replay(dataset, file, tmp_path / name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.with_name("weights.safetensors").read_bytes() == two.with_name("weights.safetensors").read_bytes()


def test_its_encoder_is_judged_frozen_like_every_other_student(tmp_path, dataset, file):
    folder = start(file, tmp_path / "student")
    origins = json.loads((folder / "settings.json").read_text())["origins"]
    assert origins["levels.0.place.weight"] == "sa1.mlp_convs.0.weight: copied"
    assert "sa1.mlp_convs.0.bias" in origins["levels.0.norm.0.running_mean"]
    assert (folder / "history.jsonl").read_text() == ""
    embed_shapes.main(
        argparse.Namespace(
            settings={"student": STUDENT},
            weights=[folder / "weights.safetensors"],
            projector=[folder / "projector.safetensors"],
            points=dataset["points"],
            output=[tmp_path / "embeddings.safetensors"],
            device="cpu",
            threads=1,
        )
    )
    for task in ({"kind": "linear_probe"}, {"kind": "retrieval"}):
        metrics = judge(dataset, task, tmp_path / "embeddings.safetensors", tmp_path / f"{task['kind']}.json")
        assert metrics.method == "released" and all(np.isfinite(value.value) for value in metrics.values)


def test_other_classes_another_file_and_an_encoder_alone_leave_nothing(tmp_path, dataset, file):
    torch.save(published.pointnet2(), tmp_path / "five.pth")
    with pytest.raises(ArtifactError, match=r"ssg\.pth: its head names 5 classes, the dataset has 3; replay") as caught:
        replay(dataset, tmp_path / "five.pth", tmp_path / "out")
    assert "\n" not in str(caught.value)
    for said in (2, 4):
        with pytest.raises(ArtifactError, match=f"and the run's block says head_classes: {said}; replay"):
            replay(dataset, tmp_path / "five.pth", tmp_path / "out", head_classes=said)
    torch.save(published.dgcnn(), tmp_path / "dgcnn.pth")
    with pytest.raises(ArtifactError, match=r"dgcnn\.pth: not a file of layout pointnet2_ssg"):
        replay(dataset, tmp_path / "dgcnn.pth", tmp_path / "out")
    with pytest.raises(ArtifactError, match="not the file whose sha256"):
        replay(dataset, file, tmp_path / "out", sha256="0" * 64)
    with pytest.raises(ConfigError, match="not the network of layout point_mae_pretrained"):
        replay(dataset, file, tmp_path / "out", layout="point_mae_pretrained")
    assert not (tmp_path / "out").exists()
