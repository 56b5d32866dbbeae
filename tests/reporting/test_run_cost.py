import pytest

from pointlift.reporting.cells import MISSING
from pointlift.reporting.run_cost import by_phase, run_cost
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.tables import COST_COLUMNS, Row


def _row(run: str, phase: str, wall: str, task: str = "", dataset: str = "", **more: str) -> Row:
    row = dict.fromkeys(COST_COLUMNS, "") | {"run": run, "phase": phase, "task": task, "dataset": dataset}
    row |= {"jobs": "2", "measured": "2", "wall_s": wall, "cpu_hours": str(float(wall) / 3600), "gpu_hours": "0"}
    return row | {"cache_bytes": "0"} | more


def _settings(**origin: object) -> PageSettings:
    told = {"run": "mcd", "saw": "in-graph", **origin}
    return PageSettings.model_validate({"suite": "s", "seeds": (0, 1), "origins": (told,)})


COST = [
    _row("mcd", "train_student", "100", cache_bytes="5000", parameters="77", peak_rss_mb="300"),
    _row("mcd", "finetune_student", "40", "classification", "down", parameters="99", peak_rss_mb="500"),
    _row("mcd", "evaluate_task", "2", "classification", "down", peak_rss_mb="50"),
    _row("mcd", "embed_shapes", "6", dataset="down"),
    _row("mcd", "evaluate_task", "4", "linear_probe", "down"),
    _row("mcd", "embed_shapes", "1000", dataset="other"),
    _row("mae", "train_student", "60"),
    _row("", "render_views", "5000"),
]


def test_a_number_costs_its_own_jobs_divided_by_the_seeds() -> None:
    found = run_cost(_settings(), COST, "mcd", "classification", "down")
    assert found.wall_s == pytest.approx((100 + 40 + 2) / 2)
    assert found.cpu_hours == pytest.approx((100 + 40 + 2) / 2 / 3600)
    assert (found.gpu_hours, found.peak_rss_mb, found.cache_bytes, found.parameters) == (0, 500, 5000, 77)


def test_a_probe_pays_for_its_embeddings_and_for_no_finetuning() -> None:
    assert run_cost(_settings(), COST, "mcd", "linear_probe", "down").wall_s == pytest.approx((100 + 6 + 4) / 2)


def test_a_run_pays_for_the_run_it_starts_from_and_is_unknown_where_that_is_not_measured() -> None:
    started = run_cost(_settings(starts_from=("mae",)), COST, "mcd", "linear_probe", "down")
    assert started.wall_s == pytest.approx((100 + 6 + 4 + 60) / 2)
    assert run_cost(_settings(starts_from=("gone",)), COST, "mcd", "linear_probe", "down").wall_s is None


def test_a_job_without_a_measurement_makes_the_sum_unknown_not_small() -> None:
    partly = [row | {"measured": "1"} if row["phase"] == "finetune_student" else row for row in COST]
    found = run_cost(_settings(), partly, "mcd", "classification", "down")
    assert (found.wall_s, found.cpu_hours, found.parameters) == (None, None, 77)
    assert dict(found.words())["seconds"] == MISSING
    assert run_cost(_settings(), [], "mcd", "classification", "down").wall_s is None
    unsampled = [row | {"cpu_hours": ""} if row["phase"] == "evaluate_task" else row for row in COST]
    assert run_cost(_settings(), unsampled, "mcd", "classification", "down").cpu_hours is None


def test_a_matched_run_tells_its_seconds_over_those_it_matches() -> None:
    matched = [
        _row("long", "train_student", "2"),
        _row("long", "finetune_student", "140", "classification", "down"),
        _row("long", "evaluate_task", "2", "classification", "down"),
    ]
    settings = _settings(run="long", saw="none", matches="mcd")
    found = run_cost(settings, [*COST, *matched], "long", "classification", "down")
    assert found.seconds_ratio == pytest.approx(144 / 142)
    assert ("seconds / mcd's", "1.01") in found.words()
    alone = run_cost(settings, matched, "long", "classification", "down")
    assert alone.seconds_ratio is None


def test_phases_add_up_over_runs_and_tasks() -> None:
    rows = {row["phase"]: row["wall_s"] for row in by_phase(COST)}
    assert (rows["train_student"], rows["evaluate_task"], rows["all"]) == ("160", "6", "6212")
