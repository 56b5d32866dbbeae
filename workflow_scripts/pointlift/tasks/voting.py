"""Test-time voting: a trained classifier asked again and again about augmented clouds. For the inflation ladder alone.

The habit of Point-MAE and ReCon is hundreds of such repetitions of ten crops each, of which the best on test is told.
Their crops are also random choices from more points; ours are whole clouds under the recipe's augmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.recipe import Augmentation
from pointlift.contracts.shards import Array
from pointlift.training.augmentation import augment

if TYPE_CHECKING:
    from pointlift.tasks.classifier import Classifier


def vote(model: Classifier, points: Array, augmentation: Augmentation, seed: int, *, votes: int, crops: int) -> Array:
    """Class scores (votes, S, K) float32 of clouds (S, N, 3): of each repetition the mean over its crops.

    model : in eval mode, unchanged afterwards. Numbers are drawn from generators of their own, by seed, repetition and
    crop: neither training nor another repetition can tell that these were asked for.
    """
    given = torch.from_numpy(points)
    found = []
    for repetition in range(votes):
        total = np.zeros(())
        for crop in range(crops):
            generator = torch.Generator().manual_seed(stable_seed(seed, repetition, crop, "vote"))
            total = total + model.answer(augment(given, augmentation, generator).numpy()).astype(np.float64)
        found.append((total / crops).astype(np.float32))
    return np.stack(found)
