"""Matching against every permutation, costs and losses against slow formulas in float64."""

import itertools

import numpy as np
import pytest
import torch

from pointlift.contracts.settings import parse
from pointlift.geometry.boxes import axis_aligned_iou
from pointlift.operators.boxes import generalised_iou
from pointlift.operators.extent import Extent
from pointlift.tasks.box_coding import CodedBoxes, decode_heading, encode_heading
from pointlift.tasks.detection import LossWeights, MatchWeights
from pointlift.tasks.set_loss import Pairs, Truth, class_loss, match, match_cost, set_losses

LAYERS, BATCH, QUERIES, MOST, CLASSES, BINS = 2, 3, 5, 4, 3, 6
LABEL = torch.tensor([[0, 2, 2, -1], [1, -1, -1, -1], [-1, -1, -1, -1]])
MATCH = parse(MatchWeights, {"classes": 1.5, "centre": 0.7, "giou": 2.0}, "match")
LOSS = parse(LossWeights, {"no_object": 0.2, "centre": 3.0}, "loss")


def draw(*size, seed=0):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def boxes_of(*size, oriented, seed):
    heading = (draw(*size, 1, seed=seed + 2) - 0.5) * 6.0 * oriented
    return torch.cat([draw(*size, 3, seed=seed) * 3, draw(*size, 3, seed=seed + 1) + 0.3, heading], dim=-1)


def case(oriented):
    size = (LAYERS, BATCH, QUERIES)
    boxes = boxes_of(*size, oriented=oriented, seed=1)
    bins, residual = draw(*size, BINS * oriented, seed=7), draw(*size, BINS * oriented, seed=8) * 2 - 1
    if oriented:
        boxes[..., 6] = decode_heading(bins, residual)
    within = Extent(draw(BATCH, 3, seed=9), draw(BATCH, 3, seed=10) + 2.0)
    said = CodedBoxes(4 * draw(*size, CLASSES + 1, seed=11), boxes, bins, residual, within)
    return said, Truth(boxes_of(BATCH, MOST, oriented=oriented, seed=20), LABEL)


def cheapest(cost):
    """Of a few queries and boxes, by trying all."""
    queries, columns = cost.shape
    if not columns:
        return 0.0
    return min(sum(cost[q, m] for m, q in enumerate(each)) for each in itertools.permutations(range(queries), columns))


@pytest.mark.parametrize("oriented", [False, True])
def test_costs_are_those_of_the_formula(oriented):
    said, truth = case(oriented)
    found = match_cost(said, truth, MATCH, oriented=oriented)
    for layer, cloud, query, box in itertools.product(range(LAYERS), range(BATCH), range(QUERIES), range(MOST)):
        if truth.label[cloud, box] < 0:
            continue
        ours, theirs, edges = said.boxes[layer, cloud, query], truth.boxes[cloud, box], said.within.edges[cloud]
        wanted = -1.5 * said.logits[layer, cloud, query].softmax(0)[truth.label[cloud, box]]
        wanted = wanted + 0.7 * ((ours[:3] - theirs[:3]).abs() / edges).sum()
        wanted = wanted - 2.0 * generalised_iou(ours, theirs, oriented=oriented)
        assert float(found[layer, cloud, query, box]) == pytest.approx(float(wanted), abs=1e-9)


@pytest.mark.parametrize("oriented", [False, True])
def test_no_other_matching_is_cheaper(oriented):
    said, truth = case(oriented)
    cost, known = match_cost(said, truth, MATCH, oriented=oriented), truth.label >= 0
    pairs = match(cost, known)
    assert len(pairs.query.unique()) == len(pairs.query) == LAYERS * known.sum()
    for layer, cloud in itertools.product(range(LAYERS), range(BATCH)):
        own = pairs.query // QUERIES == layer * BATCH + cloud
        query, box = pairs.query[own] % QUERIES, pairs.truth[own] % MOST
        assert (pairs.truth[own] // MOST == cloud).all() and sorted(box) == known[cloud].nonzero()[:, 0].tolist()
        wanted = cheapest(cost[layer, cloud][:, known[cloud]].numpy())
        assert float(cost[layer, cloud, query, box].sum()) == pytest.approx(float(wanted))


def test_more_boxes_than_queries_match_every_query():
    cost = draw(1, 1, 2, 4)
    pairs = match(cost, torch.ones(1, 4, dtype=torch.bool))
    wanted = cheapest(cost[0, 0].numpy().T)
    assert len(pairs.query) == 2 and float(cost[0, 0, pairs.query, pairs.truth].sum()) == pytest.approx(float(wanted))


def test_a_cost_that_is_no_number_stops_with_words():
    with pytest.raises(FloatingPointError, match="cost of matching"):
        match(torch.full((1, 1, 2, 2), torch.nan), torch.ones(1, 2, dtype=torch.bool))


@pytest.mark.parametrize("oriented", [False, True])
def test_losses_are_those_of_the_formula(oriented):
    said, truth = case(oriented)
    found = set_losses(said, truth, MATCH, LOSS, oriented=oriented)
    pairs = match(match_cost(said, truth, MATCH, oriented=oriented), truth.label >= 0)
    wanted = dict.fromkeys(("centre_loss", "size_loss", "giou_loss", "heading_loss"), 0.0)
    of_last = []
    for flat, box in zip(pairs.query.tolist(), pairs.truth.tolist(), strict=True):
        layer, cloud, query = np.unravel_index(flat, (LAYERS, BATCH, QUERIES))
        ours, theirs = said.boxes[layer, cloud, query], truth.boxes[cloud, box % MOST]
        edges, giou = said.within.edges[cloud], generalised_iou(ours, theirs, oriented=oriented)
        wanted["centre_loss"] += 3.0 * float(((ours - theirs)[:3].abs() / edges).sum()) / 4
        wanted["size_loss"] += float(((ours - theirs)[3:6].abs() / edges).sum()) / 4
        wanted["giou_loss"] += (1.0 - float(giou)) / 4
        if oriented:
            number, place = encode_heading(theirs[6], BINS)
            off = float((said.heading_residual[layer, cloud, query, number] - place).abs())
            bins = -float(said.heading_logits[layer, cloud, query].log_softmax(0)[number])
            wanted["heading_loss"] += (0.1 * bins + 0.5 * (off * off / 2 if off < 1 else off - 0.5)) / 4
        if layer == LAYERS - 1:
            of_last.append(float(giou))
    for name in ("centre_loss", "size_loss", "giou_loss", *(["heading_loss"] if oriented else [])):
        assert float(found[name]) == pytest.approx(wanted[name]), name
    assert float(found["train_giou"]) == pytest.approx(np.mean(of_last))


def test_the_class_loss_weights_those_that_shall_say_nothing():
    logits, label = 4 * draw(2, 1, 3, 3), torch.tensor([[1, 0]])
    pairs = Pairs(torch.tensor([2, 0, 4]), torch.tensor([0, 1, 0]))
    wanted = 0.0
    for layer, classes in enumerate(([0, 2, 1], [2, 1, 2])):
        each = [-float(logits[layer, 0, row].log_softmax(0)[one]) for row, one in enumerate(classes)]
        weight = [0.2 if one == 2 else 1.0 for one in classes]
        wanted += np.dot(each, weight) / sum(weight)
    assert float(class_loss(logits, label, pairs, 0.2)) == pytest.approx(wanted)


def test_a_batch_without_boxes_learns_that_nothing_is_there():
    said, truth = case(oriented=True)
    said = said._replace(logits=said.logits.requires_grad_(), boxes=said.boxes.requires_grad_())
    values = set_losses(said, truth._replace(label=torch.full_like(LABEL, -1)), MATCH, LOSS, oriented=True)
    assert values.pop("class_loss") > 0 and all(value == 0 for value in values.values())


def test_equal_boxes_cost_nothing_but_their_class():
    said, truth = case(oriented=False)
    boxes = torch.cat([truth.boxes, truth.boxes[:, :1] + 50.0], dim=1).repeat(LAYERS, 1, 1, 1)
    values = set_losses(said._replace(boxes=boxes), truth, MATCH, LOSS, oriented=False)
    assert float(axis_aligned_iou(boxes[0, 0, :1].numpy(), truth.boxes[0, :1].numpy())[0, 0]) == pytest.approx(1.0)
    assert all(abs(float(values[name])) < 1e-9 for name in ("centre_loss", "size_loss", "giou_loss"))
    assert float(values["train_giou"]) == pytest.approx(1.0)
