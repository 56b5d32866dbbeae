"""Neural collapse on simplices, whose numbers are known, and against slow formulas on clouds of any form."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from pointlift.tasks.collapse_measures import cdnv, class_statistics, nc1, nc2, nc3, nearest_class

NUM_CLASSES, WIDTH, RADIUS, NOISE = 7, 12, 2.0, 0.3


def simplex(num_classes=NUM_CLASSES, width=WIDTH, radius=RADIUS, seed=0):
    """Centres (num_classes, width) of a simplex equiangular tight frame, each ``radius`` from the origin."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, num_classes)))[0]
    corners = basis @ (np.eye(num_classes) - 1.0 / num_classes)
    return radius * math.sqrt(num_classes / (num_classes - 1)) * corners.T


def labels_of(centres, number):
    return np.repeat(np.arange(len(centres)), number)


def noisy(number=40, seed=1, sizes=None):
    """Unlike classes: anisotropic, of different numbers, around random centres."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(4), sizes or [number, number // 2, number, number // 4])
    spread = rng.normal(size=(4, 6, 6))
    values = rng.normal(size=(4, 6))[label] + np.einsum("sij,sj->si", spread[label], rng.normal(size=(len(label), 6)))
    return values, label


@pytest.mark.parametrize(("num_classes", "width"), [(2, 2), (3, 3), (7, 12), (40, 40)])
def test_exact_collapse_on_a_simplex(num_classes, width):
    """Spec vector 19: distances and cosines of the frame, and every measure of collapse at its end."""
    centres = simplex(num_classes, width)
    lengths = np.linalg.norm(centres, axis=1)
    np.testing.assert_allclose(lengths, RADIUS, rtol=1e-12)
    cosines = (centres @ centres.T / RADIUS**2)[~np.eye(num_classes, dtype=bool)]
    np.testing.assert_allclose(cosines, -1.0 / (num_classes - 1), atol=1e-12)
    gaps = [np.sum((centres[i] - centres[j]) ** 2) for i, j in itertools.combinations(range(num_classes), 2)]
    np.testing.assert_allclose(gaps, 2 * RADIUS**2 * num_classes / (num_classes - 1), rtol=1e-12)

    label = labels_of(centres, 5)
    found = class_statistics(centres[label], label)
    assert cdnv(found) == pytest.approx(0.0, abs=1e-25) and nc1(found) == pytest.approx(0.0, abs=1e-25)
    assert nc2(found) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert nc3(found, 0.37 * centres) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_array_equal(nearest_class(centres[label], found), label)


def test_isotropic_noise_on_a_simplex():
    """Spec vector 20: sigma^2 (C - 1)^2 / (C r^2) and d sigma^2 (C - 1) / (2 r^2 C), both .1157143."""
    closed = NOISE**2 * (NUM_CLASSES - 1) ** 2 / (NUM_CLASSES * RADIUS**2)
    variance = WIDTH * NOISE**2 * (NUM_CLASSES - 1) / (2 * RADIUS**2 * NUM_CLASSES)
    assert (closed, variance) == pytest.approx((0.1157143, 0.1157143), abs=5e-8)
    centres, rng = simplex(), np.random.default_rng(3)
    label = labels_of(centres, 4000)
    found = class_statistics(centres[label] + NOISE * rng.normal(size=(len(label), WIDTH)), label)
    assert nc1(found) == pytest.approx(closed, rel=0.01)
    assert cdnv(found) == pytest.approx(variance, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_scale_rotation_and_place_change_nothing(seed):
    """Spec vector 21."""
    rng = np.random.default_rng(seed)
    values, label = noisy(seed=seed)
    moved = 5.3 * values @ ortho_group.rvs(6, random_state=seed) + rng.normal(size=6)
    before, after = class_statistics(values, label), class_statistics(moved, label)
    assert cdnv(after) == pytest.approx(cdnv(before), rel=1e-9)
    assert nc1(after) == pytest.approx(nc1(before), rel=1e-9)
    assert nc2(after) == pytest.approx(nc2(before), rel=1e-9)


def test_nc1_is_blind_to_linear_maps_where_classes_vary_only_between_their_centres():
    """Spec vector 21: where Sigma_W lies in the span of Sigma_B, and else not."""
    rng, (values, label) = np.random.default_rng(5), noisy()
    mapped = rng.normal(size=(6, 6))
    statistics = class_statistics(values, label)
    span = np.linalg.svd(statistics.centred, full_matrices=False)[2][:3]
    flat = values @ span.T @ span
    inside, outside = class_statistics(flat, label), class_statistics(flat @ mapped, label)
    assert nc1(outside) == pytest.approx(nc1(inside), rel=1e-8)
    assert nc1(class_statistics(values @ mapped, label)) != pytest.approx(nc1(statistics), rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_against_explicit_covariances(seed):
    """NC1 by an eigendecomposition of the two covariances, CDNV pair by pair; classes of different numbers."""
    values, label = noisy(seed=seed)
    means = np.array([values[label == k].mean(0) for k in range(4)])
    middle = means.mean(0)
    between = sum(np.outer(mean - middle, mean - middle) for mean in means) / 4
    within = sum(np.cov(values[label == k].T, bias=True) for k in range(4)) / 4
    size, vector = scipy.linalg.eigh(between)
    inverse = sum(np.outer(vector[:, -k], vector[:, -k]) / size[-k] for k in (1, 2, 3))
    np.testing.assert_allclose(inverse, scipy.linalg.pinvh(between, rtol=1e-10), rtol=1e-6, atol=1e-9)
    found = class_statistics(values, label)
    assert nc1(found) == pytest.approx(np.trace(within @ inverse) / 4, rel=1e-9)
    pairs = [
        (np.trace(np.cov(values[label == i].T, bias=True)) + np.trace(np.cov(values[label == j].T, bias=True)))
        / (2 * np.sum((means[i] - means[j]) ** 2))
        for i, j in itertools.permutations(range(4), 2)
    ]
    assert cdnv(found) == pytest.approx(np.mean(pairs), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), width=st.integers(1, 5))
def test_fewer_dimensions_than_classes_cut_the_rank_further(seed, width):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(6), 4)
    values = rng.normal(size=(24, width))
    means = np.array([values[label == k].mean(0) for k in range(6)])
    between = np.cov(means.T, bias=True).reshape(width, width)
    within = np.mean([np.cov(values[label == k].T, bias=True).reshape(width, width) for k in range(6)], axis=0)
    expected = np.trace(within @ np.linalg.inv(between)) / 6
    assert nc1(class_statistics(values, label)) == pytest.approx(expected, rel=1e-6)


def test_directions_along_which_float32_centres_differ_by_rounding_alone_are_not_seen():
    """Centres on one line, and two of four that are one: what rounding leaves would be divided by, 1e11 and more."""
    rng = np.random.default_rng(0)
    around, line = rng.normal(size=(50, 64)), rng.normal(size=64)
    around -= around.mean(axis=0)
    label = np.repeat(np.arange(3), 50)
    exact = np.concatenate([place * line + around for place in (0.1, 0.7, 1.3)])
    unit = line / np.linalg.norm(line)
    expected = ((around @ unit) ** 2).mean() / (0.24 * line @ line) / 3  # places vary by .24 around their mean
    assert nc1(class_statistics(exact.astype(np.float32), label)) == pytest.approx(expected, rel=1e-4)
    far = np.float32(10) + rng.normal(size=(4, 64)).astype(np.float32)[[0, 0, 1, 2]]
    values = np.concatenate([centre + around.astype(np.float32) for centre in far])
    values[50:100] *= np.float32(1.0000001)
    assert nc1(class_statistics(values, np.repeat(np.arange(4), 50))) < 1.0


def test_nc2_by_hand():
    """Three centres around the origin: lengths 3, 4, 5, of which the first two stand at a right angle."""
    centres = np.array([[3.0, 0.0], [0.0, 4.0], [-3.0, -4.0]])
    label = np.repeat(np.arange(3), 2)
    spread, angles, gap = nc2(class_statistics(np.repeat(centres, 2, axis=0) + 7.0, label))
    cosines = np.array([0.0, -3 / 5, -4 / 5])
    assert spread == pytest.approx(np.std([3, 4, 5]) / 4)
    assert angles == pytest.approx(cosines.std())
    assert gap == pytest.approx(np.abs(cosines + 0.5).mean())


def test_nc3_is_two_where_the_classifier_says_the_opposite_and_root_two_at_right_angles():
    centres = np.eye(6)[:3] - np.eye(6)[:3].mean(axis=0)
    statistics = class_statistics(np.repeat(centres, 2, axis=0), np.repeat(np.arange(3), 2))
    assert nc3(statistics, -4.0 * centres) == pytest.approx(2.0)
    assert nc3(statistics, np.eye(6)[3:]) == pytest.approx(math.sqrt(2.0))


def test_nc3_reads_the_rows_of_the_classes_that_occur():
    weight = simplex(5, 8)
    label = np.array([1, 1, 3, 3, 4, 4])
    kept = weight[[1, 3, 4]] - weight[[1, 3, 4]].mean(axis=0)
    found = nc3(class_statistics(kept[[0, 0, 1, 1, 2, 2]], label), weight)
    rows = weight[[1, 3, 4]]
    assert found == pytest.approx(np.linalg.norm(rows / np.linalg.norm(rows) - kept / np.linalg.norm(kept)))


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_centre_by_all_distances(seed):
    values, label = noisy(seed=seed)
    others = noisy(seed=seed + 50)[0] + 1e3
    found = class_statistics(values + 1e3, label)
    distances = np.linalg.norm(others[:, None] - found.centre[None], axis=2)
    np.testing.assert_array_equal(nearest_class(others, found), distances.argmin(axis=1))


def test_what_has_no_value_has_none():
    """Embeddings that are all the same, as those of a network without a living unit: float32 noise is no structure."""
    label = np.repeat(np.arange(3), 4)
    dead = np.full((12, 5), 0.1, np.float32)
    found = class_statistics(dead, label)
    assert (cdnv(found), nc1(found), nc2(found), nc3(found, np.ones((3, 5)))) == (None,) * 4
    two_of_three = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0]], np.float32)
    found = class_statistics(two_of_three[label], label)
    assert cdnv(found) is None and nc1(found) == 0.0
    assert nc3(class_statistics(np.eye(3)[label], label), np.zeros((3, 3))) is None
    with pytest.raises(ValueError, match="at least two classes"):
        class_statistics(dead, np.zeros(12, int))
