"""embed_shapes: every valid shape embedded as the student would, all students in one job, same bits every time."""

import argparse
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import embed_shapes
import labelled_clouds
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, read_stages, unpack
from pointlift.distillation.methods import build_method, method_settings
from pointlift.distillation.projector import save_projector
from pointlift.operators.checkpoint import save_student
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)


def write_students(tmp_path, count: int = 2):
    module = rooms.load("students", "pointnet")
    settings = parse(module.Settings, labelled_clouds.STUDENT, "student")
    students, paths = [], []
    for seed in range(count):
        torch.manual_seed(seed)
        students.append(module.build(settings).eval())
        paths.append(tmp_path / f"weights{seed}.safetensors")
        save_student(paths[-1], students[-1], settings.model_dump(mode="json"))
    return students, paths


def no_projector(folder):
    """What a scratch run leaves."""
    save_projector(folder / "projector.safetensors")
    return folder / "projector.safetensors"


def embed(dataset, weights, output, student=labelled_clouds.STUDENT, projectors=None):
    embed_shapes.main(
        argparse.Namespace(
            settings={"student": student},
            weights=weights,
            projector=projectors or [no_projector(weights[0].parent)] * len(weights),
            points=dataset["points"],
            output=output,
            threads=1,
            device="cpu",
        )
    )


def test_embeddings_are_those_of_each_student_alone(tmp_path, dataset):
    students, weights = write_students(tmp_path)
    outputs = [tmp_path / f"out{number}.safetensors" for number in range(2)]
    embed(dataset, weights, outputs)
    points = read_stages(dataset["points"], "points")
    clouds = unpack(points["points"], points["point_offsets"])
    for student, output in zip(students, outputs, strict=True):
        found = read_stage(output, "embeddings", points.ids)
        for row in (0, 7, 41):
            with torch.no_grad():
                alone = student(torch.from_numpy(clouds[row])[None]).embedding[0].numpy()
            np.testing.assert_allclose(found["embedding"][row], alone, atol=1e-5)
        bad = points.ids.index(labelled_clouds.INVALID)
        assert not found["valid"][bad] and not found["embedding"][bad].any()
        assert found["valid"].sum() == len(points.ids) - 1


def test_the_same_bytes_again(tmp_path, dataset):
    _, weights = write_students(tmp_path, 1)
    embed(dataset, weights, [tmp_path / "one"])
    embed(dataset, weights, [tmp_path / "two"])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_embedding_never_imports_torchs_compiler_or_the_training_loop(tmp_path, dataset, repository):
    """They cost as much again as torch itself; this job starts once per run and dataset."""
    _, weights = write_students(tmp_path, 1)
    settings = json.dumps({"student": labelled_clouds.STUDENT})
    words = ["--settings", settings, "--weights", *weights, "--points", *dataset["points"]]
    words += ["--output", tmp_path / "one", "--device", "cpu", "--projector", no_projector(tmp_path)]
    program = (
        "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        "assert not {'torch._dynamo', 'sympy', 'lightning_fabric', 'pandas'} & set(sys.modules)\n"
    )
    script = repository / "workflow_scripts" / "embed_shapes.py"
    command = [sys.executable, "-c", program, *map(str, [script, *words])]
    found = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    embed(dataset, weights, [tmp_path / "two"])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_as_many_outputs_as_weights(tmp_path, dataset):
    _, weights = write_students(tmp_path)
    with pytest.raises(ArtifactError, match="as many --output and --projector as --weights"):
        embed(dataset, weights, [tmp_path / "one"])


def test_weights_of_another_student_are_refused(tmp_path, dataset):
    _, weights = write_students(tmp_path, 1)
    with pytest.raises(ArtifactError, match="widths"):
        embed(dataset, weights, [tmp_path / "one"], {**labelled_clouds.STUDENT, "widths": [8, 24]})


def test_a_run_with_a_head_is_put_into_its_teachers_space_too(tmp_path, dataset):
    students, weights = write_students(tmp_path, 1)
    targets = target_statistics(np.random.default_rng(0).normal(3.0, 2.0, (40, 7)))
    settings, shape = method_settings({"kind": "pointmcd", "head": "linear"}), shape_of(students[0])
    method = build_method(settings, shape, targets, 0).eval()
    save_projector(tmp_path / "head", method, settings.model_dump(mode="json"), shape, targets)
    embed(dataset, weights, [tmp_path / "one"], projectors=[tmp_path / "head"])
    embed(dataset, weights, [tmp_path / "plain"])
    found, points = read_stage(tmp_path / "one", "embeddings"), read_stages(dataset["points"], "points")
    assert np.array_equal(found["embedding"], read_stage(tmp_path / "plain", "embeddings")["embedding"])
    head = method.head.double()
    wanted = head(torch.from_numpy(found["embedding"]).double()).detach().numpy() * targets.sd + targets.mean
    valid = found["valid"]
    np.testing.assert_allclose(found["projected"][valid], wanted[valid], rtol=1e-4, atol=1e-4)
    assert not found["projected"][~valid].any() and len(points.ids) == len(valid)


def test_a_method_without_a_head_into_that_space_gives_embeddings_alone(tmp_path, dataset):
    students, weights = write_students(tmp_path, 1)
    settings = method_settings({"kind": "pointmcd", "weight": 0.0})
    targets = target_statistics(np.ones((2, 7)))
    method = build_method(settings, shape_of(students[0]), targets, 0)
    save_projector(tmp_path / "head", method, settings.model_dump(mode="json"), shape_of(students[0]), targets)
    embed(dataset, weights, [tmp_path / "one"], projectors=[tmp_path / "head"])
    assert "projected" not in read_stage(tmp_path / "one", "embeddings").arrays


@pytest.mark.parametrize("broken", ["weights", "empty", "missing"])
def test_a_file_that_is_no_head_is_told(tmp_path, dataset, broken):
    _, weights = write_students(tmp_path, 1)
    path = {"weights": weights[0], "empty": tmp_path / "empty", "missing": tmp_path / "missing"}[broken]
    if broken == "empty":
        path.touch()
    with pytest.raises(ArtifactError, match=re.escape(str(path))):
        embed(dataset, weights, [tmp_path / "one"], projectors=[path])
    assert not (tmp_path / "one").exists()
