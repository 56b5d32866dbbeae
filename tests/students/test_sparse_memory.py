"""An inflated ResNet-18 learns on a small machine: a step of eight shapes in a process of its own says so.

It took 1.1 GiB when this was written.
"""

import json
import subprocess
import sys

import pytest

STEP = """
import json, resource, sys
import torch, torchvision
from torch import nn
from torch.nn import functional
from pointlift.contracts.settings import parse
from pointlift.operators.inflation import Inflation
from pointlift.students import sparse_resnet

torch.set_num_threads(1)
torch.manual_seed(0)
block = {"kind": "sparse_resnet", "architecture": "resnet18"}
student = sparse_resnet.build(parse(sparse_resnet.Settings, block, "student"))
flat = torchvision.models.resnet18(weights=None).state_dict()
student.load_image_stages(flat, Inflation("z", "none", "mean"))
model = nn.ModuleDict({"student": student, "head": nn.Linear(student.width, 40)})
optimiser = torch.optim.SGD(model.parameters(), 0.1)
points = functional.normalize(torch.randn(8, 1024, 3), dim=2) * torch.tensor([1.0, 0.8, 0.6])
loss = functional.cross_entropy(model["head"](student(points).embedding), torch.arange(8))
loss.backward()
optimiser.step()
whole = all(parameter.grad is not None for parameter in model.parameters())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
parameters = sum(parameter.numel() for parameter in model.parameters())
print(json.dumps({"whole": whole, "gib": peak, "millions": parameters / 1e6, "loss": loss.item()}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no peak memory of a process")
def test_an_inflated_resnet18_takes_a_step_of_eight_shapes(repository):
    command = [sys.executable, "-c", STEP]
    done = subprocess.run(command, cwd=repository / "workflow_scripts", capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["whole"] and found["loss"] > 0.0 and round(found["millions"], 1) == 34.4
    assert 0.5 < found["gib"] < 4.0
