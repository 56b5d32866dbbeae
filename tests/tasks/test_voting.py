"""Test-time votes: what they are, that training does not notice them, and what is made of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import labelled_clouds
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.recipe import Augmentation
from pointlift.contracts.settings import mistakes, parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.tasks.classification import Settings, build
from pointlift.tasks.classifier import Classifier
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.shapes import read_clouds, read_predictions
from pointlift.tasks.voting import vote
from pointlift.training import engine

RECIPE = {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "augmentation": {"scale": [0.5, 1.5], "jitter": 0.02}}
TASK = {"kind": "classification", "dataset": "ellipsoids", "recipe": RECIPE, "head_width": 8, "log_every": 2}
VOTES = {"votes": 3, "crops": 2}


def task(**changes):
    return build(parse(Settings, TASK | changes, "task"))


def student():
    torch.manual_seed(0)
    member = rooms.load("students", "pointnet")
    return member.build(parse(member.Settings, labelled_clouds.STUDENT, "student"))


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    """Manifest and shapes."""
    dataset = labelled_clouds.write_dataset(tmp_path_factory.mktemp("clouds"))
    return dataset["manifest"][0], read_clouds(dataset["manifest"][0], dataset["points"])


def train(folder, shapes, own, seed=2, **compute):
    """Finetune; the folder then holds history, predictions and weights."""
    folder.mkdir(exist_ok=True)
    block = json.loads(own.settings.model_dump_json())
    words = {"run": "r", "student": {}, "task": block, "arm": "scratch", "form": "transfer", "seed": seed}
    finetuning = Finetuning(own, student(), shapes, seed)
    finetuning.run(parse(FinetuneSettings, words, "finetune"), folder, threads=1, device="cpu", **compute)
    finetuning.save_predictions(folder / "answers")
    save_file(finetuning.deployed().state_dict(), folder / "weights")
    return read_stage(folder / "answers", "predictions")


def test_a_vote_is_the_mean_over_crops_of_scores_under_draws_of_its_own(clouds):
    """By a slow formula: factors drawn here, one cloud at a time, in float64."""
    _, shapes = clouds
    points = shapes.values[:5]
    model = Classifier(student(), shapes.num_classes, task().settings).eval()
    found = vote(model, points, Augmentation(scale=(0.5, 1.5)), seed=7, votes=2, crops=3)
    for repetition in range(2):
        total = np.zeros((5, shapes.num_classes))
        for crop in range(3):
            generator = torch.Generator().manual_seed(stable_seed(7, repetition, crop, "vote"))
            factor = 0.5 + torch.rand((5, 1, 3), generator=generator).numpy()
            for row in range(5):
                with torch.no_grad():
                    seen = torch.from_numpy((points * factor)[row : row + 1])
                    total[row] += model.logits(seen)[0].numpy().astype(np.float64)
        np.testing.assert_allclose(found[repetition], total / 3, atol=1e-5)


def test_votes_move_no_bit_of_training_and_of_what_it_answers(clouds, tmp_path):
    _, shapes = clouds
    without, given = train(tmp_path / "a", shapes, task()), train(tmp_path / "b", shapes, task(**VOTES))
    assert set(given.arrays) == {*without.arrays, "vote_logits"}
    for name, array in without.arrays.items():
        assert array.tobytes() == given[name].tobytes(), name
    assert (tmp_path / "a/history.jsonl").read_bytes() == (tmp_path / "b/history.jsonl").read_bytes()
    assert (tmp_path / "a/weights").read_bytes() == (tmp_path / "b/weights").read_bytes()
    assert given["epoch"].tolist() == [1, 2]


def test_votes_are_of_the_last_weights_on_the_test_shapes(clouds, tmp_path):
    _, shapes = clouds
    own, test = task(**VOTES), shapes.rows("test")
    scores = train(tmp_path / "a", shapes, own)["vote_logits"]
    assert scores.shape == (3, len(test), shapes.num_classes)
    assert len({one.tobytes() for one in scores}) == 3
    model = Classifier(student(), shapes.num_classes, own.settings).eval()
    state = load_file(tmp_path / "a/weights")
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    again = vote(model, shapes.values[test], own.settings.recipe.augmentation, seed=2, votes=3, crops=2)
    np.testing.assert_array_equal(scores, again)
    assert not np.array_equal(scores, train(tmp_path / "b", shapes, own, seed=3)["vote_logits"])


class Killed(BaseException):
    """As a signal that ends a process."""


def test_killed_while_voting_it_goes_on_to_the_same_bytes(clouds, tmp_path, monkeypatch):
    _, shapes = clouds
    train(tmp_path / "whole", shapes, task(**VOTES))
    options = {"checkpoints": tmp_path / "state", "checkpoint_seconds": 0.0}
    real, steps = engine._Training._step, []

    def killed(self, *rest):
        raise Killed

    def counted(self, batch, step):
        steps.append(step)
        real(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr("pointlift.tasks.classification.Classification.vote", killed)
        with pytest.raises(Killed):
            train(tmp_path / "killed", shapes, task(**VOTES), **options)
    assert not (tmp_path / "killed/answers").exists()
    monkeypatch.setattr(engine._Training, "_step", counted)
    train(tmp_path / "killed", shapes, task(**VOTES), **options)
    assert steps == []  # all were done
    for name in ("answers", "history.jsonl", "weights"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_told_of_votes_and_that_no_result_reads_them(clouds, tmp_path):
    manifest, shapes = clouds
    own = task(**VOTES)
    train(tmp_path, shapes, own)
    given = read_predictions(manifest, tmp_path / "answers")
    label = given.label[given.rows("test")]
    scores = np.zeros((3, len(label), shapes.num_classes), np.float32)
    scores[0, np.arange(len(label)), label] = 1.0  # all right
    scores[1, np.arange(len(label)), (label + 1) % shapes.num_classes] = 1.0  # none
    scores[2, :, 0] = 1.0
    found, without = own.evaluate(replace(given, vote_logits=scores)), own.evaluate(replace(given, vote_logits=None))
    assert found.audit.votes == {"accuracy": (1.0, 0.0, float((label == 0).mean()))}
    assert without.audit.votes == {}
    assert replace(found, audit=without.audit) == without
    assert {value.selection for value in found.values} == {"last", "val"}


def test_votes_on_other_shapes_are_told(clouds, tmp_path):
    manifest, shapes = clouds
    shard = train(tmp_path, shapes, task(**VOTES))
    arrays = {**shard.arrays, "vote_logits": shard["vote_logits"][:, :-1]}
    write_stage(tmp_path / "less", "predictions", shard.ids, arrays, **shard.attributes)
    with pytest.raises(ArtifactError, match=r"less: votes on \d+ of \d+ test shapes; make them anew"):
        read_predictions(manifest, tmp_path / "less")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"votes": 2, "recipe": {**RECIPE, "augmentation": {}}},
            "without random augmentation .* give recipe.augmentat",
        ),
        ({"votes": 2, "recipe": {**RECIPE, "augmentation": {"scale": [1.2, 1.2]}}}, "are all the same"),
        ({"votes": 2, "protocol": "pointmcd_authors"}, "leave them out beside pointmcd_authors"),
        ({"crops": 3}, r"give votes \(1 to 1000\), or leave crops out"),
        ({"votes": -1}, "greater than or equal to 0"),
        ({"votes": 2, "crops": 0}, "greater than or equal to 1"),
    ],
)
def test_votes_that_tell_nothing_are_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        task(**wrong)


@pytest.mark.parametrize("kind", ["part_segmentation", "neural_collapse", "finetuned_few_shot", "detection"])
def test_other_tasks_know_no_votes(kind):
    block = {"kind": kind, "dataset": "toy", "recipe": {**RECIPE, "augmentation": {}}, "votes": 3}
    assert any("votes: unknown key" in one for one in mistakes(rooms.settings_class("tasks", kind), block, "task"))
