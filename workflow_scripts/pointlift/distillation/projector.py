"""The distillation head after training: what puts a student's shapes into its teacher's space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointlift.distillation.methods import build_method, method_settings
from pointlift.operators.checkpoint import fill, read_weights, save_weights
from pointlift.operators.student_output import StudentOutput, StudentShape
from pointlift.operators.target_statistics import TargetStatistics


def save_projector(
    path: Path,
    method: nn.Module | None = None,
    block: Mapping[str, Any] | None = None,
    student: StudentShape | None = None,
    targets: TargetStatistics | None = None,
) -> None:
    """Write a method and what it was built from; of a run without one, a file that says so."""
    told = None if targets is None else {"width": len(targets.mean), "nonnegative": targets.nonnegative}
    header = {"method": block and dict(block), "student": student and list(student), "targets": told}
    save_weights(path, method, header)


def load_projector(path: Path) -> nn.Module | None:
    """The method that ``save_projector`` wrote, in eval mode, where it puts shapes into its teacher's space, else None.

    ``ArtifactError`` for a file that is none, or whose weights do not fit its own header.
    """
    header, weights = read_weights(Path(path), "method")
    settings = method_settings(header["method"]) if header["method"] is not None else None
    if settings is None or not settings.projects():
        return None
    told, targets = header["targets"], None
    if told is not None:  # the statistics themselves are among the weights
        zeros, ones = np.zeros(told["width"], np.float32), np.ones(told["width"], np.float32)
        targets = TargetStatistics(zeros, ones, told["nonnegative"])
    method = build_method(settings, StudentShape(*header["student"]), targets, 0)
    fill(method, weights, Path(path), "method")
    return method.eval()


def with_projection(method: nn.Module | None) -> Callable[[StudentOutput], Tensor]:
    """What is kept of a student's output: (B, C), or with a method (B, C + D), the shape in the teacher's space behind.

    The method is one of ``load_projector``, on the student's device.
    """
    if method is None:
        return lambda output: output.embedding
    project: Callable[[StudentOutput], Tensor] = method.project  # type: ignore[assignment]
    return lambda output: torch.cat([output.embedding, project(output)], dim=1)
