"""Matching of queries with true boxes, and the loss of the pairs that it finds.

DETR, Carion et al., ECCV 2020, section 3.1, in the form of 3DETR, Misra, Girdhar, Joulin, ICCV 2021, section 3.3: every
decoder layer is matched and judged by itself, the losses are added. Letters beside those of the house: Q queries, M
true boxes, L layers, X pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pointlift.operators.boxes import all_pairs, generalised_iou
from pointlift.tasks.box_coding import CodedBoxes, encode_heading, shares

if TYPE_CHECKING:
    from pointlift.tasks.detection import LossWeights, MatchWeights

NO_BOX = -1


class Truth(NamedTuple):
    """True boxes of a batch, filled up."""

    boxes: Tensor
    """(B, M, 7)."""
    label: Tensor
    """(B, M) int64; -1 where it is filled up."""


class Pairs(NamedTuple):
    """Matched queries and true boxes, X of them in all layers and clouds together."""

    query: Tensor
    """(X,) int64: which of the L * B * Q queries."""
    truth: Tensor
    """(X,) int64: which of the B * M true boxes."""


@torch.no_grad()
def match_cost(said: CodedBoxes, truth: Truth, weights: MatchWeights, *, oriented: bool) -> Tensor:
    """(L, B, Q, M): minus the probability of the true class, L1 between centres (shares of the scene), minus GIoU."""
    label = truth.label.clamp_min(0)[None, :, None].expand(*said.logits.shape[:3], -1)
    cost = -weights.classes * said.logits.softmax(dim=-1).gather(3, label)
    if weights.centre:
        ours, theirs = shares(said.boxes, said.within)[0], shares(truth.boxes, said.within)[0]
        cost = cost + weights.centre * (ours[..., None, :] - theirs[:, None]).abs().sum(dim=-1)
    if weights.giou:
        layers, batch = said.boxes.shape[:2]
        pairs = all_pairs(said.boxes.flatten(0, 1), truth.boxes.repeat(layers, 1, 1))
        cost = cost - weights.giou * generalised_iou(*pairs, oriented=oriented).unflatten(0, (layers, batch))
    return cost


def match(cost_LBQM: Tensor, known_BM: Tensor) -> Pairs:
    """The pairs of least cost, one for every true box (or for every query, where these are fewer), layer by layer.

    known_BM : False where true boxes are filled up. Kuhn, "The Hungarian Method", 1955, as scipy has it. Raises
    ``FloatingPointError`` for a cost that is not finite.
    """
    layers, batch, num_queries, num_boxes = cost_LBQM.shape
    costs, known = cost_LBQM.detach().double().cpu().numpy(), known_BM.cpu().numpy()
    if not np.isfinite(costs).all():
        raise FloatingPointError("the cost of matching boxes is not finite")
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for cloud in range(batch):
        columns = np.flatnonzero(known[cloud])
        for layer in range(layers):
            query, column = linear_sum_assignment(costs[layer, cloud][:, columns])
            found.append(((layer * batch + cloud) * num_queries + query, cloud * num_boxes + columns[column]))
    query, box = (np.concatenate([pair[part] for pair in found]).astype(np.int64) for part in (0, 1))
    return Pairs(*(torch.from_numpy(part).to(cost_LBQM.device) for part in (query, box)))


def set_losses(
    said: CodedBoxes, truth: Truth, match_weights: MatchWeights, weights: LossWeights, *, oriented: bool
) -> dict[str, Tensor]:
    """Losses of a batch, weighted, summed over layers, and divided by its number of true boxes.

    ``class_loss`` is the mean over queries, those that shall say that nothing is there weighted. ``train_giou``: mean
    over the pairs of the last layer.
    """
    known = truth.label != NO_BOX
    pairs = match(match_cost(said, truth, match_weights, oriented=oriented), known)
    ours = said.boxes.flatten(0, 2).index_select(0, pairs.query)
    theirs = truth.boxes.flatten(0, 1).index_select(0, pairs.truth)
    edges = said.within.edges.index_select(0, pairs.truth // truth.label.shape[1])
    giou = generalised_iou(ours, theirs, oriented=oriented)
    count = known.sum().clamp_min(1)
    values = {
        "class_loss": weights.classes * class_loss(said.logits, truth.label, pairs, weights.no_object),
        "centre_loss": weights.centre * ((ours[:, :3] - theirs[:, :3]).abs() / edges).sum() / count,
        "size_loss": weights.size * ((ours[:, 3:6] - theirs[:, 3:6]).abs() / edges).sum() / count,
        "giou_loss": weights.giou * (1.0 - giou).sum() / count,
    }
    if oriented:
        values["heading_loss"] = _heading_loss(said, theirs[:, 6], pairs, weights) / count
    last = pairs.query >= (len(said.boxes) - 1) * said.boxes[0].shape[:2].numel()
    values["train_giou"] = giou.detach()[last].sum() / last.sum().clamp_min(1)
    return values


def class_loss(logits_LBQK: Tensor, label_BM: Tensor, pairs: Pairs, no_object: float) -> Tensor:
    """Cross entropy, weighted mean over the queries of each layer, summed over layers.

    A matched query shall say its box's class, any other the last one, whose weight is ``no_object``, not 1.
    """
    nothing = logits_LBQK.shape[3] - 1
    wanted = torch.full(logits_LBQK.shape[:3], nothing, device=logits_LBQK.device).flatten()
    wanted[pairs.query] = label_BM.flatten()[pairs.truth]
    each = functional.cross_entropy(logits_LBQK.flatten(0, 2), wanted, reduction="none")
    weight = torch.where(wanted == nothing, no_object, 1.0)
    each, weight = each.view(len(logits_LBQK), -1), weight.view(len(logits_LBQK), -1)
    return ((each * weight).sum(dim=1) / weight.sum(dim=1)).sum()


def _heading_loss(said: CodedBoxes, heading_X: Tensor, pairs: Pairs, weights: LossWeights) -> Tensor:
    """Cross entropy of the bins, and the Huber loss of the residual of the true one."""
    logits = said.heading_logits.flatten(0, 2).index_select(0, pairs.query)
    residual = said.heading_residual.flatten(0, 2).index_select(0, pairs.query)
    wanted, place = encode_heading(heading_X, logits.shape[1])
    of_wanted = functional.one_hot(wanted, logits.shape[1]).to(residual.dtype)
    huber = functional.huber_loss((residual * of_wanted).sum(dim=1), place, reduction="sum")
    bins = functional.cross_entropy(logits, wanted, reduction="sum")
    return weights.heading_bin * bins + weights.heading_residual * huber
