"""How concepts of a cloud are compared with its teacher's views: matched one to one, as one vector, or with tokens.

After arXiv 2212.08974 as far as its abstract says: it compares concepts of the cloud with the semantics of images, the
forms here are ours. All compare with fixed targets of unit length; nothing that is trained touches these. Letters
beside those of the house: M concepts, K pairs, T patch tokens of all views together.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

Distance = Literal["cosine", "smooth_l1"]


def unit(rows: Tensor) -> Tensor:
    """Rows (..., D) at length 1; a row of zeros stays one."""
    return functional.normalize(rows, dim=-1)


def matched(concepts_BMD: Tensor, targets_BVD: Tensor) -> tuple[Tensor, Tensor]:
    """Concepts and views of a shape in pairs, one to one, with the largest sum of cosines: two (B, K, D).

    K = min(M, V): where there are more concepts than views, or more views than concepts, the rest has no partner.
    """
    concept_BK, view_BK = assignment(concepts_BMD, targets_BVD)
    return _taken(concepts_BMD, concept_BK), _taken(targets_BVD, view_BK)


def assignment(concepts_BMD: Tensor, targets_BVD: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the concepts and of their views in the pairs of the largest sum of cosines: two (B, K) int64.

    By scipy on the CPU, in float64 and without gradient; the cosines of the whole batch are moved there at once.
    Raises ``FloatingPointError`` when one is not finite.
    """
    with torch.no_grad():
        cosine_BMV = (unit(concepts_BMD) @ unit(targets_BVD).transpose(1, 2)).double().cpu().numpy()
    if not np.isfinite(cosine_BMV).all():
        raise FloatingPointError("a cosine of a concept and a view is not finite")
    pairs_B2K = np.array([linear_sum_assignment(one_MV, maximize=True) for one_MV in cosine_BMV])
    concept_BK, view_BK = torch.from_numpy(pairs_B2K).to(concepts_BMD.device).unbind(1)
    return concept_BK, view_BK


def _taken(rows_BXD: Tensor, index_BK: Tensor) -> Tensor:
    return rows_BXD.gather(1, index_BK[..., None].expand(-1, -1, rows_BXD.shape[2]))


def averaged(concepts_BMD: Tensor, targets_BVD: Tensor) -> tuple[Tensor, Tensor]:
    """A shape's mean concept in a pair with each of its views: two (B, V, D). Nearly what one pooled head would say."""
    return concepts_BMD.mean(dim=1, keepdim=True).expand_as(targets_BVD), targets_BVD


def distance(concepts: Tensor, targets: Tensor, kind: Distance) -> Tensor:
    """Mean distance of rows (..., D), in pairs: 1 - cosine, or smooth L1 with its corner at 1, mean of all numbers."""
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(concepts, targets)
    return 1.0 - functional.cosine_similarity(concepts, targets, dim=-1).mean()


def contrast(concepts_BMD: Tensor, targets_BVD: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE: a shape's mean concept is to know its view among the batch's, and the view its shape.

    Each view number in turn is one row of targets per shape; the loss is their mean. The other shapes of the batch (of
    this process, where there are several) are the negatives, those of the same class among them.
    """
    shape_BD = unit(concepts_BMD.mean(dim=1))
    logits_VBB = torch.einsum("bd,cvd->vbc", shape_BD, targets_BVD) / temperature
    right_VB = torch.arange(len(shape_BD), device=shape_BD.device).expand(logits_VBB.shape[:2])
    by_shape = functional.cross_entropy(logits_VBB.flatten(0, 1), right_VB.flatten())
    by_view = functional.cross_entropy(logits_VBB.transpose(1, 2).flatten(0, 1), right_VB.flatten())
    return (by_shape + by_view) / 2


def token_distance(concepts_BMD: Tensor, tokens_BTD: Tensor, temperature: float) -> Tensor:
    """1 - cosine of each concept and the patch tokens that it is near to, which are averaged by a softmax.

    Tokens have unit length, and so has the concept in the softmax: only then a temperature means the same for every
    teacher. The average is a fixed target: no gradient goes through it.
    """
    with torch.no_grad():
        nearness_BMT = unit(concepts_BMD) @ tokens_BTD.transpose(1, 2) / temperature
        wanted_BMD = nearness_BMT.softmax(dim=2) @ tokens_BTD
    return distance(concepts_BMD, wanted_BMD, "cosine")


def similarity_among(concepts_BMD: Tensor) -> Tensor:
    """Mean cosine between different concepts of one shape: 1 where they all say the same. Needs two concepts."""
    rows_BMD, count = unit(concepts_BMD), concepts_BMD.shape[1]
    total_B = (rows_BMD @ rows_BMD.transpose(1, 2)).sum(dim=(1, 2))
    return ((total_B - count) / (count * (count - 1))).mean()


def retrieved(concepts_BMD: Tensor, targets_BVD: Tensor) -> Tensor:
    """Share of shapes whose mean concept is nearer to its own mean target than to any other of the batch."""
    nearness_BB = unit(concepts_BMD.mean(dim=1)) @ unit(targets_BVD.mean(dim=1)).T
    right_B = torch.arange(len(nearness_BB), device=nearness_BB.device)
    return (nearness_BB.argmax(dim=1) == right_B).float().mean()
