"""Finetuning on small sets: the same sets for all, the same start for each, killed and gone on to the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.episodes import read_committed
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage
from pointlift.operators.student_output import StudentOutput
from pointlift.students import sparse_resnet
from pointlift.tasks import (
    data_efficiency,
    few_shot,
    finetuned_data_efficiency,
    finetuned_few_shot,
    semi_supervised,
    subset_finetuning,
)
from pointlift.tasks.finetuning import FinetuneSettings
from pointlift.tasks.partial_training import PartialTraining
from pointlift.tasks.shapes import Shapes, SubsetPredictions
from pointlift.training import engine
from tasks.toy_shapes import toy_clouds

RECIPE = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}


class Mean(nn.Module):
    """A student: one linear layer over the mean of a cloud, and a batch norm."""

    width = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm = nn.Linear(3, 6), nn.BatchNorm1d(6)

    def forward(self, points_BN3):
        embedding = self.norm(self.layer(points_BN3.mean(1)))
        index = torch.zeros(len(points_BN3), 1, dtype=torch.long)
        return StudentOutput(embedding, embedding[:, None], points_BN3[:, :1], index, {})


def task(member=finetuned_few_shot, **changes):
    kind = member.__name__.rpartition(".")[2]
    block = {"kind": kind, "dataset": "toy", "recipe": RECIPE, "draws": 2, "head": "linear"}
    return member.build(parse(member.Settings, block | {"shots": [1, 5]} | changes if member is finetuned_few_shot
                              else block | changes, "task"))  # fmt: skip


def settings_of(one, seed=0, **changes) -> FinetuneSettings:
    block = {"run": "r", "student": {}, "task": json.loads(one.settings.model_dump_json()), "arm": "scratch"}
    return parse(FinetuneSettings, {**block, "form": "transfer", "seed": seed, **changes}, "settings")


def run(folder, one, shapes, seed=0, student=None, **compute):
    """Train; the folder then holds history and predictions."""
    folder.mkdir(exist_ok=True)
    finetuning = one.finetuning(student or Mean(), shapes, seed)
    finetuning.run(settings_of(one, seed), folder, device="cpu", **compute)
    finetuning.save_predictions(folder / "predictions.safetensors")
    return finetuning


def sets(one, shapes):
    return {(s.size, s.draw): sorted(shapes.ids[row] for row in s.rows) for s in one.subsets(shapes)}


def test_shots_are_exact_nested_and_those_of_the_frozen_task():
    shapes, one = toy_clouds((12, 14, 16)), task(shots=[1, 5, 10])
    frozen = few_shot.build(parse(few_shot.Settings, {"kind": "few_shot", "dataset": "toy"}, "task"))
    found = sets(one, shapes)
    assert list(found) == [(1, 0), (1, 1), (5, 0), (5, 1), (10, 0), (10, 1)]
    for draw in range(2):
        assert set(found[1, draw]) < set(found[5, draw]) < set(found[10, draw])
        for shots in (1, 5, 10):
            assert [sum(name.startswith(f"class{c}-") for name in found[shots, draw]) for c in range(3)] == [shots] * 3
            assert found[shots, draw] == sorted(shapes.ids[row] for row in frozen.draw(shapes, shots, draw))
    assert found[5, 0] != found[5, 1]


def test_shares_are_those_of_the_frozen_task_and_have_every_class():
    shapes, one = toy_clouds((40, 8, 13)), task(finetuned_data_efficiency)
    frozen = data_efficiency.build(parse(data_efficiency.Settings, {"kind": "data_efficiency", "dataset": "t"}, "task"))
    for (share, draw), names in sets(one, shapes).items():
        assert names == sorted(shapes.ids[row] for row in frozen.draw(shapes, share, draw))
        assert {name[:6] for name in names} == {"class0", "class1", "class2"}


def test_draws_of_a_committed_file_are_its_folds():
    """Image2Point's shots of ModelNet40: the first 1, 5 and 10 of every class in each fold."""
    episodes = read_committed("mn40/1-5-10shot")
    names = sorted(episodes.folds[0])
    support = {one: sorted({i for fold in episodes.folds for i in fold[one].support}) for one in names}
    train = [(shape_id, label) for label, one in enumerate(names) for shape_id in support[one]]
    listed = [*train, *((f"{one}_asked", label) for label, one in enumerate(names))]
    ids, label = zip(*listed, strict=True)
    split = np.repeat([0, 2], [len(train), len(names)]).astype(np.uint8)
    shapes = Shapes(ids, np.zeros((len(ids), 2, 3), np.float32), np.array(label), split, len(names))
    one = task(shots=[1, 10], episodes="mn40/1-5-10shot", draws=3)
    found = sets(one, shapes)
    assert list(found) == [(shots, draw) for shots in (1, 10) for draw in range(3)]
    for (shots, draw), chosen in found.items():
        assert chosen == sorted(i for way in episodes.folds[draw].values() for i in way.support[: int(shots)])
    assert [metric for metric, _, _ in one.measured()] == ["accuracy_mn40_1_shot", "accuracy_mn40_10_shot"]
    assert one.settings.files_used() == ("episodes/mn40/1-5-10shot.json",)
    assert task().settings.files_used() == ()


def test_values_are_means_and_spreads_over_draws_by_hand():
    label = np.array([0, 1, 1, 0])
    answers = [[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]  # right: 4, 2, 3, 2
    logits = np.eye(2, dtype=np.float32)[np.array(answers)]
    size, draw = np.array([5.0, 1.0, 5.0, 1.0]), np.array([1, 0, 0, 1])
    given = SubsetPredictions(tuple("abcd"), size, draw, np.zeros(4, np.uint8), logits, label, 10)
    found = task().evaluate(given)
    assert [(v.metric, v.selection) for v in found.values] == [
        (f"accuracy_{k}_shot{w}", "last") for k in (1, 5) for w in ("", "_sd")
    ]
    assert [v.value for v in found.values] == pytest.approx([0.5, 0.0, 0.875, 0.125 * 2**0.5])
    assert found.outcomes == {"accuracy_1_shot": (1.0, 0.0, 0.5, 0.5), "accuracy_5_shot": (1.0, 1.0, 1.0, 0.5)}
    with pytest.raises(ArtifactError, match="no student was finetuned on sets of size 3"):
        task(shots=[3]).evaluate(given)
    with pytest.raises(ArtifactError, match="2 draws were trained, not 3"):
        task(draws=3).evaluate(given)


PROGRAM = """
import os, sys, json
import torch, numpy as np
from tasks.test_subset_finetuning import task, sets
from tasks.toy_shapes import toy_clouds
torch.manual_seed(int(os.environ["RANK"])); np.random.seed(int(os.environ["RANK"]))
print(json.dumps(sorted(map(str, sets(task(), toy_clouds((12, 14, 16))).items()))))
"""


def test_sets_are_the_same_in_every_process_whatever_its_rank_and_seeds():
    """In the code of Image2Point each process draws its own (spec: a leak of up to k times as many shots)."""
    told = set()
    for rank in ("0", "3"):
        words = {"RANK": rank, "WORLD_SIZE": "4", "LOCAL_RANK": rank, "PYTHONHASHSEED": rank, "OMP_NUM_THREADS": "1"}
        environment = os.environ | words | {"PYTHONPATH": os.pathsep.join(sys.path)}
        told.add(
            subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True).stdout
        )
    assert told == {(json.dumps(sorted(map(str, sets(task(), toy_clouds((12, 14, 16))).items()))) + "\n").encode()}


def test_sets_hang_on_ids_alone():
    one, other = toy_clouds((12, 14, 16)), toy_clouds((12, 14, 16), seed=5)
    order = np.random.default_rng(0).permutation(len(one.ids))
    mixed = Shapes(tuple(one.ids[r] for r in order), one.values[order], one.label[order], one.split[order], 3)
    assert sets(task(), one) == sets(task(), other) == sets(task(), mixed)


def watch(monkeypatch):
    """What the engine is given, training by training: first weights, labels, steps of an epoch and a batch's rows."""
    seen = []

    def spied(model, losses, data, recipe, **options):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        rows = [
            batch["index"].tolist() for e in range(recipe.epochs) for batch in data.batches(e, recipe.batch_size, 0)
        ]
        seen.append((state, rows, len(data)))
        engine.fit(model, losses, data, recipe, **options)

    monkeypatch.setattr("pointlift.tasks.finetuning.fit", spied)
    return seen


@pytest.mark.parametrize("steps", ["equal", "epochs"])
def test_every_training_starts_from_the_same_weights_and_has_its_steps(tmp_path, monkeypatch, steps):
    shapes, seen = toy_clouds((12, 14, 16)), watch(monkeypatch)
    run(tmp_path / "a", task(steps=steps), shapes)
    assert [size for _, _, size in seen] == [3, 3, 15, 15]
    for state, _, _ in seen[1:]:
        assert all(torch.equal(value, seen[0][0][name]) for name, value in state.items())
    counts = [len(rows) for _, rows, _ in seen]
    assert counts == [2, 2, 2, 2]  # 15 rows give one whole batch of 8
    seen.clear()
    run(tmp_path / "b", task(steps=steps, shots=[1, 5, 10]), shapes)
    assert [len(rows) for _, rows, _ in seen] == ([6] * 6 if steps == "equal" else [2, 2, 2, 2, 6, 6])


def test_the_same_rows_are_trained_on_once_and_reported_each_time(tmp_path, monkeypatch):
    shapes, seen = toy_clouds((10, 10)), watch(monkeypatch)
    one = task(finetuned_data_efficiency, shares=[0.01, 0.1, 1.0])
    run(tmp_path / "a", one, shapes)
    assert [size for _, _, size in seen] == [2, 2, 20]  # one of each class for 1 and 10 %; 100 % is one set
    stored = read_stage(tmp_path / "a/predictions.safetensors", "subset_predictions")
    assert stored["size"].tolist() == [0.01, 0.01, 0.1, 0.1, 1.0, 1.0] and stored["draw"].tolist() == [0, 1] * 3
    assert np.array_equal(stored["logits"][:2], stored["logits"][2:4])
    assert np.array_equal(stored["logits"][4], stored["logits"][5])
    assert not np.array_equal(stored["logits"][0], stored["logits"][1])


def test_answers_are_those_of_one_training_by_itself(tmp_path):
    """On the whole train split, what the task classification would be given is what comes out."""
    from pointlift.tasks import classification
    from pointlift.tasks.finetuning import Finetuning

    shapes = toy_clouds((9, 9))
    run(tmp_path / "a", task(finetuned_data_efficiency, shares=[0.1, 1.0]), shapes)
    block = {"kind": "classification", "dataset": "toy", "recipe": RECIPE, "head": "linear"}
    plain = classification.build(parse(classification.Settings, block, "task"))
    whole = Finetuning(plain, Mean(), shapes, 0)
    whole.run(settings_of(plain), tmp_path, device="cpu")
    test = shapes.split[whole.judged] == 2
    stored = read_stage(tmp_path / "a/predictions.safetensors", "subset_predictions")
    np.testing.assert_array_equal(stored["logits"][-1], whole.kept["1.logits"].numpy()[test])
    assert stored.ids == tuple(shapes.ids[row] for row in shapes.rows("test"))


def test_a_regime_holds_in_every_training_and_statistics_are_estimated_on_its_own_set(tmp_path, monkeypatch):
    block = {"kind": "sparse_resnet", "architecture": "resnet8", "voxel_size": 0.5}
    student = sparse_resnet.build(parse(sparse_resnet.Settings, block, "student"))
    shapes, seen = toy_clouds((12, 14), points=12), []
    real = PartialTraining.recalibrate

    def spied(self, batches):
        known = list(batches)
        seen.append(sum(len(batch["index"]) for batch in known))
        real(self, iter(known))

    monkeypatch.setattr(PartialTraining, "recalibrate", spied)
    one = task(shots=[1, 5], head="linear_norm")
    for regime, arm, wanted in (("io", "io", [2, 2, 8, 8]), ("io_bn", "io_bn", [2, 2, 8, 8])):
        seen.clear()
        finetuning = one.finetuning(student, shapes, 0)
        settings = settings_of(one, arm=arm, regime=regime, recalibrate=True)
        before = {name: value.clone() for name, value in student.state_dict().items()}
        finetuning.run(settings, tmp_path, device="cpu")
        assert seen == wanted  # of 10 rows one whole batch of 8
        after = finetuning.deployed().state_dict()
        assert all(torch.equal(value, student.state_dict()[name]) for name, value in before.items())
        kept = [name for name in before if name.startswith("layer") and name.endswith(("conv1.weight", "conv2.weight"))]
        assert len(kept) > 3 and all(torch.equal(after[f"student.{name}"], before[name]) for name in kept)
        assert not torch.equal(after["student.layer1.0.bn1.running_mean"], before["layer1.0.bn1.running_mean"])


def test_history_is_by_size_and_mean_over_draws(tmp_path):
    run(tmp_path / "a", task(), toy_clouds((12, 14, 16)))
    lines = [json.loads(line) for line in (tmp_path / "a/history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert set(lines[0]) == {"epoch", *(f"{n}_{s}_shot" for n in ("task_loss", "train_accuracy") for s in (1, 5))}
    assert not (tmp_path / "a/checkpoints").exists()


class Killed(BaseException):
    """As a signal that ends a process."""


@pytest.mark.parametrize("stop_at", [0, 3, 7, 9])
def test_killed_anywhere_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch, stop_at):
    """12 steps in all, 2 in each of 6 trainings: what was done is not done again."""
    shapes, one, steps = toy_clouds((12, 14, 16)), task(shots=[1, 5], draws=3), []
    real = engine._Training._step

    def counted(self, batch, step):
        if len(steps) == stop_at:
            raise Killed
        steps.append(step)
        real(self, batch, step)

    whole = run(tmp_path / "whole", one, shapes)
    options = {"checkpoints": tmp_path / "state", "checkpoint_seconds": 0.0}
    monkeypatch.setattr(engine._Training, "_step", counted)
    with pytest.raises(Killed):
        run(tmp_path / "killed", one, shapes, **options)
    assert not (tmp_path / "killed/predictions.safetensors").exists()
    assert len(steps) == stop_at
    stop_at = -1
    again = run(tmp_path / "killed", one, shapes, **options)
    assert len(steps) == 12
    for name in ("history.jsonl", "predictions.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for name, value in whole.deployed().state_dict().items():
        assert torch.equal(value, again.deployed().state_dict()[name]), name
    assert not (tmp_path / "state").exists()


def test_what_larger_settings_left_is_forgotten_too(tmp_path, monkeypatch):
    """Killed in the last of six sets; then four are asked for: the state of the sixth is of nobody any more."""
    shapes, steps, real = toy_clouds((12, 14, 16)), [], engine._Training._step

    def counted(self, batch, step):
        if len(steps) == 11:
            raise Killed
        steps.append(step)
        real(self, batch, step)

    def due(self):  # a state after every step
        return True

    monkeypatch.setattr("pointlift.training.checkpoint.Checkpoint.due", due)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(engine._Training, "_step", counted)
        run(tmp_path / "a", task(draws=3), shapes, checkpoints=tmp_path / "state")
    assert (tmp_path / "state/005/0/training/state.pt").is_file()
    run(tmp_path / "a", task(draws=2), shapes, checkpoints=tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("member", [finetuned_few_shot, finetuned_data_efficiency, semi_supervised])
def test_training_shapes_of_one_class_alone_are_told(member):
    shapes = toy_clouds((12, 12))
    alone = replace(shapes, split=np.where(shapes.label == 0, shapes.split, 2).astype(np.uint8))
    with pytest.raises(ArtifactError, match=f"{member.__name__.rpartition('.')[2]}: .* at least 2 classes"):
        task(member).subsets(alone)


def test_what_other_settings_left_is_not_taken(tmp_path, monkeypatch):
    shapes, one = toy_clouds((12, 14, 16)), task()
    monkeypatch.setattr(subset_finetuning, "_forget", lambda place: None)
    run(tmp_path / "a", one, shapes, checkpoints=tmp_path / "state")
    assert len(list((tmp_path / "state").glob("*"))) == 4
    seen = watch(monkeypatch)
    run(tmp_path / "b", one, shapes, checkpoints=tmp_path / "state")
    assert seen == []
    moved = Mean()
    with torch.no_grad():
        moved.layer.weight.add_(1.0)
    for other in ({"seed": 1}, {"code": "other"}, {"student": moved}):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "state", tmp_path / "copy")
        seen.clear()
        run(tmp_path / "c", one, shapes, checkpoints=tmp_path / "copy", **other)
        assert len(seen) == 4


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"shots": [5, 1]}, "rising"),
        ({"shots": []}, "at least 1"),
        ({"episodes": "mn40/5w10s"}, "no episodes 'mn40/5w10s' of all classes; there are: mn40/1-5-10shot"),
        ({"episodes": "mn40/1-5-10shot", "shots": [1, 3]}, "have shots 1, 5, 10 and 10 draws"),
        ({"episodes": "mn40/1-5-10shot", "draws": 11}, "have shots 1, 5, 10 and 10 draws"),
        ({"log_every": 3}, "looked at when its training ends"),
        ({"protocol": "pointmcd_authors"}, "knows none"),
    ],
)
def test_what_cannot_be_meant_is_told(wrong, told):
    with pytest.raises(ConfigError, match=told):
        task(**wrong)
