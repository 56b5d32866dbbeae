"""Labels that a trained student gives to shapes whose own labels nobody reads, and a classifier that learns from them.

Xu et al., "Image2Point", ECCV 2022: a teacher trained on few shots labels all training clouds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pointlift.contracts.shards import Array
from pointlift.tasks.classifier import Classifier

Compat = Literal["authors_integer_argmax"]


def pseudo_labels(scores: Array, labels: Literal["soft", "argmax"], temperature: float, compat: Compat | None) -> Array:
    """Probabilities (S, K) float32 of class scores (S, K); rows sum to 1.

    soft : softmax of scores / temperature; below 1 it sharpens. argmax : all on the first of the best classes.
    ``authors_integer_argmax``: scores lose what is behind their point first, as integers do, so that .4, .9 and .3 are
    all 0 and the first class is the best one.
    """
    if labels == "argmax":
        best = (np.trunc(scores) if compat is not None else scores).argmax(axis=1)
        return np.eye(scores.shape[1], dtype=np.float32)[best]
    scaled = scores.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


class PseudoLabelled(Classifier):
    """A ``Classifier`` that learns from ``target`` (B, K) of a batch, which has no ``label``."""

    def judged(self, logits_BK: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropy with the teacher's probabilities, and how often both name one class."""
        target_BK = batch["target"]
        loss = -(target_BK * logits_BK.log_softmax(dim=1)).sum(dim=1).mean()
        with torch.no_grad():
            agreement = (logits_BK.argmax(dim=1) == target_BK.argmax(dim=1)).float().mean()
        return {"task_loss": self.settings.task_weight * loss, "agreement": agreement}
