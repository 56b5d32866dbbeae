"""A task's model whose student may change in part alone, and the proof that the rest of it did not.

Xu et al., "Image2Point", ECCV 2022: regimes of finetuning a network whose stages come from images.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.image_weights import Regime
from pointlift.operators.image_stages import ImageStages, stage_groups
from pointlift.operators.norm_statistics import batch_norms, collecting
from pointlift.operators.regimes import changed, freeze, num_trainable, set_training, tensor_hashes

log = logging.getLogger(__name__)
_SHOWN = 3


class PartialTraining(nn.Module):
    """What is trained in the place of ``model`` (with ``student`` and ``head``), by a regime.

    Made before an optimiser is. Raises ``ConfigError`` for a student that has no stages of a 2D network.
    """

    def __init__(self, model: Any, regime: Regime) -> None:
        super().__init__()
        self.model, self.regime, self._recalibrated = model, regime, False
        self._student = (_with_stages(model.student),)  # in a tuple: not registered a second time
        self._groups = stage_groups(self.student, self.student)
        freeze(self.student, self._groups, regime)
        self._before = tensor_hashes(self.student.state_dict())
        log.info("regime %s trains %d of %d numbers", regime, num_trainable(model), _size(model))

    @property
    def student(self) -> ImageStages:
        """The student within."""
        return self._student[0]

    def train(self, mode: bool = True) -> PartialTraining:
        """As every module; in regime ``io`` the batch norms of the stages stay in eval mode."""
        super().train(mode)
        if mode:
            set_training(self.student, self._groups, self.regime)
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The model's losses."""
        losses: dict[str, Tensor] = self.model(batch)
        return losses

    @torch.no_grad()
    def recalibrate(self, batches: Iterator[dict[str, Tensor]]) -> None:
        """Estimate the statistics of the stages' batch norms on these batches' ``points``, as they are; in eval mode.

        In regime ``io`` the batch norms of the input layers are estimated with them: it is done before the first step,
        when those have seen nothing, and the stages must meet rows of the scale that they will be trained on.
        Raises ``ConfigError`` for stages without batch norms.
        """
        norms = self._norms(self.student.stage_parts)
        if not norms:
            raise ConfigError("recalibrate: the stages of this student have no batch norms; leave it out")
        self._recalibrated = True
        device = next(self.student.parameters()).device
        self.eval()
        with collecting(norms + (self._norms(self.student.input_parts) if self.regime == "io" else [])):
            for batch in batches:
                self.student(batch["points"].to(device))

    def _norms(self, parts: Collection[str]) -> list[_BatchNorm]:
        """Batch norms of parts of the student; a single tensor has none."""
        modules = dict(self.student.named_modules())
        return [norm for part in parts if part in modules for norm in batch_norms(modules[part])]

    def require_kept(self) -> None:
        """Raise ``ArtifactError`` when the student changed in what the regime keeps; else say so in the log."""
        allowed = set(self._groups.changing(self.regime))
        allowed |= set(self._groups.norm_statistics) if self._recalibrated else set()
        found = changed(self._before, tensor_hashes(self.student.state_dict()))
        if wrong := sorted(found - allowed):
            raise ArtifactError(
                f"regime {self.regime} must keep {', '.join(wrong[:_SHOWN])}"
                f"{f' and {len(wrong) - _SHOWN} more' if len(wrong) > _SHOWN else ''}, which training changed; "
                "this is a mistake of the program, and no weights were saved: please report it"
            )
        kept = len(set(self._before) - allowed)
        log.info("regime %s: %d tensors changed; all %d that it keeps have every bit", self.regime, len(found), kept)


def _with_stages(student: nn.Module) -> ImageStages:
    if not isinstance(student, ImageStages):
        raise ConfigError(f"{type(student).__name__} has no stages of a 2D network; only regime all trains it")
    return student


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
