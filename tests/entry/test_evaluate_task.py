"""evaluate_task: from answers to a metrics file per seed."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest

import evaluate_task
import labelled_clouds
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import OBJECT, open_test_split, write_manifest
from pointlift.contracts.metrics import read_metrics
from pointlift.contracts.stages import read_stage, write_stage

ROW = {
    "method": "supervised",
    "arm": "scratch",
    "student": "pointnet",
    "teacher": "",
    "pretrain_dataset": "",
    "dataset": "ellipsoids",
}
PROTOCOL = {"base": "toy", "variant": "8-4", "form": "transfer", "num_points": 32}
MADE = {"settings_hash": "ab12"}
PROBE = {"kind": "linear_probe", "dataset": "ellipsoids"}
SHOTS = {"kind": "few_shot", "dataset": "ellipsoids", "shots": [1, 3], "draws": 4}
FOUND = {"kind": "retrieval", "dataset": "ellipsoids"}
SHARES = {"kind": "data_efficiency", "dataset": "ellipsoids", "shares": [0.25, 1.0], "draws": 2}
ASKED = {"kind": "zero_shot", "dataset": "ellipsoids", "prompts": ["a {}"]}
FROZEN = [PROBE, SHOTS, FOUND, SHARES]
FINETUNED = {
    "kind": "classification",
    "dataset": "ellipsoids",
    "recipe": {"epochs": 2, "batch_size": 8, "learning_rate": 0.01},
}


@pytest.fixture
def manifest(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)["manifest"][0]


def embeddings(manifest, path, spread: float, projected: bool = False):
    rows = open_test_split(manifest)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 6))[rows["label"]]
    embedding = (centres + spread * rng.normal(size=(len(rows), 6))).astype(np.float32)
    valid = (rows["shape_id"] != labelled_clouds.INVALID).to_numpy()
    arrays = {"embedding": embedding, "valid": valid} | ({"projected": embedding[:, ::-1].copy()} if projected else {})
    write_stage(path, "embeddings", list(rows["shape_id"]), arrays)
    return path


def prompts(path, words=("a {}",)):
    """The centres that ``embeddings`` are spread about, as they stand in ``projected``."""
    centres = np.random.default_rng(0).normal(size=(3, 6))[:, ::-1].astype(np.float32)
    arrays = {"embedding": np.ascontiguousarray(centres), "label": np.arange(3)}
    write_stage(path, "prompts", ("ball", "flat", "rod"), arrays, prompts=list(words))
    return path


def predictions(manifest, path, right: bool):
    rows = open_test_split(manifest)
    rows = rows[rows["split"] != "train"]
    label = rows["label"].to_numpy()
    logits = np.eye(3, dtype=np.float32)[label if right else (label + 1) % 3][None]
    arrays = {
        "epoch": np.array([1]),
        "logits": logits,
        "label": label,
        "split": np.where(rows["split"] == "test", 2, 1).astype(np.uint8),
    }
    write_stage(path, "predictions", list(rows["shape_id"]), arrays, num_train=23)
    return path


def evaluate(manifest, task, answers, outputs, seeds=(0, 1), **given):
    kind = "predictions" if task["kind"] == "classification" else "embeddings"
    given = {"predictions": [], "embeddings": [], kind: answers, **given}
    settings = {"run": "scratch", "row": ROW, "task": task, "protocol": PROTOCOL, **MADE, "seeds": list(seeds)}
    evaluate_task.main(argparse.Namespace(settings=settings, manifest=manifest, output=outputs, **given))
    return [read_metrics(output) for output in outputs]


@pytest.mark.parametrize("task", FROZEN, ids=lambda task: task["kind"])
def test_clear_embeddings_are_read_perfectly(tmp_path, manifest, task):
    answers = [embeddings(manifest, tmp_path / f"{name}", spread) for name, spread in (("near", 0.02), ("far", 30.0))]
    clear, blurred = evaluate(manifest, task, answers, [tmp_path / "0.json", tmp_path / "1.json"])
    assert clear.values[0].value == 1.0
    assert blurred.values[0].value < 0.8
    assert (clear.seed, blurred.seed, clear.n_test, clear.task) == (0, 1, 12, task["kind"])
    assert len(clear.test_ids) == 12 and all(set(outcome) == {1.0} for outcome in clear.outcomes.values())


@pytest.mark.parametrize("task", FROZEN, ids=lambda task: task["kind"])
def test_the_projected_embedding_is_judged_where_asked(tmp_path, manifest, task):
    answer = embeddings(manifest, tmp_path / "e", 1.0, projected=True)
    shard = read_stage(answer, "embeddings")
    arrays = shard.arrays | {"projected": shard["embedding"][::-1].copy()}  # of other shapes
    write_stage(tmp_path / "mixed", "embeddings", shard.ids, arrays)
    own = evaluate(manifest, task, [tmp_path / "mixed"], [tmp_path / "0.json"], [0])[0]
    assert own.values == evaluate(manifest, task, [answer], [tmp_path / "1.json"], [0])[0].values
    mixed = evaluate(manifest, task | {"of": "projected"}, [tmp_path / "mixed"], [tmp_path / "2.json"], [0])[0]
    assert mixed.values != own.values
    embeddings(manifest, tmp_path / "bare", 1.0)
    with pytest.raises(ArtifactError, match="bare: has no projected embeddings"):
        evaluate(manifest, task | {"of": "projected"}, [tmp_path / "bare"], [tmp_path / "3.json"], [0])
    assert not (tmp_path / "3.json").exists()


@pytest.mark.parametrize("task", FROZEN, ids=lambda task: task["kind"])
def test_every_task_tells_which_test_items_are_copies(tmp_path, manifest, task):
    rows = open_test_split(manifest)
    write_manifest(manifest, rows.assign(**{OBJECT: [f"of {i[:-1]}" for i in rows["shape_id"]]}))
    answer = embeddings(manifest, tmp_path / "e", 0.02)
    found = evaluate(manifest, task, [answer], [tmp_path / "0.json"], [0])[0]
    assert found.clusters == tuple(f"of {i[:-1]}" for i in found.test_ids) and not found.copies_unknown
    write_manifest(manifest, rows.assign(**{OBJECT: ""}))
    found = evaluate(manifest, task, [answer], [tmp_path / "1.json"], [0])[0]
    assert found.copies_unknown and found.clusters == ()


def test_zero_shot_asks_the_projected_embedding(tmp_path, manifest):
    answers = [embeddings(manifest, tmp_path / str(spread), spread, projected=True) for spread in (0.02, 30.0)]
    given, outputs = prompts(tmp_path / "p"), [tmp_path / "0.json", tmp_path / "1.json"]
    clear, blurred = evaluate(manifest, ASKED, answers, outputs, prompts=given)
    assert (clear.values[0].metric, clear.values[0].value, clear.n_train, clear.n_test) == ("accuracy", 1.0, 0, 12)
    assert blurred.values[0].value < 0.8


def test_zero_shot_needs_its_own_prompts_and_a_head(tmp_path, manifest):
    answers, outputs = [embeddings(manifest, tmp_path / "e", 0.1, projected=True)], [tmp_path / "0.json"]
    with pytest.raises(ArtifactError, match="needs --prompts"):
        evaluate(manifest, ASKED, answers, outputs, [0], prompts=None)
    with pytest.raises(ArtifactError, match="prompts that were encoded are"):
        evaluate(manifest, ASKED, answers, outputs, [0], prompts=prompts(tmp_path / "q", ["the {}"]))
    bare = [embeddings(manifest, tmp_path / "bare", 0.1)]
    with pytest.raises(ArtifactError, match="has no projected embeddings"):
        evaluate(manifest, ASKED, bare, outputs, [0], prompts=prompts(tmp_path / "p"))
    assert not outputs[0].exists()


def test_predictions_right_and_wrong(tmp_path, manifest):
    answers = [predictions(manifest, tmp_path / str(right), right) for right in (True, False)]
    right, wrong = evaluate(manifest, FINETUNED, answers, [tmp_path / "0.json", tmp_path / "1.json"])
    assert {(v.metric, v.selection, v.value) for v in right.values} == {
        ("accuracy", "last", 1.0),
        ("accuracy", "val", 1.0),
        ("mean_class_accuracy", "last", 1.0),
        ("mean_class_accuracy", "val", 1.0),
    }
    assert all(value.value == 0.0 for value in wrong.values)
    assert right.n_train == 23


def test_the_same_bytes_again(tmp_path, manifest):
    answers = [embeddings(manifest, tmp_path / "e", 0.5)]
    for name in ("one", "two"):
        evaluate(manifest, SHOTS, answers, [tmp_path / name], seeds=[5])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("task", [PROBE, SHOTS, FOUND, SHARES, ASKED, FINETUNED], ids=lambda task: task["kind"])
def test_judging_never_imports_torch(tmp_path, manifest, repository, task):
    """A judge starts in a second, not in four: results are compared in many small jobs."""
    if task is FINETUNED:
        answer = ["--predictions", predictions(manifest, tmp_path / "p", True)]
    else:
        answer = ["--embeddings", embeddings(manifest, tmp_path / "e", 0.5, projected=True)]
        answer += ["--prompts", prompts(tmp_path / "p")] if task is ASKED else []
    settings = {"run": "scratch", "row": ROW, "task": task, "protocol": PROTOCOL, **MADE, "seeds": [0]}
    output = tmp_path / "0.json"
    words = ["--settings", json.dumps(settings), "--manifest", manifest, *answer, "--output", output]
    program = (
        "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        "assert not {'torch', 'trimesh', 'open_clip'} & set(sys.modules)\n"
    )
    script = repository / "workflow_scripts" / "evaluate_task.py"
    found = subprocess.run(
        [sys.executable, "-c", program, *map(str, [script, *words])],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert output.is_file()


def test_answers_and_outputs_follow_the_seeds(tmp_path, manifest):
    answers = [embeddings(manifest, tmp_path / "e", 0.5)]
    with pytest.raises(ArtifactError, match="as many as seeds"):
        evaluate(manifest, PROBE, answers, [tmp_path / "one"], seeds=[0, 1])


def test_predictions_of_another_manifest_are_refused(tmp_path, manifest):
    answer = predictions(manifest, tmp_path / "p", True)
    manifest.write_text(manifest.read_text().replace("ball-010,ball,0,test", "ball-010,ball,0,val"))
    with pytest.raises(ArtifactError, match="labels or splits"):
        evaluate(manifest, FINETUNED, [answer], [tmp_path / "one"], seeds=[0])
