"""Training a teacher's network and keeping the weights of its best val epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import PointliftError
from pointlift.contracts.recipe import Recipe
from pointlift.training.data import TensorData
from pointlift.training.engine import fit

_log = logging.getLogger(__name__)
_WEIGHTS = "weights."


class BestEpoch:
    """What ``training.engine.fit`` calls at the end of an epoch; ``kept`` travels with its checkpoints.

    criterion : the value that decides; the first of equally good epochs stays. higher : whether more of it is better.
    """

    def __init__(self, model: nn.Module, look: Callable[[], dict[str, float]], criterion: str, higher: bool) -> None:
        self.kept: dict[str, Tensor] = {}
        self._model, self._look, self._criterion, self._sign = model, look, criterion, 1.0 if higher else -1.0

    def __call__(self, epoch: int) -> dict[str, float]:
        """Look at the val split, and keep the weights where they are the best so far. Returns what was seen."""
        values = self._look()
        value = values[self._criterion]
        if not math.isfinite(value):
            raise PointliftError(f"{self._criterion} of epoch {epoch} is {value}; lower the learning rate")
        if "value" not in self.kept or self._sign * (value - float(self.kept["value"])) > 0.0:
            self.kept["value"] = torch.tensor(value, dtype=torch.float64)
            self.kept["epoch"] = torch.tensor(epoch)
            state = self._model.state_dict()
            self.kept.update({f"{_WEIGHTS}{name}": tensor.detach().cpu().clone() for name, tensor in state.items()})
        return values

    def put_back(self) -> None:
        """Give the model the weights that were kept."""
        kept = {name.removeprefix(_WEIGHTS): found for name, found in self.kept.items() if name.startswith(_WEIGHTS)}
        self._model.load_state_dict(kept)
        epoch, value = int(self.kept["epoch"]), float(self.kept["value"])
        _log.info("the weights are those of epoch %d, the best on val: %s %.4g", epoch, self._criterion, value)


def train_and_select(
    model: nn.Module,
    data: TensorData,
    recipe: Recipe,
    *,
    look: Callable[[], dict[str, float]] | None,
    criterion: str,
    higher: bool,
    **options: Any,
) -> None:
    """Train ``model`` (a module that gives a batch's losses) in place; it ends with the weights of its best val epoch.

    look : values on the val split, by the model in eval mode; None where there is no val split: the last epoch's
    weights stay, and the log says so. criterion, higher : see ``BestEpoch``. options : of ``training.engine.fit``.
    """
    if look is None:
        _log.warning("the dataset has no usable shape in its val split: the weights are those of the last epoch")
        fit(model, model, data, recipe, **options)
        return
    best = BestEpoch(model, look, criterion, higher)
    fit(model, model, data, recipe, on_epoch_end=best, kept=best.kept, **options)
    best.put_back()
