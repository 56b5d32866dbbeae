"""One training step of a student with a head under a regime, for tests of what it may change."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.image_weights import Regime
from pointlift.operators.image_stages import ImageStages, stage_groups
from pointlift.operators.regimes import TensorGroups, changed, freeze, set_training, tensor_hashes

REGIMES = ("io", "ioms", "io_bn", "all")


def train_one_step(
    student: ImageStages, points_BN3: Tensor, regime: Regime
) -> tuple[nn.Module, TensorGroups, set[str]]:
    """Student and head as one module, its groups, and the names of the tensors that the step changed."""
    model = nn.ModuleDict({"student": student, "head": nn.Linear(student.width, len(points_BN3))})
    model.to(next(student.parameters()).dtype)
    groups = stage_groups(model, student)
    freeze(model, groups, regime)
    set_training(model, groups, regime)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = tensor_hashes(model.state_dict())
    logits = model["head"](student(points_BN3).embedding)
    functional.cross_entropy(logits, torch.arange(len(points_BN3))).backward()
    optimiser.step()
    return model, groups, set(changed(before, tensor_hashes(model.state_dict())))
