"""What tests of semantic segmentation share: settings, small students, one training, and what was judged by name."""

import numpy as np
import torch

from pointlift import rooms
from pointlift.contracts.scenes import Scene
from pointlift.contracts.settings import parse
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.semantic_segmentation import Settings

RECIPE = {"epochs": 1, "batch_size": 2, "learning_rate": 0.01}


def settings(**changes):
    block = {"kind": "semantic_segmentation", "dataset": "d", "recipe": RECIPE, "num_points": 16, "head_widths": [8]}
    return parse(Settings, block | changes, "task")


def student(kind, **values):
    module = rooms.load("students", kind)
    return module.build(parse(module.Settings, {"kind": kind, **values}, "student"))


def pointnet():
    return student("pointnet", widths=[8, 8], input_transform=False, feature_transform=False)


def finetuned(task, net, scenes, folder, seed=0, arm="scratch", **said):
    torch.manual_seed(0)
    finetuning = Finetuning(task, net(), scenes, seed=seed)
    finetuning.run(FinetuneSettings(run="r", student={}, task={}, arm=arm, form="transfer", seed=seed, **said), folder)
    finetuning.save_predictions(folder / "predictions.safetensors")
    return finetuning


def values_of(judgement):
    return {(value.metric, value.selection): value.value for value in judgement.values}


def room(count=700, extent=(5.0, 3.0, 2.0), seed=0, num_classes=5):
    rng = np.random.default_rng(seed)
    points = (rng.random((count, 3)) * extent).astype(np.float32)
    return Scene("room", points, {"semantic_label": rng.integers(-1, num_classes, count).astype(np.int16)})
