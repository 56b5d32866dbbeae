"""Few-shot draws: exact, nested, the same for all runs; values and spread over draws."""

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import mistakes, parse
from pointlift.tasks.few_shot import Settings, build
from pointlift.tasks.shapes import Shapes


def shapes(spread: float = 0.8, seed: int = 0, sizes=(12, 12, 12)) -> Shapes:
    """Per class: so many training shapes, 2 for val, 10 for test."""
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.full(size + 12, one) for one, size in enumerate(sizes)])
    split = np.concatenate([np.repeat([0, 1, 2], [size, 2, 10]) for size in sizes]).astype(np.uint8)
    values = np.random.default_rng(50).normal(size=(len(sizes), 5))[label] + spread * rng.normal(size=(len(label), 5))
    ids = tuple(f"class{one}-{number:03d}" for number, one in enumerate(label))
    return Shapes(ids, values.astype(np.float32), label, split, len(sizes))


def task(**changes):
    return build(parse(Settings, {"kind": "few_shot", "dataset": "toy", "shots": [1, 3, 5, 12], **changes}, "task"))


@pytest.mark.parametrize("number", range(4))
def test_draws_are_exact_nested_and_from_train_alone(number):
    whole, previous = shapes(), set()
    for shots in (1, 3, 5, 12):
        rows = task().draw(whole, shots, number)
        assert np.bincount(whole.label[rows]).tolist() == [shots] * 3
        assert set(whole.split[rows].tolist()) == {0}
        assert previous < set(rows.tolist())
        previous = set(rows.tolist())


def test_draws_differ_from_one_another():
    rows = [task().draw(shapes(), 3, number) for number in range(10)]
    assert len({row.tobytes() for row in rows}) == 10


def test_draws_hang_on_ids_alone():
    one, other = shapes(), shapes(spread=9.0, seed=1)  # another run's embeddings
    for number in range(3):
        np.testing.assert_array_equal(task().draw(one, 3, number), task().draw(other, 3, number))
    order = np.random.default_rng(0).permutation(len(one.ids))
    mixed = Shapes(tuple(one.ids[r] for r in order), one.values[order], one.label[order], one.split[order], 3)
    names = [{whole.ids[row] for row in task().draw(whole, 3, 0)} for whole in (one, mixed)]
    assert names[0] == names[1]


def test_every_shape_is_drawn_in_the_long_run():
    whole = shapes()
    counts = np.zeros(len(whole.ids))
    for number in range(600):
        counts[task().draw(whole, 3, number)] += 1
    train = counts[whole.split == 0]
    assert not counts[whole.split > 0].any()
    assert np.abs(train - 150).max() < 5 * np.sqrt(600 * 0.25 * 0.75)


def test_a_class_with_too_few_shapes_is_named():
    with pytest.raises(ArtifactError, match=r"class 1 .*has 4; lower shots"):
        task(shots=[1, 5]).evaluate(shapes(sizes=(12, 4, 12)))


def test_values_are_mean_and_sample_spread_over_draws():
    found = task(draws=6).evaluate(shapes())
    values = {value.metric: value.value for value in found.values}
    single = []
    for number in range(6):
        only = task(draws=6)
        only.draw = lambda whole, shots, _, number=number: task().draw(whole, shots, number)
        single.append({value.metric: value.value for value in only.evaluate(shapes()).values})
    for shots in (1, 3, 5):
        each = [one[f"accuracy_{shots}_shot"] for one in single]
        assert values[f"accuracy_{shots}_shot"] == pytest.approx(np.mean(each))
        assert values[f"accuracy_{shots}_shot_sd"] == pytest.approx(np.std(each, ddof=1))
        assert np.mean(found.outcomes[f"accuracy_{shots}_shot"]) == pytest.approx(np.mean(each))


def test_all_shapes_drawn_leave_no_spread():
    values = {value.metric: value.value for value in task().evaluate(shapes()).values}
    assert values["accuracy_12_shot_sd"] == 0.0
    assert values["accuracy_1_shot_sd"] > 0.0


def test_one_draw_has_no_spread_to_tell():
    assert all(not value.metric.endswith("_sd") for value in task(draws=1).evaluate(shapes()).values)


def test_more_shots_help():
    values = {value.metric: value.value for value in task().evaluate(shapes()).values}
    assert values["accuracy_1_shot"] < values["accuracy_12_shot"]


def test_labels_of_shapes_that_were_not_drawn_stay_unread():
    whole = shapes()
    drawn = task(shots=[3], draws=1).draw(whole, 3, 0)
    label = whole.label.copy()
    wrong = np.setdiff1d(np.flatnonzero(whole.split == 0), drawn)
    found = task(shots=[3], draws=1)
    found.draw = lambda *_: drawn
    expected = found.evaluate(whole).outcomes
    label[wrong] = (label[wrong] + 1) % 3
    assert found.evaluate(Shapes(whole.ids, whole.values, label, whole.split, 3)).outcomes == expected


@pytest.mark.parametrize("shots", [[3, 1], [1, 1], [0, 1], []])
def test_shots_must_rise(shots):
    assert mistakes(Settings, {"kind": "few_shot", "dataset": "toy", "shots": shots}, "tasks.few")
