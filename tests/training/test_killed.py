"""A training that is killed for real (SIGKILL) goes on, in a new process, to the bytes of one that was left alone."""

import os
import signal
import subprocess
import sys

PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np, torch
from torch import nn
from safetensors.torch import save_file
from pointlift.contracts.recipe import Augmentation, Recipe
from pointlift.training.data import TensorData
from pointlift.training.engine import fit

folder, stop_at = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
rng = np.random.default_rng(0)
data = TensorData({"points": rng.normal(size=(24, 5, 3)).astype("f4"), "label": rng.integers(0, 2, 24)})
recipe = Recipe(epochs=4, batch_size=4, learning_rate=0.1, augmentation=Augmentation(scale=(0.8, 1.2), jitter=0.01))
calls, kept = 0, {}

def losses(batch):
    global calls
    if calls == stop_at:
        print("stopped", flush=True)
        time.sleep(600)
    calls += 1
    return {"task_loss": nn.functional.cross_entropy(model(batch["points"].mean(1)), batch["label"])}

def at_end(epoch):
    kept[str(epoch)] = model[0].weight.detach().clone()
    return {"size": float(model[0].weight.abs().sum())}

fit(model, losses, data, recipe, seed=1, history=folder / "history.jsonl", checkpoints=folder / "checkpoints",
    device="cpu", kept=kept, on_epoch_end=at_end, checkpoint_seconds=0.0)
save_file({**model.state_dict(), **kept}, folder / "weights.safetensors")
print(calls, flush=True)
"""


def start(folder, stop_at=-1):
    """The program in a process of its own; ``stop_at``: the step before which it waits to be killed."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", PROGRAM, str(folder), str(stop_at)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def finish(process) -> int:
    """Steps that a process did on its own."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return int(said)


def test_kill_9_in_the_middle_of_an_epoch_changes_no_byte(tmp_path):
    whole, killed = start(tmp_path / "whole"), start(tmp_path / "killed", stop_at=9)  # step 3 of the second epoch
    with killed:
        assert killed.stdout.readline() == "stopped\n"
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    checkpoints = tmp_path / "killed" / "checkpoints"
    assert (checkpoints / "state.pt").is_file()
    (checkpoints / ".state.pt.abc.part").write_bytes(b"a kill in the middle of writing leaves this")
    with whole, start(tmp_path / "killed") as again:
        assert (finish(whole), finish(again)) == (24, 15)
    for file in ("weights.safetensors", "history.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert not checkpoints.exists()
