"""Methods of this room by their blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from pointlift import rooms
from pointlift.contracts.blocks import MethodSettings
from pointlift.contracts.settings import parse
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import StudentShape
from pointlift.operators.target_statistics import TargetStatistics


def method_settings(block: Mapping[str, Any]) -> MethodSettings:
    """A method's block, checked by its kind."""
    return parse(rooms.load("distillation", block["kind"]).Settings, dict(block), "method")


def build_method(
    settings: MethodSettings, student: StudentShape, targets: TargetStatistics | None, seed: int
) -> nn.Module:
    """The method with its first weights, which hang on the seed alone."""
    member = rooms.load("distillation", settings.kind)
    built: nn.Module = initialised(lambda: member.build(settings, student, targets), "method", seed)
    return built
