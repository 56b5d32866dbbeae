"""CLIP-concept distillation: concepts taken from a cloud by cross-attention, compared with its teacher's views.

After Yao, Zhang, Yin, Luo, Ouyang, Huang, "3D Point Cloud Pre-training with Knowledge Distillation from 2D Images",
arXiv 2212.08974: a reconstruction from its abstract, which names the cross-attention, the concepts and CLIP's image
encoder. Where queries come from, how many, the form of the loss and every number are ours, and keys here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.blocks import MethodSettings, Reading
from pointlift.contracts.errors import ConfigError
from pointlift.distillation.concept_extractor import (
    AttendedConcepts,
    ImageQueries,
    LearnedQueries,
    PooledConcepts,
    ViewQueries,
    looked_at,
)
from pointlift.distillation.concept_losses import (
    averaged,
    contrast,
    distance,
    matched,
    retrieved,
    similarity_among,
    token_distance,
    unit,
)
from pointlift.operators.precision import full, full_precision
from pointlift.operators.student_output import StudentOutput, StudentShape
from pointlift.operators.target_statistics import TargetStatistics


class Settings(MethodSettings):
    """Where concepts come from and how they are compared with the teacher's views."""

    kind: Literal["concept"]
    weight: float = Field(default=1.0, ge=0.0)
    """Of all losses together. 0 (the control arm of joint runs): no head is built, the loss is 0."""
    query: Literal["learned", "image", "view"] = "learned"
    """Who asks: ``learned`` rows, the same for every shape; the ``image``: each view's target asks for itself; the
    ``view``: where its camera stood. The last two make one concept per view, which is compared with its own view."""
    num_queries: int = Field(default=10, ge=1)
    """Concepts M of a shape; as many as views with ``query: image`` and ``view``, which do not read this."""
    depth: int = Field(default=1, ge=1)
    """Cross-attention blocks."""
    heads: int = Field(default=6, ge=1)
    """Of the attention; they must divide ``width``."""
    width: int | None = Field(default=None, ge=1)
    """Of the concepts inside the extractor; null: as wide as the student's tokens."""
    extractor: Literal["attention", "mean_pool"] = "attention"
    """The mean over tokens and an MLP that says as many concepts is the control without attention (arm mean_pool)."""
    leak_proof: bool = True
    """``query: image``: the first block adds nothing of the query, which holds the answer, to what the attention found.
    The query still chooses where to look, so look at ``other_clouds_cosine``, which must stay below ``cosine``."""
    loss: Literal["match", "regression"] = "match"
    """``match``: concepts and views one to one, the assignment of the largest sum of cosines. ``regression``: the mean
    concept with every view, which is nearly what one pooled head says."""
    distance: Literal["cosine", "smooth_l1"] = "cosine"
    """Between a concept and its view at unit length: 1 - cosine, or smooth L1 (the mean over dimensions)."""
    num_views: int | None = Field(default=10, ge=1)
    """Views V of a step, the same ones for its whole batch, drawn anew each step; when only looked at, evenly spread
    ones. null: all. With ``match``, V need not be M: min(M, V) pairs are made and the rest of the larger side has no
    partner in that step; so one cache of views serves every M that is compared."""
    nce_weight: float = Field(default=0.0, ge=0.0)
    """Of symmetric InfoNCE between mean concepts and views of the batch."""
    temperature: float = Field(default=0.07, gt=0.0)
    token_weight: float = Field(default=0.0, ge=0.0)
    """Of the loss that pulls each concept to the patch tokens it is near to; above 0 the teacher's tokens are read."""
    token_temperature: float = Field(default=0.1, gt=0.0)
    mask_ratio: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of its groups that the student is not shown, for students made of groups. 0: the whole cloud."""
    centre_targets: bool = False
    """Take the mean target of the distillation set off before targets are brought to unit length. For teachers whose
    views all point the same way (behind a ReLU, or untrained): there a constant already has a cosine near 1, and what
    tells shapes apart is a small rest of the loss."""

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if self.extractor != "attention" and self.query != "learned":
            raise ValueError(f"extractor {self.extractor} asks no queries: leave query out")
        if self.num_queries == 1 and self.query == "learned" and self.loss == "match" and self.num_views != 1:
            raise ValueError("num_queries 1 with loss match would learn the nearest view alone: use loss regression")
        if self.extractor == "attention" and self.width is not None and self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide width {self.width}")
        return self

    def reads(self) -> tuple[Reading, ...]:
        """The teacher's vectors; its patch tokens and the cameras where a loss or a query needs them."""
        tokens: tuple[Reading, ...] = ("tokens",) if self.token_weight > 0 else ()
        cameras: tuple[Reading, ...] = ("cameras",) if self.query == "view" else ()
        return ("features", *tokens, *cameras)

    def heads_over_tokens(self) -> int | None:
        """Its own, unless it says a width or asks nothing."""
        return self.heads if self.extractor == "attention" and self.width is None and self.weight > 0 else None

    def arms(self) -> tuple[str, ...]:
        """What a run with this block may call itself: one concept, and no attention, are controls."""
        if self.extractor != "attention":
            return ("mean_pool",)
        if self.query == "learned" and self.num_queries == 1:
            return ("m1",)
        wrong_pairs = ("shuffled", "same_class_shuffled")
        other_teachers = ("random_teacher", "other_teacher")
        return ("concept", "control", *wrong_pairs, *other_teachers, "init_point_mae")

    def projects(self) -> bool:
        """Whether a cloud alone gives a vector in the teacher's space: with other queries it takes its views too."""
        return self.query == "learned" and self.weight > 0

    def hides(self) -> bool:
        """Whether the student is shown part of the cloud only."""
        return self.mask_ratio > 0


def build(settings: Settings, student: StudentShape, targets: TargetStatistics) -> Concept:
    """The method for a student of these widths and a teacher with these targets.

    Raises ``ConfigError`` when the heads do not divide the width, and when a student without groups is to be masked.
    """
    width = settings.width or student.token_width
    if settings.weight > 0 and settings.extractor == "attention" and width % settings.heads:
        raise ConfigError(
            f"heads: {settings.heads} do not divide the width {width}, which is that of the student's tokens where no "
            "width is given; give heads that do, or a width"
        )
    if settings.mask_ratio > 0 and student.group_size is None:
        raise ConfigError("mask_ratio: this student has no groups that could be hidden; use 0, or point_transformer")
    return Concept(settings, student.token_width, width, targets)


class Concept(nn.Module):
    """The concept losses and their head, which lives here alone and is never part of a saved student."""

    mean: Tensor
    radius: Tensor

    def __init__(self, settings: Settings, token_width: int, width: int, targets: TargetStatistics) -> None:
        super().__init__()
        self.settings, self.mask_ratio = settings, settings.mask_ratio
        mean = torch.as_tensor(targets.mean)
        self.register_buffer("mean", mean.clone() if settings.centre_targets else torch.zeros_like(mean))
        self.register_buffer("radius", torch.tensor(_radius(targets) if settings.centre_targets else 1.0))
        self.queries: nn.Module | None = None
        self.extractor: nn.Module | None = None
        if settings.weight > 0:
            self.queries = _queries(settings, width, len(mean))
            self.extractor = _extractor(settings, token_width, width, len(mean))

    @property
    def can_project(self) -> bool:
        """Whether ``project`` has an answer: a cloud alone gives its concepts."""
        return self.settings.projects()

    def project(self, output: StudentOutput) -> Tensor:
        """The mean concept of each shape, (B, D), in the teacher's own space; only its direction is trained.

        With ``centre_targets`` it stands as far from the mean target as targets do (root mean square).
        Raises ``ConfigError`` where views would have to ask, or there is no head: see ``can_project``.
        """
        if not self.can_project:
            raise ConfigError("only a concept head with query learned and a weight above 0 can be asked without views")
        concept_BD = full(self._concepts(output, None, None)).mean(dim=1)
        return self.mean + self.radius * unit(concept_BD) if self.settings.centre_targets else concept_BD

    def wanted(self, vectors: Tensor) -> Tensor:
        """What is compared with: the teacher's vectors (..., D) at unit length, as seen from the mean when centred."""
        return unit(full(vectors) - self.mean)

    def forward(self, output: StudentOutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``batch``: ``target`` (B, V, D); ``patch_tokens`` (B, V, P, D) and ``world_to_camera`` (B, V, 4, 4) if read.

        Returns ``concept_loss`` and, where they have a weight, ``nce_loss`` and ``token_loss``; and without gradient
        ``cosine`` of concepts and their views, ``concept_similarity`` (mean cosine between the concepts of a shape: 1
        when they have become one), ``batch_retrieval`` (share of shapes whose mean concept is nearest its own mean
        target) and, with ``query: image``, ``other_clouds_cosine``: ``cosine`` when each cloud is another shape's.
        """
        if self.extractor is None:
            return {"concept_loss": output.tokens.new_zeros(())}
        read = {name: batch[name] for name in ("target", "patch_tokens", "world_to_camera") if name in batch}
        chosen = self._views(batch["target"].shape[1])
        read = {name: part if chosen is None else part[:, chosen] for name, part in read.items()}
        targets_BVD = self.wanted(read["target"])
        if self.settings.centre_targets and not targets_BVD.any():
            raise ConfigError("centre_targets: this teacher says the same of every view, nothing is left; use false")
        concepts_BMD = full(self._concepts(output, targets_BVD, read.get("world_to_camera")))
        with full_precision(concepts_BMD):
            pairs = self._pairs(concepts_BMD, targets_BVD)
            losses = {"concept_loss": self.settings.weight * distance(*pairs, self.settings.distance)}
            losses |= self._further_losses(concepts_BMD, targets_BVD, read.get("patch_tokens"))
            with torch.no_grad():
                seen = _seen(concepts_BMD, targets_BVD, pairs)
        if self.settings.query == "image":
            with torch.no_grad():
                seen["other_clouds_cosine"] = self._of_other_clouds(output, targets_BVD)
        return {**losses, **seen}

    def _views(self, cached: int) -> Tensor | None:
        """The numbers of the views of this step, from torch's CPU generator in training; None: all."""
        asked = self.settings.num_views
        if asked is None or asked == cached:
            return None
        if asked > cached:
            raise ConfigError(f"num_views: {asked} views are asked for, the rig has {cached}; ask for fewer, or null")
        return torch.randperm(cached)[:asked] if self.training else torch.arange(asked) * cached // asked

    def _concepts(self, output: StudentOutput, targets_BVD: Tensor | None, cameras_BV44: Tensor | None) -> Tensor:
        rows_BXC = looked_at(output)
        if self.extractor is None:
            raise ValueError("there is no head with weight 0")
        if self.queries is None:
            return self.extractor(rows_BXC)
        asks = {"learned": len(rows_BXC), "image": targets_BVD, "view": cameras_BV44}[self.settings.query]
        return self.extractor(rows_BXC, self.queries(asks))

    def _pairs(self, concepts_BMD: Tensor, targets_BVD: Tensor) -> tuple[Tensor, Tensor]:
        """Concepts and the targets they are compared with, two (B, K, D)."""
        if self.settings.loss == "regression":
            return averaged(concepts_BMD, targets_BVD)
        return matched(concepts_BMD, targets_BVD) if self.settings.query == "learned" else (concepts_BMD, targets_BVD)

    def _further_losses(
        self, concepts_BMD: Tensor, targets_BVD: Tensor, tokens_BVPD: Tensor | None
    ) -> dict[str, Tensor]:
        settings, found = self.settings, {}
        if settings.nce_weight > 0:
            scale = settings.weight * settings.nce_weight
            found["nce_loss"] = scale * contrast(concepts_BMD, targets_BVD, settings.temperature)
        if settings.token_weight > 0:
            if tokens_BVPD is None:
                raise ValueError("token_weight needs patch_tokens in the batch")
            tokens_BTD = self.wanted(tokens_BVPD.flatten(1, 2))
            scale = settings.weight * settings.token_weight
            found["token_loss"] = scale * token_distance(concepts_BMD, tokens_BTD, settings.token_temperature)
        return found

    def _of_other_clouds(self, output: StudentOutput, targets_BVD: Tensor) -> Tensor:
        """``cosine`` with the clouds of the batch moved on by one (of a batch of one: its own)."""
        summary = None if output.summary is None else output.summary.roll(1, 0)
        other = output._replace(tokens=output.tokens.roll(1, 0), summary=summary)
        concepts_BMD = full(self._concepts(other, targets_BVD, None))
        return functional.cosine_similarity(*self._pairs(concepts_BMD, targets_BVD), dim=-1).mean()


def _seen(concepts_BMD: Tensor, targets_BVD: Tensor, pairs: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The values that are only reported."""
    cosine = functional.cosine_similarity(*pairs, dim=-1).mean()
    found = {"cosine": cosine, "batch_retrieval": retrieved(concepts_BMD, targets_BVD)}
    if concepts_BMD.shape[1] > 1:
        found["concept_similarity"] = similarity_among(concepts_BMD)
    return found


def _queries(settings: Settings, width: int, teacher_width: int) -> nn.Module | None:
    if settings.extractor != "attention":
        return None
    if settings.query == "learned":
        return LearnedQueries(settings.num_queries, width)
    return ImageQueries(teacher_width, width) if settings.query == "image" else ViewQueries(width)


def _extractor(settings: Settings, token_width: int, width: int, teacher_width: int) -> nn.Module:
    widths = (token_width, width, teacher_width)
    if settings.extractor == "attention":
        closed = settings.leak_proof and settings.query == "image"
        return AttendedConcepts(*widths, heads=settings.heads, depth=settings.depth, leak_proof=closed)
    return PooledConcepts(*widths, num_concepts=settings.num_queries)


def _radius(targets: TargetStatistics) -> float:
    """How far targets are from their mean, root mean square; a dimension that never changes has sd 1, and adds none."""
    return float(np.sqrt(np.square(targets.sd[targets.sd != 1.0], dtype=np.float64).sum()))
