"""What a distillation head must know of its targets: mean and spread of every dimension, and their sign."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pointlift.contracts.shards import Array


class TargetStatistics(NamedTuple):
    """Statistics of a teacher's embeddings over the distillation set."""

    mean: Array
    """(D,) float32."""
    sd: Array
    """(D,) float32, above zero: a dimension that never changes has 1, so that dividing by it leaves it alone."""
    nonnegative: bool
    """True when no target is below zero (CNN embeddings behind a ReLU); a ReLU head can then reach them all."""


def target_statistics(targets: Array) -> TargetStatistics:
    """Statistics over every axis but the last of ``targets`` (..., D), any float type; float64 inside.

    Raises ``ValueError`` when there is no target or one is not finite.
    """
    rows = targets.reshape(-1, targets.shape[-1])
    if len(rows) == 0:
        raise ValueError("statistics need at least one target")
    mean = rows.mean(axis=0, dtype=np.float64)
    sd = rows.std(axis=0, dtype=np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(sd).all()):
        raise ValueError("a target is not finite")
    constant = sd <= np.finfo(np.float32).eps * np.maximum(1.0, np.abs(mean))
    sd = np.where(constant, 1.0, sd)
    return TargetStatistics(mean.astype(np.float32), sd.astype(np.float32), bool(rows.min() >= 0))
