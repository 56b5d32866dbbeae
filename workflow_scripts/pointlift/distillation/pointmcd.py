"""PointMCD: each view's teacher embedding, told to the points that view sees.

Zhang, Hou, Qian, "PointMCD: Boosting Deep Point Cloud Encoders via Multi-view Cross-modal Distillation for 3D Shape
Recognition", TMM 2023. Tokens are pooled per view over the visible points (VAFP), one head shared by all views maps to
the teacher's width, and an L1 term compares it with the cached teacher embedding.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.blocks import MethodSettings
from pointlift.contracts.errors import ConfigError
from pointlift.operators.layers import shared_layers
from pointlift.operators.neighbours import interpolate_rows
from pointlift.operators.student_output import StudentOutput, StudentShape
from pointlift.operators.target_statistics import TargetStatistics
from pointlift.operators.visible_pooling import gather_visible, max_pool, visible_max_pool


class Settings(MethodSettings):
    """How a student is pulled towards its teacher's views."""

    kind: Literal["pointmcd"]
    weight: float = Field(default=1.0, ge=0.0)
    """Of the view loss. 0 (the control arm): no head is built and nothing is pooled."""
    head: Literal["auto", "relu", "linear"] = "auto"
    """``relu``: linear, batch norm, ReLU, as published, which reaches non-negative targets only; each dimension of them
    is divided by its root mean square (``scale_targets``), for the head starts and stays near 1, as the published
    teacher's own vectors do.
    ``linear``: compared with targets standardised per dimension; for teachers with a sign (CLIP), and where teachers
    are compared whose dimensions vary little beside their mean. ``auto`` picks by the sign of the targets."""
    scale_targets: bool = True
    """ReLU head: whether targets are divided by their root mean square. False: compared as they are, as published."""
    loss: Literal["l1", "cosine"] = "l1"
    empty_views: Literal["keep", "drop"] = "keep"
    """A view that sees no token pools to 0; ``keep`` it, as published, or ``drop`` it from head and loss."""
    masks: Literal["gather", "interpolate"] = "gather"
    """For students whose tokens are not the points: ``gather`` the mask of the point each token came from, or
    ``interpolate`` the tokens to all points (inverse distances to the nearest three), which keeps views from being
    empty. The paper does not say; students with one token a point are the same either way."""
    orthogonality_weight: float = Field(default=0.001, ge=0.0)
    """Of the student's raw ``orthogonality`` term, where it has one."""

    def arms(self) -> tuple[str, ...]:
        """What a run with this block may be."""
        return ("control", "mcd", "all_visible", "shuffled", "random_teacher", "random_visibility", "init_point_mae")

    def projects(self) -> bool:
        """Its head puts the maximum over all tokens where it puts those over the points of a view."""
        return self.weight > 0


def build(settings: Settings, student: StudentShape, targets: TargetStatistics) -> PointMCD:
    """The method for a student of these widths and a teacher with these targets.

    Raises ``ConfigError`` for a ReLU head and targets below zero, which it could never reach.
    """
    if settings.head == "relu" and not targets.nonnegative:
        raise ConfigError("head: relu cannot reach this teacher's targets, some are negative; use auto or linear")
    return PointMCD(settings, student.token_width, targets)


class PointMCD(nn.Module):
    """The view loss and its head, which lives here alone and is never part of a saved student."""

    mean: Tensor
    sd: Tensor

    def __init__(self, settings: Settings, token_width: int, targets: TargetStatistics) -> None:
        super().__init__()
        self.settings = settings
        standardised = settings.head == "linear" or (settings.head == "auto" and not targets.nonnegative)
        mean, sd = torch.as_tensor(targets.mean), torch.as_tensor(targets.sd)
        self.register_buffer("mean", mean.clone() if standardised else torch.zeros_like(mean))
        size = torch.hypot(mean, sd) if settings.scale_targets else torch.ones_like(sd)
        self.register_buffer("sd", sd.clone() if standardised else size)
        self.head = None
        if settings.weight > 0:
            self.head = linear_head(token_width, len(mean)) if standardised else relu_head(token_width, len(mean))

    def forward(self, output: StudentOutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``batch``: ``visible`` (B, V, N) bool, ``target`` (B, V, D) float and, to interpolate, ``points`` (B, N, 3).

        Returns ``view_loss`` and, where the student has the term, ``orthogonality_loss`` (both weighted), and
        ``cosine``: mean cosine between projected and teacher's view vectors, in the teacher's own space, no gradient.
        """
        found = {}
        if "orthogonality" in output.losses:
            found["orthogonality_loss"] = self.settings.orthogonality_weight * output.losses["orthogonality"]
        if self.head is None:
            return {**found, "view_loss": output.tokens.new_zeros(())}
        tokens, visible_BVG = self._seen(output, batch)
        pooled, target = visible_max_pool(tokens, visible_BVG).flatten(0, 1), batch["target"].flatten(0, 1)
        if self.settings.empty_views == "drop":
            seen = visible_BVG.any(dim=2).flatten()
            pooled, target = pooled[seen], target[seen]
            if len(pooled) < 2:  # nothing to take batch statistics over
                return {**found, "view_loss": output.tokens.sum() * 0.0}
        projected = self.head(pooled).float()
        return {**found, **self._compare(projected, target.float())}

    def project(self, output: StudentOutput) -> Tensor:
        """Shapes in the teacher's own space, (B, D): the head over all tokens, as of a view that sees every point.

        Raises ``ConfigError`` for weight 0, which has no head.
        """
        if self.head is None:
            raise ConfigError("method pointmcd with weight 0 has no head; nothing can be projected")
        projected: Tensor = self.head(max_pool(output.tokens)).float()
        return projected * self.sd + self.mean

    def _seen(self, output: StudentOutput, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What is pooled, (B, G, C), and who sees it, (B, V, G)."""
        num_points = batch["visible"].shape[2]
        if self.settings.masks == "gather" or output.tokens.shape[1] == num_points:
            return output.tokens, gather_visible(batch["visible"], output.token_index)
        return interpolate_rows(output.tokens, output.token_xyz, batch["points"]), batch["visible"]

    def _compare(self, projected: Tensor, target: Tensor) -> dict[str, Tensor]:
        wanted = (target - self.mean) / self.sd
        if self.settings.loss == "l1":
            distance = functional.l1_loss(projected, wanted)
        else:
            distance = 1.0 - functional.cosine_similarity(projected, wanted, dim=-1).mean()
        with torch.no_grad():
            cosine = functional.cosine_similarity(projected * self.sd + self.mean, target, dim=-1).mean()
        return {"view_loss": self.settings.weight * distance, "cosine": cosine}


def relu_head(token_width: int, teacher_width: int) -> nn.Sequential:
    """PointMCD's alignment block: linear without bias, batch norm over all views' rows, ReLU."""
    return shared_layers(token_width, [teacher_width], bias=False)


def linear_head(token_width: int, teacher_width: int) -> nn.Linear:
    """A head that reaches targets of either sign."""
    return nn.Linear(token_width, teacher_width)
