"""Two processes under torchrun train to what one process trains to."""

import json
import os
import subprocess
import sys

import pytest
import torch

PROGRAM = """
import sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from pointlift.contracts.recipe import Augmentation, Recipe
from pointlift.training.data import TensorData
from pointlift.training.engine import fit

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
rng = np.random.default_rng(0)
data = TensorData({"points": rng.normal(size=(24, 5, 3)).astype("f4"), "label": rng.integers(0, 2, 24)})
recipe = Recipe(epochs=3, batch_size=8, learning_rate=0.1, optimiser="sgd", augmentation=Augmentation(rotation="any"))

def losses(batch):
    loss = nn.functional.cross_entropy(model(batch["points"].mean(1)), batch["label"])
    return {"task_loss": loss, "share": torch.tensor(float(len(batch["label"])))}

folder = Path(sys.argv[1])
fit(model, losses, data, recipe, seed=1, checkpoints=folder, history=folder / "history.jsonl", device="cpu")
torch.save(model.state_dict(), folder / "weights.pt")
"""


def launch(folder, *command):
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDA_VISIBLE_DEVICES": "",
    }
    found = subprocess.run(
        [sys.executable, *command, str(folder / "program.py"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return torch.load(folder / "weights.pt", weights_only=True), (folder / "history.jsonl").read_text()


def test_two_processes_train_as_one(tmp_path):
    one, alone = launch(tmp_path / "one")
    two, shared = launch(tmp_path / "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)
    lines = [[json.loads(line) for line in text.splitlines()] for text in (alone, shared)]
    for left, right in zip(*lines, strict=True):
        assert right["task_loss"] == pytest.approx(left["task_loss"], rel=1e-4)
        assert (left["share"], right["share"]) == (8.0, 4.0)
