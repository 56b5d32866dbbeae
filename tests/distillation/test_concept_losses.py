"""Matching against every permutation, losses against their formulas in float64, and what changes neither."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from pointlift.distillation.concept_losses import (
    assignment,
    averaged,
    contrast,
    distance,
    matched,
    retrieved,
    similarity_among,
    token_distance,
    unit,
)

BATCH, WIDTH = 4, 7


def rows(count, seed, batch=BATCH, width=WIDTH):
    return torch.randn(batch, count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(one, other):
    return float(np.dot(one, other) / math.sqrt(np.dot(one, one) * np.dot(other, other)))


def largest_sum(concepts, targets):
    """Over all ways to give each of the fewer ones a partner of its own; concepts (M, D), targets (V, D)."""
    fewer, more = sorted((concepts.numpy(), targets.numpy()), key=len)
    ways = itertools.permutations(range(len(more)), len(fewer))
    return max(sum(cosine(one, more[number]) for one, number in zip(fewer, way, strict=True)) for way in ways)


@pytest.mark.parametrize(("num_concepts", "num_views"), [(1, 1), (2, 2), (5, 5), (3, 5), (5, 2), (1, 4), (4, 1)])
def test_matching_is_the_best_of_all_ways(num_concepts, num_views):
    concepts, targets = 3.0 * rows(num_concepts, 1), unit(rows(num_views, 2))
    pairs = min(num_concepts, num_views)
    wanted = np.mean([largest_sum(*pair) / pairs for pair in zip(concepts, targets, strict=True)])
    compared = matched(concepts, targets)
    assert compared[0].shape == compared[1].shape == (BATCH, pairs, WIDTH)
    assert distance(*compared, "cosine").item() == pytest.approx(1.0 - wanted, abs=1e-12)


@pytest.mark.parametrize(("num_concepts", "num_views"), [(10, 10), (10, 12), (32, 10)])
def test_matching_is_scipys_for_each_shape_alone(num_concepts, num_views):
    concepts, targets = rows(num_concepts, 1), unit(rows(num_views, 2))
    found = assignment(concepts, targets)
    for concept_MD, target_VD, concept_K, view_K in zip(concepts, targets, *found, strict=True):
        cosines = np.array([[cosine(concept, target) for target in target_VD] for concept in concept_MD])
        wanted = linear_sum_assignment(-cosines)
        assert concept_K.tolist() == wanted[0].tolist()
        assert view_K.tolist() == wanted[1].tolist()


def test_the_order_of_views_and_of_concepts_does_not_change_the_matched_loss():
    concepts, targets = rows(6, 1).requires_grad_(), unit(rows(6, 2))
    value = distance(*matched(concepts, targets), "cosine")
    value.backward()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    by_view = distance(*matched(concepts, targets[:, order]), "cosine")
    turned = concepts.detach()[:, order].requires_grad_()
    by_concept = distance(*matched(turned, targets), "cosine")
    by_concept.backward()
    assert by_view.item() == pytest.approx(value.item(), abs=1e-12)
    assert by_concept.item() == pytest.approx(value.item(), abs=1e-12)
    torch.testing.assert_close(turned.grad, concepts.grad[:, order], rtol=0, atol=1e-12)
    in_order = distance(concepts[:, order], targets, "cosine").item()
    assert in_order > value.item() + 1e-3, "without matching the order does matter"


def test_who_is_matched_carries_no_gradient_and_who_is_not_gets_none():
    concepts, targets = rows(5, 1).requires_grad_(), unit(rows(3, 2))
    assert not any(index.requires_grad for index in assignment(concepts, targets))
    distance(*matched(concepts, targets), "cosine").backward()
    assert (concepts.grad.abs().sum(dim=2) > 0).sum(dim=1).tolist() == [3] * BATCH


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_concepts_that_are_not_finite_are_said_to_be(bad):
    concepts = rows(3, 1)
    concepts[1, 2, 0] = bad
    with pytest.raises(FloatingPointError, match="not finite"):
        matched(concepts, unit(rows(3, 2)))


def test_regression_equals_its_formula():
    concepts, targets = rows(3, 1), unit(rows(5, 2))
    pairs = averaged(concepts, targets)
    by_cosine, by_size = [], []
    for shape, views in zip(concepts.numpy(), targets.numpy(), strict=True):
        mean = sum(shape) / 3
        for view in views:
            by_cosine.append(1.0 - cosine(mean, view))
            gaps = np.abs(mean - view)
            by_size.append(np.mean([0.5 * gap * gap if gap < 1.0 else gap - 0.5 for gap in gaps]))
    assert distance(*pairs, "cosine").item() == pytest.approx(np.mean(by_cosine), abs=1e-12)
    assert distance(*pairs, "smooth_l1").item() == pytest.approx(np.mean(by_size), abs=1e-12)


@pytest.mark.parametrize("num_views", [1, 3])
def test_contrast_equals_its_formula(num_views):
    concepts, targets, temperature = rows(3, 1), unit(rows(num_views, 2)), 0.07
    means, total = [sum(shape) / 3 for shape in concepts.numpy()], 0.0
    for view in range(num_views):
        logits = np.array([[cosine(mean, target) / temperature for target in targets[:, view]] for mean in means])
        for way in (logits, logits.T):
            total += sum(np.log(np.exp(row).sum()) - row[number] for number, row in enumerate(way)) / BATCH
    value = contrast(concepts, targets, temperature).item()
    assert value == pytest.approx(total / (2 * num_views), rel=1e-10)


def test_contrast_is_near_zero_when_every_shape_knows_its_view():
    targets = unit(torch.eye(BATCH, WIDTH, dtype=torch.float64))[:, None].expand(-1, 2, -1)
    assert contrast(5.0 * targets[:, :1], targets, 0.07).item() < 1e-5
    assert contrast(torch.ones(BATCH, 1, WIDTH, dtype=torch.float64), targets, 0.07).item() == pytest.approx(
        math.log(BATCH)
    )


def test_token_distance_equals_its_formula_and_its_target_is_fixed():
    concepts, tokens, temperature = rows(3, 1).requires_grad_(), unit(rows(6, 2)).requires_grad_(), 0.1
    found, wanted = [], []
    for shape, patches in zip(concepts.detach().numpy(), tokens.detach().numpy(), strict=True):
        for concept in shape:
            weights = np.exp([cosine(concept, patch) / temperature for patch in patches])
            wanted.append(weights @ patches / weights.sum())
            found.append(1.0 - cosine(concept, wanted[-1]))
    value = token_distance(concepts, tokens, temperature)
    value.backward()
    assert value.item() == pytest.approx(np.mean(found), abs=1e-12)
    assert tokens.grad is None
    fixed = torch.from_numpy(np.array(wanted)).reshape(BATCH, 3, WIDTH)
    alone = concepts.detach().requires_grad_()
    distance(alone, fixed, "cosine").backward()
    torch.testing.assert_close(concepts.grad, alone.grad, rtol=0, atol=1e-12)


def test_token_distance_does_not_ask_for_the_order_of_tokens_or_the_length_of_concepts():
    concepts, tokens = rows(3, 1), unit(rows(6, 2))
    value = token_distance(concepts, tokens, 0.1).item()
    assert token_distance(9.0 * concepts, tokens.flip(1), 0.1).item() == pytest.approx(value, abs=1e-12)


def test_similarity_among_concepts_is_the_mean_over_pairs():
    concepts = rows(4, 1)
    pairs = [cosine(*pair) for shape in concepts.numpy() for pair in itertools.combinations(shape, 2)]
    assert similarity_among(concepts).item() == pytest.approx(np.mean(pairs), abs=1e-12)
    assert similarity_among(concepts[:, :1].expand(-1, 4, -1)).item() == pytest.approx(1.0, abs=1e-12)


def test_retrieval_counts_shapes_nearest_to_their_own_views():
    targets = unit(rows(3, 2))
    concepts = targets.mean(dim=1, keepdim=True).clone()
    assert retrieved(concepts, targets).item() == 1.0
    concepts[[0, 1]] = concepts[[1, 0]]
    assert retrieved(concepts, targets).item() == 0.5


def constants(loss, targets, steps=300):
    """What the best constant concepts (the same for every shape) come to; every shape sees the same M rows."""
    torch.manual_seed(0)
    found = torch.randn(1, targets.shape[1], targets.shape[2], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([found], lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        value = loss(found.expand(len(targets), -1, -1), targets)
        value.backward()
        optimiser.step()
    return value.item()


def test_no_constant_satisfies_a_loss():
    """Targets are fixed, so saying the same of every shape is no solution: the losses stay well above zero.

    In closed form: a constant f has a mean cosine of at most |mean of all targets|, and InfoNCE of at least log B.
    """
    targets = unit(rows(4, 5, batch=8, width=16))
    regression = constants(lambda concepts, wanted: distance(*averaged(concepts, wanted), "cosine"), targets)
    assert regression == pytest.approx(1.0 - targets.mean(dim=(0, 1)).norm().item(), abs=1e-4)
    assert regression > 0.5
    assert constants(lambda concepts, wanted: distance(*matched(concepts, wanted), "cosine"), targets) > 0.4
    assert constants(lambda concepts, wanted: contrast(concepts, wanted, 0.07), targets) >= math.log(8) - 1e-9
