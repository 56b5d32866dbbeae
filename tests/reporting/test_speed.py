"""Steps to a target in words and ratios: means of those who arrived, and plainly who did not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pointlift.contracts.metrics import Metrics
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.slices import PageSettings, SpeedEntry
from pointlift.reporting.speed import seconds_per_step, speed_tables, step_ratio
from pointlift.reporting.summary import summary_rows
from reporting.fixture_metrics import make_metrics, render_with

PLACE = {"task": "speed_to_target", "protocol": "down/12-8/target75/transfer"}


def speed(run: str, arm: str, seed: int, steps: int | None) -> Metrics:
    values = [{"metric": "reached", "value": float(steps is not None)}]
    if steps is not None:
        values += [{"metric": "steps_to_target", "value": float(steps)}]
        values += [{"metric": "epochs_to_target", "value": steps / 10}]
        values += [{"metric": "accuracy_at_target", "value": 0.5, "selection": "val"}]
    curve = {"outcomes": {"val_accuracy_by_epoch": (0.1, 0.2)}, "items": {"val_accuracy_by_epoch": ("2", "3")}}
    return make_metrics(run, arm, seed, [1.0, 0.0], values=tuple(values), teacher="", method="x", **curve, **PLACE)


STEPS = {"scratch": (100, 200, 300, None, 100), "all": (50, 50, 100, 40, None), "io": (None,) * 5}


def found() -> list[Metrics]:
    return [speed(run, run, seed, steps) for run in STEPS for seed, steps in enumerate(STEPS[run])]


def tables(seconds=None):
    metrics = found()
    return speed_tables(summary_rows("mini", metrics), leaderboard_rows("mini", metrics), seconds or {})


def test_a_ratio_is_a_geometric_mean_over_seeds_in_which_both_arrived():
    ratio = step_ratio({"0": 100.0, "1": 200.0, "2": 300.0, "4": 100.0}, {"0": 50.0, "1": 50.0, "2": 100.0, "3": 40.0})
    assert ratio is not None and ratio.num_seeds == 3
    assert ratio.mean == pytest.approx((2 * 4 * 3) ** (1 / 3))
    logs = np.log([2.0, 4.0, 3.0])
    low, high = stats.t.interval(0.95, 2, logs.mean(), logs.std(ddof=1) / math.sqrt(3))
    assert ratio.interval is not None
    assert (ratio.interval.low, ratio.interval.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_twice_and_half_as_fast_cancel():
    ratio = step_ratio({"0": 10.0, "1": 40.0}, {"0": 20.0, "1": 20.0})
    assert ratio is not None and ratio.mean == pytest.approx(1.0)
    one = step_ratio({"0": 10.0}, {"0": 20.0})
    assert one is not None and (one.mean, one.interval, one.num_seeds) == (0.5, None, 1)
    assert step_ratio({"0": 10.0}, {"1": 20.0}) is None


def test_who_did_not_arrive_is_said_and_has_no_number():
    (table,) = tables()
    assert (table.dataset, table.protocol) == ("down", PLACE["protocol"])
    lines = {line.run: line for line in table.lines}
    assert [line.run for line in table.lines] == ["all", "io", "scratch"]  # the control last
    assert lines["io"].reached == "not reached (5 of 5 seeds)"
    assert {lines["io"].steps, lines["io"].epochs, lines["io"].seconds, lines["io"].accuracy} == {"\N{EN DASH}"}
    assert lines["io"].against == (("scratch", "no seed in which both reached it"),)
    assert lines["scratch"].reached == "4 of 5 seeds; not reached (1 of 5 seeds)"
    assert lines["scratch"].is_control and lines["scratch"].against == ()
    assert lines["all"].steps == "60 ± 27"
    ((control, ratio),) = lines["all"].against
    assert control == "scratch" and ratio.startswith("2.88 [") and ratio.endswith("], 3 seeds")


def test_seconds_are_of_that_very_job():
    job = ("all", "down", PLACE["protocol"])
    (table,) = tables({(*job, "0"): 0.1, (*job, "1"): 0.3, ("all", "elsewhere", "p", "2"): 9.0})
    assert {line.run: line.seconds for line in table.lines}["all"] == "10.0 ± 7.1"


def test_the_time_of_a_step(tmp_path: Path):
    history, benchmark = tmp_path / "history.jsonl", tmp_path / "job.tsv"
    history.write_text("".join(json.dumps({"epoch": e, "step": 4 * e + 4}) + "\n" for e in range(3)), encoding="utf-8")
    benchmark.write_text("s\tcpu_time\n6.0\t5.0\n", encoding="utf-8")
    entry = {
        "run": "a",
        "dataset": "d",
        "protocol": "p",
        "seed": 3,
        "benchmark": str(benchmark),
        "history": str(history),
    }
    gone = SpeedEntry.model_validate({**entry, "seed": 4, "benchmark": str(tmp_path / "none.tsv")})
    unknown = SpeedEntry.model_validate({**entry, "seed": 5, "history": str(tmp_path / "none.jsonl")})
    (tmp_path / "empty.jsonl").touch()
    empty = SpeedEntry.model_validate({**entry, "seed": 6, "history": str(tmp_path / "empty.jsonl")})
    assert seconds_per_step([SpeedEntry.model_validate(entry), gone, unknown, empty]) == {("a", "d", "p", "3"): 0.5}


def test_a_suite_without_such_a_task_has_no_table():
    metrics = [make_metrics("mcd", "mcd", 0, [1.0, 0.0])]
    assert speed_tables(summary_rows("mini", metrics), leaderboard_rows("mini", metrics), {}) == []
    assert "Steps to target" not in render_with(metrics)


def test_the_page_has_the_table_and_no_other_of_speed_among_its_results():
    page = render_with(found(), PageSettings(suite="mini", seeds=(0, 1, 2, 3, 4)))
    results = page.split("More metrics")[0]
    assert results.count("<caption>speed_to_target") == 1
    assert "not reached (5 of 5 seeds)" in results and "scratch: 2.88 [" in results
    assert "<caption>speed_to_target: steps_to_target" in page.split("More metrics")[1]
