"""The entry point on small stage files: same bits twice, arms that differ as they should, errors in one line."""

import json
import os
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import train_student
from distillation.stored_pairs import NUM_POINTS, write_pairs
from pointlift.contracts.command import each_seed
from pointlift.contracts.errors import ArtifactError, ConfigError, PointliftError
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.distillation import from_files, training
from pointlift.distillation.projector import load_projector
from pointlift.operators.checkpoint import load_student
from pointlift.operators.initialisation import initialised
from pointlift.students.pointnet import Settings, build
from pointlift.training import engine
from pointlift.training.augmentation import augment
from pointlift.training.engine import fit

STUDENT = {"kind": "pointnet", "widths": [8, 16, 32], "input_transform": False, "feature_transform": True}
RECIPE = {"epochs": 6, "batch_size": 6, "learning_rate": 0.01}


def settings(**changes):
    method = {"kind": "pointmcd"}
    return {"run": "r", "student": STUDENT, "method": method, "recipe": RECIPE, "arm": "mcd", "seed": 0, **changes}


OUTPUTS = ["history.jsonl", "projector.safetensors", "settings.json", "weights.safetensors"]
SCRATCH = {"method": None, "recipe": None, "arm": "scratch"}


def train(folder, paths, curves=False, **changes):
    """Run it in this process; the weights and the history it left."""
    given = Namespace(
        settings=settings(**changes),
        output=folder / "weights.safetensors",
        projector=folder / "projector.safetensors",
        threads=1,
        device="cpu",
        checkpoints=None,
        curves=folder / "curves" if curves else None,
        code="",
        **{"manifest": None, "exclude": [], "init": None, "source": None, "tokens": [], **paths},
    )
    train_student.main(given)
    lines = (folder / "history.jsonl").read_text().splitlines()
    return load_file(folder / "weights.safetensors"), [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("stages"))


def fresh(seed=0):
    return initialised(lambda: build(parse(Settings, STUDENT, "student")), "student", seed)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_command_line_in_a_process_of_its_own_gives_the_same_bytes(tmp_path, paths, repository):
    command = [sys.executable, str(repository / "workflow_scripts" / "train_student.py")]
    told = settings()
    command += ["--seeds", str(told.pop("seed")), "--settings", json.dumps(told), "--device", "cpu", "--threads", "1"]
    for stage, shards in paths.items():
        command += [f"--{stage}", *map(str, shards)]
    for name, file in {"output": "weights", "projector": "projector"}.items():
        command += [f"--{name}", str(tmp_path / "a" / f"{file}.safetensors")]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    train(tmp_path / "b", paths)
    for file in OUTPUTS:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_nothing_but_its_outputs_is_left_in_its_folder(tmp_path, paths):
    train(tmp_path / "plain", paths)
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == OUTPUTS
    train(tmp_path / "drawn", paths, curves=True)
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["curves", *OUTPUTS]


def test_the_loss_falls_and_the_saved_student_is_the_deployed_one(tmp_path, paths):
    weights, history = train(tmp_path, paths)
    assert len(history) == RECIPE["epochs"]
    assert history[-1]["view_loss"] < 0.97 * history[0]["view_loss"]
    student = fresh()
    load_student(tmp_path / "weights.safetensors", student, parse(Settings, STUDENT, "student").model_dump(mode="json"))
    assert weights.keys() == student.state_dict().keys()  # no head, no statistics of targets
    assert not same(weights, fresh().state_dict())
    resolved = json.loads((tmp_path / "settings.json").read_text())
    assert resolved["recipe"]["optimiser"] == "adamw"


def test_scratch_is_the_student_every_arm_starts_from(tmp_path):
    none = {"points": [], "visibility": [], "features": []}
    weights, history = train(tmp_path, none, **SCRATCH)
    assert same(weights, fresh().state_dict())
    assert history == []
    other, _ = train(tmp_path / "other", none, **SCRATCH, seed=1)
    assert same(other, fresh(1).state_dict())
    assert not same(other, weights)


def test_a_distillation_that_learns_nothing_moves_no_weight(tmp_path, paths):
    """Start of an arm = scratch: with a vanishing learning rate the parameters stay what scratch has."""
    recipe = {**RECIPE, "learning_rate": 1e-30, "epochs": 1}
    weights, _ = train(tmp_path, paths, recipe=recipe)
    for name, value in fresh().named_parameters():
        torch.testing.assert_close(weights[name], value.detach(), rtol=0, atol=1e-29, msg=name)


def test_arms_share_first_weights_clouds_order_and_augmentation(tmp_path, paths, monkeypatch):
    begun, seen = {}, {}
    recipe = {**RECIPE, "epochs": 2, "augmentation": {"scale": [0.8, 1.25], "shift": 0.1, "jitter": 0.01}}
    other = write_pairs(tmp_path / "other teacher")
    shard = read_stage(other["features"][0], "features")
    shard.arrays["embedding"][:] = np.random.default_rng(1).normal(size=shard.arrays["embedding"].shape)
    write_stage(other["features"][0], "features", shard.ids, shard.arrays)
    for arm in ("mcd", "all_visible", "shuffled", "random_visibility", "random_teacher"):

        def noted_fit(model, *given, arm=arm, **options):
            begun[arm] = {name: value.detach().clone() for name, value in model.named_parameters()}
            fit(model, *given, **options)

        def noted_augment(*given, arm=arm):
            found = augment(*given)
            seen.setdefault(arm, []).append(found.numpy().tobytes())
            return found

        monkeypatch.setattr(training, "fit", noted_fit)
        monkeypatch.setattr(engine, "augment", noted_augment)
        train(tmp_path / arm, other if arm == "random_teacher" else paths, arm=arm, recipe=recipe)
    assert len(seen["mcd"]) == len(set(seen["mcd"])) == 4
    assert all(clouds == seen["mcd"] for clouds in seen.values())
    assert any(name.startswith("method.head") for name in begun["mcd"])
    assert all(same(weights, begun["mcd"]) for weights in begun.values())


def test_only_the_train_split_less_what_is_excluded_is_read(tmp_path, paths, monkeypatch):
    used = {}
    monkeypatch.setattr(
        from_files, "distil", lambda _, __, pairs, *___, val, **____: used.update(ids=pairs.ids, val=val.ids)
    )
    (tmp_path / "duplicates.csv").write_text("shape_id,other\nshape-001,a\nshape-009,a\nshape-011,b\n")
    listed = split_manifest(tmp_path, ["train"] * 8 + ["val"] * 2 + ["test"] * 2)
    listed["exclude"] = [tmp_path / "duplicates.csv"]
    with pytest.raises(FileNotFoundError):  # no history, as nothing was trained
        train(tmp_path / "out", {**paths, **listed})
    assert used["ids"] == tuple(f"shape-{n:03d}" for n in (0, 2, 3, 4, 5, 6, 7))
    assert used["val"] == ("shape-008",)


def split_manifest(folder, splits):
    rows = [[f"shape-{n:03d}", "", -1, split, "0000", "", "0" * 64] for n, split in enumerate(splits)]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    return {"manifest": folder / "manifest.csv"}


@pytest.mark.parametrize("arm", ["mcd", "all_visible", "shuffled"])
def test_the_val_split_is_told_of_as_it_is_whatever_the_arm(tmp_path, paths, arm):
    """The last epoch's val values by hand, from the model that was trained; and nothing is learnt from val."""
    listed, models = split_manifest(tmp_path, ["train"] * 9 + ["val"] * 3), []

    class Noted(training.Distillation):
        def __init__(self, *parts):
            super().__init__(*parts)
            models.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Distillation", Noted)
        weights, lines = train(tmp_path / "with", {**paths, **listed}, arm=arm)
    shard = {stage: read_stage(files[0], stage) for stage, files in paths.items()}
    clouds = torch.from_numpy(shard["points"]["points"].reshape(12, NUM_POINTS, 3)[9:])
    visible = np.unpackbits(shard["visibility"]["visible"][9:], axis=-1, count=NUM_POINTS).astype(bool)
    target = torch.from_numpy(shard["features"]["embedding"][9:].astype(np.float32))
    with torch.no_grad():
        wanted = models[0]({"points": clouds, "visible": torch.from_numpy(visible), "target": target})
    for name in ("view_loss", "cosine"):
        assert lines[-1][f"val_{name}"] == pytest.approx(wanted[name].item(), abs=1e-6)
    assert len({line["val_view_loss"] for line in lines}) == RECIPE["epochs"]
    alone, shorter = train(
        tmp_path / "without", {**paths, **split_manifest(tmp_path, ["train"] * 9 + ["test"] * 3)}, arm=arm
    )
    assert same(weights, alone)
    assert not any(name.startswith("val_") for name in shorter[-1])


def test_a_val_split_without_a_usable_shape_stops_nothing(tmp_path, caplog):
    paths = write_pairs(tmp_path, unusable={"features": (10, 11)})
    listed = split_manifest(tmp_path, ["train"] * 10 + ["val"] * 2)
    _, lines = train(tmp_path / "out", {**paths, **listed})
    assert "val_view_loss" not in lines[-1]
    assert "nothing is said of the val split: 2 of 2 shapes are unusable" in caplog.text


def test_arms_differ_and_seeds_differ(tmp_path, paths):
    arms = ("mcd", "all_visible", "shuffled", "random_visibility")
    found = {arm: train(tmp_path / arm, paths, arm=arm)[0]["rest.0.weight"] for arm in arms}
    found["seed"] = train(tmp_path / "seed", paths, seed=1)[0]["rest.0.weight"]
    assert len({np.asarray(value).tobytes() for value in found.values()}) == len(found)


def test_a_run_starts_from_the_student_it_is_given(tmp_path, paths):
    recipe = {**RECIPE, "learning_rate": 1e-30, "epochs": 1}
    first, _ = train(tmp_path / "first", paths)
    again, _ = train(tmp_path / "again", {**paths, "init": tmp_path / "first" / "weights.safetensors"}, recipe=recipe)
    for name, _ in fresh().named_parameters():
        torch.testing.assert_close(again[name], first[name], rtol=0, atol=1e-29, msg=name)
    with pytest.raises(ArtifactError, match="another student block"):
        other = {**STUDENT, "widths": [8, 16, 24]}
        train(tmp_path / "b", {**paths, "init": tmp_path / "first" / "weights.safetensors"}, student=other)


def test_the_head_that_is_kept_is_the_trained_one(tmp_path, paths):
    models = []

    class Noted(training.Distillation):
        def __init__(self, *parts):
            super().__init__(*parts)
            models.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Distillation", Noted)
        train(tmp_path, paths)
    output = models[0].student(torch.rand(5, NUM_POINTS, 3))
    kept = load_projector(tmp_path / "projector.safetensors")
    assert torch.equal(kept.project(output), models[0].method.project(output))
    train(tmp_path / "scratch", {"points": [], "visibility": [], "features": []}, **SCRATCH)
    assert load_projector(tmp_path / "scratch" / "projector.safetensors") is None


def test_mistakes_are_told_with_their_key(tmp_path, paths):
    with pytest.raises(ConfigError, match="a method needs a recipe"):
        train(tmp_path, paths, recipe=None)
    with pytest.raises(ConfigError, match=r"students has no kind 'sphere'; available: .*pointnet"):
        train(tmp_path, paths, student={"kind": "sphere"})
    with pytest.raises(ConfigError, match=r"method\.weights: unknown key"):
        train(tmp_path, paths, method={"kind": "pointmcd", "weights": 1.0})
    with pytest.raises(ConfigError, match="needs the key kind"):
        train(tmp_path, paths, student={})
    with pytest.raises(ArtifactError, match="no points shards"):
        train(tmp_path, {**paths, "points": []})
    assert list(tmp_path.iterdir()) == []


def test_a_student_that_diverges_is_told_with_its_step_and_the_remedy(tmp_path, paths):
    recipe = {**RECIPE, "learning_rate": 1e30, "optimiser": "sgd"}
    with pytest.raises(PointliftError, match=r"step \d .*lower the learning rate"):
        train(tmp_path / "out", paths, recipe=recipe)
    assert not (tmp_path / "out" / "weights.safetensors").exists()


def test_one_usable_shape_is_told_in_one_line(tmp_path):
    paths = write_pairs(tmp_path, shapes=1)
    with pytest.raises(PointliftError, match="at least 2 usable rows") as caught:
        train(tmp_path / "out", paths)
    assert "\n" not in str(caught.value)


def test_too_many_unusable_shapes_stop_it_before_anything_is_written(tmp_path):
    paths = write_pairs(tmp_path, unusable={"features": (2, 3)})
    with pytest.raises(ArtifactError, match="2 of 12 shapes are unusable"):
        train(tmp_path / "out", paths)
    assert not (tmp_path / "out").exists()
    train(tmp_path / "out", paths, max_quarantined=0.2)


def test_seeds_that_share_a_process_leave_what_each_leaves_alone(tmp_path, paths):
    seeds, folders = (4, 1), [tmp_path / "4", tmp_path / "1"]
    told = settings()
    del told["seed"]
    given = Namespace(
        settings=told,
        seeds=list(seeds),
        output=[folder / "weights.safetensors" for folder in folders],
        projector=[folder / "projector.safetensors" for folder in folders],
        threads=1,
        device="cpu",
        checkpoints=tmp_path / "unfinished",
        curves=None,
        code="",
        **{"manifest": None, "exclude": [], "init": None, "source": None, "tokens": [], **paths},
    )
    each_seed(train_student.main, "output", "projector", "init")(given)
    for seed, folder in zip(seeds, folders, strict=True):
        train(tmp_path / "alone" / str(seed), paths, seed=seed)
        for file in OUTPUTS:
            assert (folder / file).read_bytes() == (tmp_path / "alone" / str(seed) / file).read_bytes(), (seed, file)
    given.output = given.output[:1]
    with pytest.raises(ArtifactError, match="--output: 1 paths for 2 seeds"):
        each_seed(train_student.main, "output", "projector", "init")(given)
