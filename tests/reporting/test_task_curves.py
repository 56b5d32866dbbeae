"""Curves that a task kept by epoch, as charts of the page."""

import random
import re

from pointlift.contracts.metrics import Metrics
from pointlift.reporting.figures import NUM_COLOURS
from pointlift.reporting.task_curves import task_curves
from reporting.fixture_metrics import make_metrics, render_with


def collapse(run: str, seed: int, cdnv: tuple[float, ...], **changes: object) -> Metrics:
    epochs = tuple(str(10 * number) for number in range(len(cdnv)))
    outcomes = {"cdnv_test_by_epoch": cdnv, "ncc_accuracy_test": (1.0, 0.0)}
    values = ({"metric": "ncc_accuracy_test", "value": 0.5},)
    named = {"items": {"cdnv_test_by_epoch": epochs}, "outcomes": outcomes, "values": values}
    return make_metrics(run, run, seed, [1.0, 0.0], task="neural_collapse", **named, **changes)


def test_a_chart_has_a_line_per_run_and_seed_over_epochs_done():
    metrics = [collapse("mcd", 0, (4.0, 2.0, 1.0)), collapse("mcd", 1, (5.0, 2.0)), collapse("scratch", 0, (8.0, 7.0))]
    (found,) = task_curves(metrics)
    assert found.title == "neural_collapse on down, down/12-8/transfer"
    assert found.measure == "cdnv_test"
    assert found.lines == {
        "mcd": [[(0.0, 4.0), (10.0, 2.0), (20.0, 1.0)], [(0.0, 5.0), (10.0, 2.0)]],
        "scratch": [[(0.0, 8.0), (10.0, 7.0)]],
    }
    assert task_curves(random.Random(1).sample(metrics, 3)) == [found]


def test_protocols_and_measures_never_share_a_chart():
    one, other = collapse("mcd", 0, (1.0,)), collapse("mcd", 0, (1.0,), protocol="down/12-8/joint")
    assert [each.title[-8:] for each in task_curves([one, other])] == ["-8/joint", "transfer"]


def test_no_two_runs_of_a_chart_have_one_colour():
    metrics = [collapse(f"run{number}", 0, (1.0, 2.0)) for number in range(8)]
    found = task_curves(metrics)
    assert [list(each.lines) for each in found] == [[f"run{n}" for n in range(4)], [f"run{n}" for n in range(4, 8)]]
    assert max(len(each.lines) for each in found) <= NUM_COLOURS


def test_outcomes_by_shape_are_no_curve():
    assert task_curves([make_metrics("mcd", "mcd", 0, [1.0, 0.0])]) == []


def test_the_page_draws_them():
    metrics = [collapse(run, seed, (4.0, 2.0, 1.0)) for run in ("mcd", "scratch") for seed in (0, 1)]
    page = render_with(metrics)
    name = "neural_collapse on down, down/12-8/transfer: cdnv_test by epoch"
    (chart,) = re.findall(rf'<svg [^>]*aria-label="{re.escape(name)}">.*?</svg>', page)
    assert re.findall(r'<polyline class="curve (c\d)"', chart) == ["c0", "c0", "c1", "c1"]
    assert [len(points.split()) for points in re.findall(r'points="([^"]*)"', chart)] == [3] * 4
    assert "<title>mcd</title>" in chart
