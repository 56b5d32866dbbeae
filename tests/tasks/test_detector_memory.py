"""One training step at the size of rooms stays within the memory of a small machine; a process of its own says so.

Two rooms here, to be quick; they took 1.9 GiB and eight 5.1 GiB when this was written.
"""

import json
import subprocess
import sys

import pytest

STEP = """
import json, resource, sys
import torch
from pointlift.contracts.settings import parse
from pointlift.students import scene_transformer
from pointlift.tasks import detection
from pointlift.tasks.detector import Detector

torch.set_num_threads(1)
torch.manual_seed(0)
student = parse(scene_transformer.Settings, {"kind": "scene_transformer", "num_tokens": 1024}, "student")
recipe = {"epochs": 1, "batch_size": 2, "learning_rate": 0.001}
task = parse(detection.Settings, {"kind": "detection", "dataset": "rooms", "recipe": recipe}, "task")
model = Detector(scene_transformer.build(student), 18, task)
optimiser = torch.optim.AdamW(model.parameters())
points = torch.rand(2, task.num_points, 3) * torch.tensor([6.0, 5.0, 2.5])
boxes = torch.cat([torch.rand(2, 20, 3) * 2.5, torch.rand(2, 20, 3) + 0.2, torch.zeros(2, 20, 1)], dim=2)
values = model({"points": points, "boxes": boxes, "box_label": torch.randint(18, (2, 20))})
sum(value for name, value in values.items() if name.endswith("_loss")).backward()
optimiser.step()
whole = all(parameter.grad is not None for parameter in model.parameters())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
print(json.dumps({"points": task.num_points, "whole": whole, "gib": peak}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no peak memory of a process")
def test_a_step_with_twenty_thousand_points_and_a_thousand_tokens_fits_in_memory(repository):
    command = [sys.executable, "-c", STEP]
    done = subprocess.run(command, cwd=repository / "workflow_scripts", capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["points"] == 20000 and found["whole"]
    assert 0.5 < found["gib"] < 3.0
