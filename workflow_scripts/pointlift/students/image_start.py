"""Filling a student with 2D weights as a run's ``inflation`` says."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.image_weights import InflationSettings
from pointlift.operators.image_stages import ImageStages
from pointlift.operators.inflation import Inflation, Origin

log = logging.getLogger(__name__)


def fill_student(student: nn.Module, stages: Mapping[str, Tensor], settings: InflationSettings) -> dict[str, Origin]:
    """Fill the stages of a student, in place, with the stage tensors of a 2D network; says where each came from.

    Raises ``ConfigError`` for a student without such stages or a stage that it does not have, ``ArtifactError`` for
    tensors that do not fit; nothing is changed then.
    """
    if not isinstance(student, ImageStages):
        raise ConfigError(f"inflation: {type(student).__name__} takes no 2D weights")
    inflation = Inflation(settings.axis, settings.scale, settings.shortcut, settings.authors_axis_names)
    origins = student.load_image_stages(stages, inflation, settings.excluded_stages)
    log.info("%d of %d tensors come from the stages of %s", len(origins), len(student.state_dict()), settings.source)
    return origins
