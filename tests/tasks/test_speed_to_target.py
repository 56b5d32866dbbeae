"""Steps until val is answered well enough: the first whole window, the weights of that moment, or plainly nothing."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import labelled_clouds
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import mistakes, parse
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.shapes import Predictions, read_clouds, read_predictions
from pointlift.tasks.speed_to_target import Settings, build, first_reached, trailing_means

BLOCK = {
    "kind": "speed_to_target",
    "dataset": "ellipsoids",
    "target": 0.75,
    "window": 2,
    "recipe": {"epochs": 8, "batch_size": 8, "learning_rate": 0.01},
    "head_width": 16,
}


def task(**changes):
    return build(parse(Settings, BLOCK | changes, "task"))


def seen(on_val, on_test=None, num_train=23, num_val=4):
    """So many of four val items (and of four test ones) are answered right at each epoch."""
    logits = np.zeros((len(on_val), 2 * num_val, 2), np.float32)
    logits[..., 1] = 0.5
    for epoch, (val, test) in enumerate(zip(on_val, on_test or [0] * len(on_val), strict=True)):
        logits[epoch, :val, 0] = 1.0
        logits[epoch, num_val : num_val + test, 0] = 1.0
    split = np.repeat([1, 2], num_val).astype(np.uint8)
    ids = tuple("abcdefgh"[: 2 * num_val])
    return Predictions(ids, np.arange(len(logits)), logits, np.zeros(2 * num_val, int), split, num_train)


def values(judgement):
    return {(value.metric, value.selection): value.value for value in judgement.values}


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_smoothing_is_a_running_mean_that_starts_with_its_first_whole_window(window):
    curve = np.random.default_rng(window).random(7).tolist()
    found = trailing_means(curve, window)
    assert list(found) == list(range(window, 8))
    np.testing.assert_allclose(list(found.values()), np.convolve(curve, np.full(window, 1 / window), "valid"))


@pytest.mark.parametrize(
    ("curve", "window", "target", "at"),
    [
        ([0.1, 0.5, 0.9, 0.9], 1, 0.5, 2),
        ([0.1, 0.5, 0.9, 0.9], 1, 0.51, 3),
        ([0.9, 0.1, 0.1, 0.9, 0.8, 0.9], 3, 0.85, 6),  # one lucky epoch reaches nothing
        ([1.0, 1.0, 0.0, 0.0], 2, 0.9, 2),  # reached is reached, whatever comes after
        ([0.1, 0.2, 0.3], 2, 0.26, None),
        ([0.7, 0.7, 0.7], 3, 0.7, 3),  # their sum / 3 is a little less than .7
    ],
)
def test_the_first_crossing_of_curves_by_hand(curve, window, target, at):
    assert first_reached(trailing_means(curve, window), target) == at


def test_the_moment_and_what_test_says_then():
    found = task().evaluate(seen(on_val=[2, 4, 2, 3, 4, 0], on_test=[4, 4, 1, 2, 3, 4]))
    assert values(found) == {
        ("reached", "last"): 1.0,
        ("epochs_to_target", "last"): 2.0,  # (2 + 4) / 8
        ("steps_to_target", "last"): 4.0,  # 23 rows in batches of 8: two whole ones
        ("accuracy_at_target", "val"): 1.0,
    }
    assert found.items["val_accuracy_by_epoch"] == ("2", "3", "4", "5", "6")
    assert found.outcomes["val_accuracy_by_epoch"] == (0.75, 0.75, 0.625, 0.875, 0.5)
    late = values(task(target=0.8).evaluate(seen(on_val=[2, 4, 2, 3, 4, 0], on_test=[4, 4, 1, 2, 3, 4])))
    assert (late["epochs_to_target", "last"], late["accuracy_at_target", "val"]) == (5.0, 0.75)


def test_what_is_not_reached_has_no_number():
    """However well the test split is answered: only val is asked."""
    found = task().evaluate(seen(on_val=[0, 4, 0, 2], on_test=[4, 4, 4, 4]))
    assert values(found) == {("reached", "last"): 0.0}


def test_without_val_there_is_no_target():
    whole = seen(on_val=[4, 4])
    kept = whole.split == 2
    ids = tuple(np.array(whole.ids)[kept])
    alone = Predictions(ids, whole.epoch, whole.logits[:, kept], whole.label[kept], whole.split[kept], 23)
    with pytest.raises(ConfigError, match=r"speed_to_target: the dataset has no val split.*leave this task out"):
        task().evaluate(alone)


def test_predictions_of_some_epochs_are_told():
    whole = seen(on_val=[4, 4])
    some = Predictions(whole.ids, np.array([1, 3]), whole.logits, whole.label, whole.split, 23)
    with pytest.raises(ArtifactError, match="not of every epoch"):
        task().evaluate(some)


def test_settings_say_what_cannot_be():
    assert mistakes(Settings, BLOCK | {"log_every": 2}, "t") == [
        "t.log_every: 2 is not allowed: Input should be less than or equal to 1"
    ]
    assert "window 9 is longer than the recipe's 8 epochs" in mistakes(Settings, BLOCK | {"window": 9}, "t")[0]
    assert mistakes(Settings, {k: v for k, v in BLOCK.items() if k != "target"}, "t") == [
        "t.target: missing; it has no default"
    ]
    assert parse(Settings, BLOCK, "t").protocol_words() == ("target75",)
    assert parse(Settings, BLOCK | {"target": 0.625}, "t").protocol_words() == ("target62.5",)


@pytest.fixture
def shapes(tmp_path):
    dataset = labelled_clouds.write_dataset(tmp_path)
    return dataset["manifest"][0], read_clouds(dataset["manifest"][0], dataset["points"])


def student():
    torch.manual_seed(0)
    member = rooms.load("students", "pointnet")
    return member.build(parse(member.Settings, labelled_clouds.STUDENT, "student"))


def test_a_trained_student_and_its_steps(tmp_path, shapes):
    """Steps are those of the history at the epoch that is named, and the smoothed curve is that of its val accuracy."""
    manifest, clouds = shapes
    own = task(target=0.6, recipe={"epochs": 25, "batch_size": 8, "learning_rate": 0.01})
    words = {"run": "r", "student": {}, "task": {}, "arm": "scratch", "form": "transfer", "seed": 2}
    finetuning = Finetuning(own, student(), clouds, 2)
    finetuning.run(parse(FinetuneSettings, words, "finetune"), tmp_path, threads=1, device="cpu")
    finetuning.save_predictions(tmp_path / "answers.safetensors")
    found = own.evaluate(read_predictions(manifest, tmp_path / "answers.safetensors"))
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    curve = [line["val_accuracy"] for line in history]
    means = [(before + after) / 2 for before, after in itertools.pairwise(curve)]
    np.testing.assert_allclose(found.outcomes["val_accuracy_by_epoch"], means)
    epoch = next(number for number, mean in enumerate(means, start=2) if mean >= 0.6)
    assert values(found)["epochs_to_target", "last"] == epoch
    assert values(found)["steps_to_target", "last"] == history[epoch - 1]["step"]


def test_a_dataset_without_val_is_told_before_training(shapes):
    _, clouds = shapes
    without = replace(clouds, split=np.where(clouds.split == 1, 0, clouds.split).astype(np.uint8))
    with pytest.raises(ConfigError, match="has no val split"):
        Finetuning(task(), student(), without, 0)
