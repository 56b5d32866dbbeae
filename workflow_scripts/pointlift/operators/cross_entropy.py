"""The smoothed cross-entropy of PointMCD's teacher and students."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from pointlift.contracts.errors import ConfigError


def smoothed_cross_entropy(logits_BK: Tensor, label_B: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy against 1 - smoothing on the label and smoothing / (K - 1) on each other class, batch mean.

    PointMCD's convention. torch shares its ``label_smoothing`` among all K classes, the label too, hence the factor.
    """
    return functional.cross_entropy(logits_BK, label_B, label_smoothing=shared_by_all(smoothing, logits_BK.shape[1]))


def shared_by_all(smoothing: float, num_classes: int) -> float:
    """torch's ``label_smoothing`` that is this smoothing; above 1 the label would be pushed away."""
    return smoothing * num_classes / max(1, num_classes - 1)


def require_smoothing(smoothing: float, num_classes: int, classes: str = "classes") -> None:
    """Raise ``ConfigError`` when the label would be left less than every other one of the ``classes`` has."""
    if shared_by_all(smoothing, num_classes) > 1.0:
        largest = 1000 * (num_classes - 1) // num_classes / 1000
        raise ConfigError(
            f"label_smoothing: {smoothing:g} leaves the label of {num_classes} {classes} less than each other one has; "
            f"at most (K - 1) / K, here {largest}; lower it"
        )
