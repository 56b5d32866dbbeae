"""The two accuracies against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from pointlift.tasks.judgement import accuracy, best_on_test, mean_class_accuracy, right


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


@pytest.mark.parametrize(("best", "told"), [(0.9379, 0.937), (0.789, 0.789), (1.0, 1.0), (0.0004, 0.0)])
def test_the_best_on_test_is_cut_down_to_a_tenth_of_a_percent(best, told):
    found = best_on_test("accuracy", [0.0, best, best / 2], ["a", "b"], 7)
    assert [(value.metric, value.value, value.selection) for value in found.values] == [
        ("accuracy", told, "oracle_test")
    ]
    assert (found.test_ids, found.n_train, found.outcomes) == (("a", "b"), 7, {})
