"""Scores of labelled points beside scikit-learn's, at their ends, and the lenient one of Image2Point's authors."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

from pointlift.tasks.part_scores import PartCounts, count_parts
from pointlift.tasks.semantic_scores import (
    class_iou,
    mean_class_accuracy,
    mean_iou,
    mean_iou_compat,
    point_accuracy,
    pooled,
)


def counted(label, answer, num_classes):
    label, answer = np.array(label), np.array(answer)
    return pooled(count_parts(label[None], answer[None], num_classes), np.array([0]))


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    num_classes = 13
    label = rng.choice(rng.permutation(num_classes)[: rng.integers(2, 13)], size=500)  # some classes never occur
    answer = np.where(rng.random(500) < 0.6, label, rng.choice(rng.permutation(num_classes)[:7], size=500))
    counts = counted(label, answer, num_classes)
    occurring = np.union1d(label, answer)
    found = class_iou(counts)
    assert np.flatnonzero(np.isfinite(found)).tolist() == occurring.tolist()
    np.testing.assert_allclose(found[occurring], jaccard_score(label, answer, labels=occurring, average=None))
    assert mean_iou(counts) == pytest.approx(jaccard_score(label, answer, average="macro"))
    wanted = recall_score(label, answer, labels=np.unique(label), average="macro")
    assert mean_class_accuracy(counts) == pytest.approx(wanted)
    assert point_accuracy(counts) == pytest.approx(accuracy_score(label, answer))


def test_points_without_a_class_count_nowhere():
    counts = counted([0, 1, -1, -1], [0, 1, 0, 2], 3)
    assert (counts.labelled.tolist(), counts.answered.tolist(), counts.hits.tolist()) == ([1, 1, 0],) * 3
    assert mean_iou(counts) == mean_class_accuracy(counts) == point_accuracy(counts) == 1.0


def test_a_class_that_is_answered_but_never_labelled_counts_zero_and_one_that_is_neither_is_left_out():
    assert mean_iou(counted([0, 0, 1, 1], [0, 0, 1, 2], 5)) == pytest.approx((1 + 0.5 + 0) / 3)


def test_a_shuffled_labelling_is_near_chance():
    rng = np.random.default_rng(0)
    label = rng.integers(13, size=200_000)
    counts = counted(label, rng.permutation(label), 13)
    assert mean_iou(counts) == pytest.approx(1 / 25, abs=0.002), "p = 1/13: p^2 / (2p - p^2)"
    assert mean_class_accuracy(counts) == pytest.approx(1 / 13, abs=0.003)
    assert point_accuracy(counts) == pytest.approx(1 / 13, abs=0.003)


def test_scenes_are_pooled_by_points_not_averaged():
    both = PartCounts(np.array([[90, 0], [0, 10]]), np.array([[90, 0], [10, 0]]), np.array([[90, 0], [0, 0]]))
    counts = pooled(both, np.array([0, 1]))
    assert mean_iou(counts) == pytest.approx((90 / 100 + 0) / 2)
    assert point_accuracy(counts) == 0.9
    assert mean_iou(pooled(both, np.array([True, False]))) == 1.0


def test_counts_of_a_city_do_not_overflow():
    many = np.full((3, 1), 2**31 - 1, np.int32)
    assert mean_iou(pooled(PartCounts(many, many, many), np.arange(3))) == 1.0


def test_the_authors_score_is_thirteen_of_it_and_one_by_fourteen():
    """Method page of Image2Point, 6.16: 0.60 becomes 0.628571, as the ignored class is never seen."""
    counts = PartCounts(np.full(13, 80), np.full(13, 80), np.full(13, 60))
    assert mean_iou(counts) == pytest.approx(0.60)
    assert mean_iou_compat(counts) == pytest.approx(0.628571, abs=1e-6)


def test_to_the_authors_a_class_without_labels_counts_one_even_where_it_is_answered():
    counts = counted([0, 0, 1, 1], [0, 0, 1, 2], 4)
    assert mean_iou(counts) == pytest.approx((1 + 0.5 + 0) / 3)
    assert mean_iou_compat(counts) == pytest.approx((1 + 0.5 + 1 + 1 + 1) / 5)
