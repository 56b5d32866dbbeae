"""Scenes come one by one from their shards, as they were written; what is not usable is not there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import read_manifest, write_manifest
from pointlift.contracts.recipe import Recipe
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.readers import READERS
from pointlift.tasks.scenes import Scenes, read_point_predictions, read_scenes
from pointlift.training.data import TensorData
from tasks import toy_scenes
from tasks.toy_scenes import BOX_NAMES, SEMANTIC_NAMES, scene, write_scenes

SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test"}


@pytest.fixture
def written(tmp_path):
    return write_scenes(tmp_path, SPLITS)


def test_every_scene_is_what_was_written(written):
    scenes = read_scenes(*written)
    assert scenes.ids == tuple(SPLITS) and scenes.split.tolist() == [0, 0, 1, 2, 2]
    assert (scenes.semantic_names, scenes.box_names) == (SEMANTIC_NAMES, BOX_NAMES)
    for row in (4, 0, 2, 1, 3):  # in any order
        found = scenes.load(row)
        points, label, boxes = scene(found.scene_id, 300)
        assert found.scene_id == scenes.ids[row]
        np.testing.assert_array_equal(found.points, points)
        np.testing.assert_array_equal(found.arrays["semantic_label"], label)
        np.testing.assert_array_equal(found.boxes, boxes)
        assert set(found.arrays) == {"semantic_label"} and len(found.box_label) == len(boxes)


def test_one_shard_is_held_and_each_is_read_once_by_who_sorts(written, monkeypatch):
    from pointlift.tasks import scenes as module

    read, original = [], module.read_stage
    monkeypatch.setattr(module, "read_stage", lambda path, kind: (read.append(path), original(path, kind))[1])
    scenes = read_scenes(*written)
    assert read == []
    rows = np.array([4, 2, 0, 1, 3])
    for row in rows[np.argsort(scenes.shard_of(rows), kind="stable")]:
        scenes.load(int(row))
    assert read == written[1]


def test_an_unusable_scene_is_left_out(tmp_path):
    scenes = read_scenes(*write_scenes(tmp_path, SPLITS, unusable=("b", "d")))
    assert scenes.ids == ("a", "c", "e")
    assert [len(scenes.load(row).points) for row in range(3)] == [300, 300, 300]


def test_no_test_scene_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match="no usable scene is in the test split"):
        read_scenes(*write_scenes(tmp_path, SPLITS, unusable=("d", "e")))


def test_a_scene_without_a_shard_is_an_error(written):
    manifest, paths = written
    with pytest.raises(ArtifactError, match="e has no row in the shards"):
        read_scenes(manifest, paths[:2])


def test_shards_that_name_other_classes_are_an_error(written, monkeypatch):
    manifest, paths = written
    monkeypatch.setattr(toy_scenes, "SEMANTIC_NAMES", ("wall", "floor", "chair"))
    write_scenes(_made(manifest.parent / "other"), SPLITS)
    with pytest.raises(ArtifactError, match="its classes are not those of"):
        read_scenes(manifest, [*paths[:2], manifest.parent / "other" / paths[2].name])


def test_the_checksum_hangs_on_scenes_and_their_content(tmp_path):
    one = read_scenes(*write_scenes(_made(tmp_path / "1"), SPLITS))
    same = read_scenes(*write_scenes(_made(tmp_path / "2"), SPLITS))
    other = read_scenes(*write_scenes(_made(tmp_path / "3"), SPLITS, num_points=301))
    rows = one.rows("train")
    assert one.checksum(rows) == same.checksum(rows) != other.checksum(rows)
    assert one.checksum(rows) != one.checksum(rows[:1])


class Heights:
    """A task as small as can be: is a point above the floor? Counted by class, as every task on scenes counts."""

    class settings:  # noqa: N801
        recipe = Recipe(epochs=2, batch_size=2, learning_rate=0.01)
        log_every = 1
        answers = "point_predictions"
        reads_scenes = True
        judged_splits = ("val", "test")
        looks_before = False

        @staticmethod
        def casts_votes():
            return False

    def model(self, student, scenes, method):
        return Model(student)

    def training_data(self, scenes, rows, seed):
        return TensorData({"points": np.stack([scenes.load(row).points for row in rows])})

    def look(self, model, scenes, rows):
        counts = np.stack([np.bincount(scenes.load(row).arrays["semantic_label"], minlength=3) for row in rows])
        return {"hits": counts.astype(np.int32), "answered": counts.astype(np.int32)}

    def constant_arrays(self, scenes, rows):
        return {"labelled": self.look(None, scenes, rows)["hits"]}

    def watched(self, looked, scenes, rows, chosen):
        return {"val_hits": float(looked["hits"][chosen].sum())}


class Model(nn.Module):
    def __init__(self, student):
        super().__init__()
        self.student, self.head = student, nn.Linear(3, 1)

    def forward(self, batch):
        return {"task_loss": (self.head(batch["points"])[..., 0] - batch["points"][..., 2]).square().mean()}


def test_a_task_on_scenes_is_finetuned_and_its_answers_are_read_again(written, tmp_path):
    scenes = read_scenes(*written)
    assert isinstance(scenes, Scenes)
    torch.manual_seed(0)
    finetuning = Finetuning(Heights(), nn.Identity(), scenes, seed=0)
    settings = FinetuneSettings(run="r", student={}, task={}, arm="scratch", form="transfer", seed=0)
    finetuning.run(settings, tmp_path)
    finetuning.save_predictions(tmp_path / "predictions.safetensors")
    found = read_point_predictions(written[0], tmp_path / "predictions.safetensors")
    assert READERS["point_predictions"] is read_point_predictions
    assert (found.ids, found.num_train, found.semantic_names) == (("c", "d", "e"), 2, SEMANTIC_NAMES)
    assert found.arrays["epoch"].tolist() == [0, 1] and found.arrays["hits"].shape == (2, 3, 3)
    assert found.rows("test").tolist() == [1, 2]
    rows = read_manifest(written[0])
    write_manifest(written[0], pd.DataFrame(rows.assign(split="train")))
    with pytest.raises(ArtifactError, match="splits are not those"):
        read_point_predictions(written[0], tmp_path / "predictions.safetensors")


def _made(folder):
    folder.mkdir()
    return folder
