"""The two accuracies against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from pointlift.tasks.judgement import accuracy, mean_class_accuracy, right


@pytest.mark.parametrize("seed", range(5))
def test_accuracies_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    label = rng.choice(5, size=200, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    answer = np.where(rng.uniform(size=200) < 0.7, label, rng.choice(np.unique(label), size=200))
    assert accuracy(answer, label) == pytest.approx(accuracy_score(label, answer))
    assert mean_class_accuracy(answer, label) == pytest.approx(balanced_accuracy_score(label, answer))
    assert np.mean(right(answer, label)) == pytest.approx(accuracy(answer, label))


def test_a_rare_class_counts_as_much_as_a_common_one():
    label, answer = np.array([0] * 9 + [1]), np.zeros(10, dtype=int)
    assert accuracy(answer, label) == 0.9
    assert mean_class_accuracy(answer, label) == 0.5


def test_an_answer_of_a_class_that_does_not_occur_is_wrong_and_makes_no_class():
    assert mean_class_accuracy(np.array([0, 7]), np.array([0, 1])) == 0.5
