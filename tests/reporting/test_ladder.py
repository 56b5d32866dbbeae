"""The inflation ladder: rungs by hand, the known expectation of the best of k, and that it stays out of all results."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.reporting.cells import cells
from pointlift.reporting.ladder import ladder_rows, rungs
from pointlift.reporting.ladder_page import WATERMARK, ladder_tables, step_chart
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.page import render_page
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.statistics import expected_maximum
from pointlift.reporting.summary import summary_rows
from pointlift.reporting.tables import LADDER_COLUMNS, Row, read_table, write_table
from reporting.fixture_metrics import draw_outcomes, make_metrics

#: Expectation of the largest of k standard normal draws, as tabled (David and Nagaraja, Order Statistics).
TABLED = {2: 0.56419, 5: 1.16296, 8: 1.42360}


def audited(
    seed: int, on_test: Sequence[float], votes: Sequence[float] = (), val: float | None = None, run: str = "mcd"
) -> Metrics:
    """One run and seed with these looks at test, the last of them its headline."""
    values: list[dict[str, Any]] = [{"metric": "accuracy", "value": on_test[-1], "selection": "last"}]
    values += [] if val is None else [{"metric": "accuracy", "value": val, "selection": "val"}]
    audit = {"on_test": {"accuracy": tuple(on_test)}, "votes": {"accuracy": tuple(votes)} if votes else {}}
    return make_metrics(run, "mcd", seed, [1.0], values=tuple(values), outcomes={}, audit=audit)


def by_rung(rows: Sequence[Row], *columns: str) -> dict[str, tuple[str, ...]]:
    return {row["rung"]: tuple(row[name] for name in columns) for row in rows}


def suite_with_audit() -> list[Metrics]:
    """Two runs, two seeds; every audit number is above every result, so that one can tell where it stands."""
    found = []
    for run, arm, rate in (("mcd", "mcd", 0.8), ("scratch", "scratch", 0.6)):
        for seed in (0, 1):
            one = make_metrics(run, arm, seed, draw_outcomes(rate, seed))
            last = one.values[0].value
            audit = {"on_test": {"accuracy": (0.97531, last)}, "votes": {"accuracy": (0.98642, 0.5)}}
            values = (*one.values, {"metric": "accuracy", "value": last, "selection": "val"})
            found.append(make_metrics(run, arm, seed, draw_outcomes(rate, seed), values=values, audit=audit))
    return found


def test_rungs_by_hand() -> None:
    seeds = [audited(0, [0.5, 0.9, 0.7], [0.8, 0.6], val=0.5), audited(1, [0.6, 0.7, 0.5], [0.95, 0.4], val=0.7)]
    rows = ladder_rows("mini", seeds)
    assert by_rung(rows, "selection", "k", "value", "added") == {
        "last": ("last", "", "0.6", ""),
        "val": ("val", "3", "0.6", "0"),
        "oracle_epoch": ("oracle_test", "3", "0.8", "0.2"),
        "best_seed": ("oracle_test", "2", "0.9", "0.1"),
        "best_vote": ("oracle_test", "2", "0.95", "0.05"),
    }
    spread = by_rung(rows, "sd", "expected")
    assert float(spread["oracle_epoch"][0]) == pytest.approx(np.std([0.9, 0.7], ddof=1))
    # The larger of two normal draws is 1 / sqrt(pi) standard deviations above their mean.
    assert float(spread["best_seed"][1]) == pytest.approx(0.8 + np.std([0.9, 0.7], ddof=1) / np.sqrt(np.pi))
    assert spread["best_vote"] == spread["last"][1:] + spread["best_vote"][1:]


def test_what_there_is_nothing_for_is_left_out() -> None:
    assert list(by_rung(ladder_rows("mini", [audited(0, [0.5, 0.7])]))) == ["last", "oracle_epoch"]
    assert list(by_rung(ladder_rows("mini", [audited(0, [0.7], val=0.7)]))) == ["last"]  # one look is no choice
    assert list(by_rung(ladder_rows("mini", [audited(0, [0.7], [0.8])]))) == ["last", "best_vote"]
    half = [audited(0, [0.5, 0.7], [0.8], val=0.5), audited(1, [0.5, 0.7])]  # val and votes of one seed alone
    assert list(by_rung(ladder_rows("mini", half))) == ["last", "oracle_epoch", "best_seed"]
    assert ladder_rows("mini", [make_metrics("mcd", "mcd", 0, [1.0, 0.0])]) == []
    authors = {"metric": "accuracy", "value": 0.9, "selection": "oracle_test"}
    assert ladder_rows("mini", [make_metrics("mcd", "mcd", 0, [1.0], values=(authors,), outcomes={})]) == []


def test_a_vote_below_the_best_seed_adds_nothing() -> None:
    rows = ladder_rows("mini", [audited(0, [0.9], [0.1, 0.2]), audited(1, [0.8], [0.3, 0.2])])
    assert by_rung(rows, "value", "added")["best_vote"] == ("0.9", "0")


def test_no_choice_by_test_scores_lowers_a_rung() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        seeds = [audited(s, rng.random(4).tolist(), rng.random(3).tolist(), val=rng.random()) for s in range(3)]
        found = {rung.name: rung.value for rung in rungs(seeds, "accuracy")}
        assert found["last"] <= found["oracle_epoch"] <= found["best_seed"] <= found["best_vote"]


@pytest.mark.parametrize("k", sorted(TABLED))
def test_the_best_of_k_normal_seeds_is_what_theory_says(k: int) -> None:
    """On average over 4,000 suites of k runs that are alike; within four standard errors of the tabled expectation."""
    draws = np.random.default_rng(k).normal(0.7, 0.02, size=(4000, k))
    found = {"best_seed": [], "expected": []}  # type: dict[str, list[float]]
    for values in draws:
        rung = rungs([audited(seed, [value]) for seed, value in enumerate(values)], "accuracy")[-1]
        assert (rung.name, rung.k) == ("best_seed", k)
        found["best_seed"].append((rung.value - 0.7) / 0.02)
        found["expected"].append(rung.expected)
    error = np.std(found["best_seed"]) / np.sqrt(len(draws))
    assert np.mean(found["best_seed"]) == pytest.approx(TABLED[k], abs=4 * error)
    assert expected_maximum(k) == pytest.approx(TABLED[k], abs=1e-5)


def test_an_audit_of_another_training_is_refused() -> None:
    other = audited(0, [0.5, 0.7])
    wrong = other.model_copy(update={"audit": audited(0, [0.5, 0.6]).audit})
    with pytest.raises(ArtifactError, match=r"run mcd, .*, seed 0: the last look of the audit of accuracy is not its"):
        ladder_rows("mini", [wrong])


def test_the_table_is_the_same_whatever_the_order(tmp_path: Any) -> None:
    metrics = suite_with_audit()
    rows = ladder_rows("mini", metrics)
    random.Random(0).shuffle(metrics)
    assert ladder_rows("mini", metrics) == rows
    write_table(tmp_path / "ladder.csv", LADDER_COLUMNS, rows)
    assert read_table(tmp_path / "ladder.csv", LADDER_COLUMNS) == rows


def test_no_other_table_holds_a_number_that_was_chosen_by_test_scores() -> None:
    """Unless a published protocol is in its row's name."""
    metrics = suite_with_audit()
    assert "0.97531" in str(ladder_rows("mini", metrics)) and "0.98642" in str(ladder_rows("mini", metrics))
    bare = [item.model_copy(update={"audit": type(item.audit)()}) for item in metrics]
    for make in (summary_rows, leaderboard_rows):
        rows = make("mini", metrics)
        assert rows == make("mini", bare)
        assert {row["selection"] for row in rows} == {"last", "val"}
        assert not any(text in str(rows) for text in ("0.97531", "0.98642"))


def test_a_reader_sees_runs_by_rungs_with_what_each_adds() -> None:
    metrics = suite_with_audit()
    board = cells(leaderboard_rows("mini", metrics))
    shown = [cell for cell in board if cell.primary and cell.selection == "last"]
    (table,) = ladder_tables(ladder_rows("mini", metrics), shown)
    assert table.title == shown[0].title
    assert table.rungs == ("last", "best val", "best test", "best seed", "best vote")
    assert [line.run for line in table.lines] == ["mcd", "scratch"]
    last = np.mean([item.values[0].value for item in metrics if item.run == "mcd"])
    steps = table.lines[0].steps
    assert steps[0] == (f"{last:.3f}", "", "")
    assert steps[2] == ("0.975", f"{0.97531 - last:+.3f}", "of 2 looks")
    assert steps[3] == ("0.975", "+0.000", "of 2 seeds; 0.975 by chance")
    assert steps[4] == ("0.986", "+0.011", "of 2 votes a seed")
    assert ladder_tables([], shown) == []
    alone = [row for row in ladder_rows("mini", metrics) if row["rung"] == "last"]
    assert ladder_tables(alone, shown) == []  # a headline without more is no ladder


def test_the_page_shows_it_watermarked_and_apart() -> None:
    def page(ladder: Sequence[Row]) -> str:
        rows = {"summary": summary_rows("mini", metrics), "leaderboard": leaderboard_rows("mini", metrics)}
        empty: dict[str, Any] = {"cost": [], "quarantine": [], "trainings": [], "sheets": [], "provenance": {}}
        return render_page(PageSettings(suite="mini", seeds=(0, 1)), ladder=ladder, **rows, **empty)

    metrics = suite_with_audit()
    before, shown = page([]).split('<h2 id="training">')[0], page(ladder_rows("mini", metrics))
    ours, section = shown.split('<h2 id="training">')[0].split('<h2 id="ladder">')
    assert 'id="ladder"' not in before and 'class="audit"' not in before
    assert section.startswith("What selecting on the test split would add (audit, no result)")
    assert section.count('<div class="audit">') == section.count("<table>") == 1
    assert section.count('class="watermark"') == section.count("<svg") == 1
    assert "+0.011" in section and "0.986" in section and "0.986" not in ours
    assert ours.replace('<a href="#ladder">Audit</a>', "").rstrip() == before.rstrip()


def test_runs_that_would_share_a_colour_stand_in_charts_of_their_own() -> None:
    metrics = [audited(0, [0.5 + 0.01 * number, 0.5], run=f"run{number:02d}") for number in range(8)]
    (table,) = ladder_tables(ladder_rows("mini", metrics), cells(leaderboard_rows("mini", metrics)))
    assert [names for _, names in table.charts] == [
        tuple(f"run{n:02d}" for n in part) for part in (range(4), range(4, 8))
    ]


def test_a_chart_is_a_stair_and_says_that_it_is_no_result() -> None:
    runs = {"a": {"last": 0.5, "oracle_epoch": 0.75, "best_vote": 1.0}, "<b>": {"last": 0.5, "best_vote": 1.0}}
    chart = str(step_chart("t", ("last", "oracle_epoch", "best_vote"), runs))
    assert chart.count(f">{WATERMARK}</text>") == 1 and f"t, {WATERMARK}" in chart
    assert "<b>" not in chart and "&lt;b&gt;" in chart
    stairs = [part.split('"')[0].split() for part in chart.split('points="')[1:]]
    places = [[tuple(map(float, corner.split(","))) for corner in stair] for stair in stairs]
    heights = [[y for _, y in stair] for stair in places]
    assert [x for x, _ in places[0]] == [x for x, _ in places[1]]
    assert heights[0][0] == heights[0][1] > heights[0][2] == heights[0][3] > heights[0][4] == heights[0][5]
    assert heights[0][2] == pytest.approx((heights[0][0] + heights[0][4]) / 2, abs=0.11)
    assert heights[1] == [heights[0][0]] * 4 + heights[0][4:]  # no rung between: it stays where it was


def test_equal_numbers_have_a_chart_too() -> None:
    assert "nan" not in str(step_chart("t", ("last", "val"), {"a": {"last": 0.0, "val": 0.0}}))
