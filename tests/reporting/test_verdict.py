import pytest

from pointlift.contracts.metrics import Metrics
from pointlift.reporting.cells import cells
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.summary import summary_rows
from pointlift.reporting.verdict import measured, verdicts
from reporting.fixture_metrics import draw_outcomes, make_metrics, render_with, suite_metrics


def _said(metrics: list[Metrics]) -> list[str]:
    return verdicts(cells(leaderboard_rows("mini", metrics)), summary_rows("mini", metrics))


def _two(ours: list[list[float]], theirs: list[list[float]]) -> list[Metrics]:
    metrics = [make_metrics("mcd", "mcd", seed, items) for seed, items in enumerate(ours)]
    return metrics + [make_metrics("scratch", "scratch", seed, items) for seed, items in enumerate(theirs)]


@pytest.mark.parametrize(("num_seeds", "said"), [(1, "1 seed no claim"), (2, "2 seeds no claim"), (4, "4 seeds no")])
def test_too_few_seeds_say_so_however_large_the_difference(num_seeds: int, said: str) -> None:
    sentences = _said(suite_metrics(range(num_seeds), {"mcd": 0.95, "scratch": 0.2}))
    assert len(sentences) == 1
    assert said in sentences[0]


def test_five_seeds_and_a_clear_difference_make_a_claim_that_names_each_control() -> None:
    (sentence,) = _said(suite_metrics(range(5), {"mcd": 0.8, "scratch": 0.5, "shuffled": 0.79}))
    assert (
        "mcd, classification on down (down/12-8/transfer), 5 seeds: accuracy is higher than scratch by +0." in sentence
    )
    assert "; it is not shown to differ from shuffled." in sentence


def test_a_method_that_harms_is_told_as_well() -> None:
    (sentence,) = _said(suite_metrics(range(5), {"mcd": 0.5, "scratch": 0.8}))
    assert "accuracy is lower than scratch by -0." in sentence


def test_equal_runs_make_no_claim() -> None:
    (sentence,) = _said(suite_metrics(range(6), {"mcd": 0.7, "scratch": 0.7}))
    assert "nothing here shows that a method works" in sentence


def test_an_interval_over_items_alone_is_not_enough() -> None:
    # One seed is right everywhere, the others like the control: over items that is clear, over seeds it is chance.
    base = draw_outcomes(0.5, 1)
    metrics = _two([[1.0] * 60] + [base] * 4, [base] * 5)
    row = next(row for row in leaderboard_rows("mini", metrics) if row["run"] == "mcd")
    assert float(row["delta_ci95_low"]) > 0
    assert "nothing here shows" in _said(metrics)[0]


def test_seeds_count_only_where_run_and_control_share_them() -> None:
    strong, weak = draw_outcomes(0.9, 1), draw_outcomes(0.3, 2)
    assert "nothing here shows" in _said(_two([strong] * 6, [weak] * 4))[0]
    assert "higher than scratch" in _said(_two([strong] * 6, [weak] * 5))[0]


def test_no_claim_rests_on_one_of_many_comparisons() -> None:
    metrics = suite_metrics(range(5), {"mcd": 0.8, "scratch": 0.5, "shuffled": 0.5})
    rows, summary = leaderboard_rows("mini", metrics), summary_rows("mini", metrics)
    assert "higher than scratch" in verdicts(cells(rows), summary)[0]
    chance = [row | ({"p_holm": "0.06"} if row["p_holm"] else {}) for row in rows]
    assert "so many comparisons find by chance" in verdicts(cells(chance), summary)[0]


def test_no_claim_rests_on_copies_that_nobody_names() -> None:
    strong, weak = draw_outcomes(0.9, 1), draw_outcomes(0.3, 2)
    runs = _two([strong] * 5, [weak] * 5)
    assert "higher than scratch" in _said(runs)[0]
    unknown = [run.model_copy(update={"copies_unknown": True}) for run in runs]
    assert "nothing here shows" in _said(unknown)[0]
    page = " ".join(render_with(unknown).split())
    assert "Test items are copies of fewer objects, and nothing says which" in page
    known = [run.model_copy(update={"clusters": tuple(f"o{n // 2}" for n in range(60))}) for run in runs]
    assert "Test items are copies of 30 objects" in render_with(known) and "higher than scratch" in _said(known)[0]
    assert "copies of" not in render_with(runs)


def test_a_file_that_nothing_trains_is_one_pretraining_however_many_seeds_its_control_has() -> None:
    strong, weak = draw_outcomes(0.9, 1), [draw_outcomes(0.3, seed) for seed in range(2, 7)]
    controls = [make_metrics("scratch", "scratch", seed, items) for seed, items in enumerate(weak)]

    def said(*answers: list[float]) -> str:
        theirs = [make_metrics("theirs", "init_released", seed, items) for seed, items in enumerate(answers)]
        return _said(controls + theirs)[0]

    assert "no claim can be made" in said(*[strong] * 5)
    assert "theirs, classification" in said(*[strong] * 4, draw_outcomes(0.9, 3))  # finetuned, each seed on its own


def test_of_released_weights_the_headline_does_not_say_that_nothing_was_chosen_by_test_scores() -> None:
    ours = leaderboard_rows("mini", suite_metrics([0]))
    theirs = leaderboard_rows("mini", [make_metrics("theirs", "replayed", 0, [1, 0])])
    assert "authors" not in measured("mini", ours)
    assert "Not so of weights that others released (theirs): which ones to publish their authors chose" in measured(
        "mini", ours + theirs
    )


def test_val_selection_makes_no_claim() -> None:
    metrics = suite_metrics(range(5), {"mcd": 0.9, "scratch": 0.3})
    changed = [
        item.model_copy(update={"values": tuple(v.model_copy(update={"selection": "val"}) for v in item.values)})
        for item in metrics
    ]
    assert _said(changed) == ["No run stands beside a control, so nothing can be said about a method."]


def test_the_headline_counts_what_was_measured() -> None:
    rows = leaderboard_rows("mini", suite_metrics([0, 1]))
    assert measured("mini", rows).startswith(
        "Suite mini: 4 runs judged by 1 task, 2 seeds each. Every number is of the"
    )
    assert "2 to 3 seeds" in measured("mini", rows + leaderboard_rows("mini", suite_metrics([0, 1, 2])))
