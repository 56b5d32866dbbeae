"""The weights that stay are those of the best val epoch, also when the run was killed on the way."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import PointliftError
from pointlift.contracts.recipe import Recipe
from pointlift.teachers.best_epoch import train_and_select
from pointlift.training.data import TensorData

STEPS = 2


class Counter(nn.Module):
    """Its one weight goes down by learning rate 1 a step: it says how many steps were done."""

    def __init__(self, kill_at=None):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))
        self.kill_at, self.calls = kill_at, 0

    def forward(self, batch):
        self.calls += 1
        if self.calls == self.kill_at:
            raise KilledError
        return {"place_loss": self.place + 0.0 * batch["x"].sum()}


class KilledError(Exception):
    pass


def train(folder, seen, higher=True, kill_at=None):
    """Train for len(seen) epochs, the val split saying ``seen`` in turn; (epoch whose weights stayed, history)."""
    model = Counter(kill_at)

    def look():
        assert not model.training
        return {"val_value": seen[round(-model.place.item() / STEPS / 0.5) - 1]}

    recipe = Recipe(
        epochs=len(seen), batch_size=2, optimiser="sgd", momentum=0.0, learning_rate=0.5, final_learning_rate=0.5
    )
    data = TensorData({"x": np.zeros(2 * STEPS, np.float32)})
    options = {"seed": 0, "history": folder / "history.jsonl", "device": "cpu", "checkpoint_seconds": 0.0}
    train_and_select(
        model, data, recipe, look=look if seen[0] is not None else None, criterion="val_value", higher=higher, **options
    )
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return round(-model.place.item() / STEPS / 0.5) - 1, history


@pytest.mark.parametrize(
    "seen, higher, best",
    [
        ([0.1, 0.9, 0.3], True, 1),
        ([0.1, 0.9, 0.3], False, 0),
        ([0.5, 0.2, 0.2], False, 1),  # the first of equals
        ([0.0, 0.0, 0.0], True, 0),
        ([0.1, 0.2, 0.3], True, 2),
    ],
)
def test_the_best_epoch_stays(tmp_path, seen, higher, best):
    found, history = train(tmp_path, seen, higher)
    assert found == best
    assert [row["val_value"] for row in history] == seen


def test_without_a_val_split_the_last_epoch_stays_and_the_log_says_so(tmp_path, caplog):
    assert train(tmp_path, [None, None, None])[0] == 2
    assert "no usable shape in its val split: the weights are those of the last epoch" in caplog.text


@pytest.mark.parametrize("kill_at", [2, 4, 6])
def test_what_was_best_survives_a_kill(tmp_path, kill_at):
    with pytest.raises(KilledError):
        train(tmp_path, [0.9, 0.1, 0.2], kill_at=kill_at)
    assert train(tmp_path, [0.9, 0.1, 0.2])[0] == 0


def test_a_value_that_is_no_number_stops_the_run(tmp_path):
    with pytest.raises(PointliftError, match="val_value of epoch 1 is nan"):
        train(tmp_path, [0.1, float("nan"), 0.2])
