import random

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.statistics import holm, paired_difference
from pointlift.reporting.tables import LEADERBOARD_COLUMNS, Row
from reporting.fixture_metrics import draw_outcomes, make_metrics, suite_metrics


def _pairs(rows: list[Row]) -> set[tuple[str, str]]:
    return {(row["run"], row["control"]) for row in rows}


def test_every_transfer_run_stands_beside_every_control_but_itself() -> None:
    rows = leaderboard_rows("mini", suite_metrics([0, 1]))
    controls = {"scratch", "shuffled", "random_teacher"}
    pairs = {(run, control) for run in {"mcd"} | controls for control in controls if run not in (control, "scratch")}
    assert _pairs(rows) == pairs | {("scratch", "")}
    assert all(set(row) == set(LEADERBOARD_COLUMNS) for row in rows)


def test_joint_runs_compare_with_weight_zero_alone_and_cells_never_mix() -> None:
    joint = {"protocol": "down/12-8/joint"}
    metrics = [make_metrics("joint_mcd", "mcd", 0, draw_outcomes(0.7, 1), **joint)]
    metrics += [make_metrics("joint_control", "control", 0, draw_outcomes(0.7, 2), **joint)]
    metrics += [make_metrics("scratch", "scratch", 0, draw_outcomes(0.7, 3), **joint)]
    metrics += [make_metrics("scratch", "scratch", 0, draw_outcomes(0.7, 3))]
    assert _pairs(leaderboard_rows("mini", metrics)) == {
        ("joint_mcd", "joint_control"),
        ("joint_control", ""),
        ("scratch", ""),
    }


def test_a_control_has_the_same_student() -> None:
    metrics = [make_metrics("mcd", "mcd", 0, draw_outcomes(0.7, 1), student="dgcnn")]
    metrics += [make_metrics("scratch", "scratch", 0, draw_outcomes(0.6, 2))]
    rows = leaderboard_rows("mini", metrics)
    assert _pairs(rows) == {("mcd", ""), ("scratch", "")}
    assert all(row["delta_vs_control"] == "" and row["p_value"] == "" for row in rows)


@pytest.mark.parametrize(
    ("arm", "change"),
    [
        ("shuffled", {"teacher": "other"}),
        ("shuffled", {"method": "concept"}),
        ("random_teacher", {"pretrain_dataset": "more_shapes"}),
        ("all_visible", {"pretrain_dataset": "more_shapes"}),
    ],
)
def test_a_control_of_another_distillation_is_no_control(arm: str, change: dict[str, object]) -> None:
    run = make_metrics("mcd", "mcd", 0, draw_outcomes(0.7, 1))
    same, other = (make_metrics("it", arm, 0, draw_outcomes(0.6, 2), **changes) for changes in ({}, change))
    assert ("mcd", "it") in _pairs(leaderboard_rows("mini", [run, same]))
    assert ("mcd", "") in _pairs(leaderboard_rows("mini", [run, other]))


def test_every_arm_of_concepts_stands_beside_what_takes_one_thing_away() -> None:
    """Of one teacher and set: another teacher's run, and one that starts from Point-MAE's student, differ in more."""
    scratch = {"method": "supervised", "teacher": "", "pretrain_dataset": ""}
    changes = {
        "scratch": scratch,
        "point_mae": {"method": "point_mae", "teacher": ""},
        "random_teacher": {"teacher": "clip_random"},
        "other_teacher": {"teacher": "classifier"},
    }
    taught = {"method": "concept", "teacher": "clip", "pretrain_dataset": "shapes"}
    one_less = ("m1", "mean_pool", "shuffled", "same_class_shuffled")
    arms = ("concept", "init_point_mae", *one_less, *changes)
    runs = [make_metrics(arm, arm, 0, draw_outcomes(0.7, 1), **taught | changes.get(arm, {})) for arm in arms]
    runs += [make_metrics("mcd", "m1", 0, draw_outcomes(0.7, 1), **taught | {"method": "pointmcd"})]
    elsewhere = changes["point_mae"] | {"pretrain_dataset": "others"}
    runs += [make_metrics("elsewhere", "point_mae", 0, draw_outcomes(0.7, 1), **elsewhere)]
    found: dict[str, set[str]] = {}
    for run, control in _pairs(leaderboard_rows("mini", runs)):
        found.setdefault(run, set()).add(control)
    assert found["concept"] == {*one_less, *changes}
    assert found["init_point_mae"] == {"scratch", "point_mae"}
    assert found["other_teacher"] == {"scratch", "point_mae", "random_teacher"}
    assert found["point_mae"] == {"scratch"} and found["scratch"] == {""}


def test_frozen_random_networks_are_controls_of_2d_weights_alone() -> None:
    image = {"method": "image2point", "student": "sparse"}
    runs = [make_metrics("io", "io", 0, draw_outcomes(0.7, 1), **image, teacher="resnet8")]
    runs += [make_metrics("frozen", "frozen_random", 0, draw_outcomes(0.6, 2), **image, teacher="")]
    runs += [make_metrics("scratch", "scratch", 0, draw_outcomes(0.6, 3), student="sparse")]
    runs += [make_metrics("mcd", "mcd", 0, draw_outcomes(0.6, 4), student="sparse")]
    runs += [make_metrics("all", "all", 0, draw_outcomes(0.6, 5), **image, teacher="resnet8")]  # not frozen
    pairs = {("io", "frozen"), ("io", "scratch"), ("frozen", "scratch"), ("mcd", "scratch"), ("scratch", "")}
    pairs |= {("all", "scratch")}
    assert _pairs(leaderboard_rows("mini", runs)) == pairs


def test_released_weights_stand_beside_scratch_alone_and_replayed_ones_beside_nothing() -> None:
    arms = ("replayed", "init_released", "mcd", "scratch", "scratch_matched", "shuffled", "point_mae")
    rows = leaderboard_rows("mini", [make_metrics(arm, arm, 0, [1, 0, 1], method="released") for arm in arms])
    found = {arm: {row["control"] for row in rows if row["run"] == arm} for arm in arms}
    assert found["replayed"] == {""} and found["init_released"] == {"scratch"}
    assert len(found["mcd"]) == 4
    assert not any({"replayed", "init_released"} & controls for controls in found.values())


def test_a_file_that_gives_every_seed_one_number_was_measured_once() -> None:
    def row(arm: str, *answers: list[float]) -> Row:
        (found,) = leaderboard_rows("mini", [make_metrics("r", arm, seed, one) for seed, one in enumerate(answers)])
        return found

    same, other = [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]
    frozen = row("init_released", same, same, same)
    assert [frozen[name] for name in ("n_seeds", "sd", "ci95_low", "ci95_high")] == ["1", "", "", ""]
    assert float(frozen["mean"]) == pytest.approx(2 / 3)
    finetuned, ours = row("init_released", same, same, other), row("mcd", same, same, same)
    assert (finetuned["n_seeds"], float(finetuned["sd"]) > 0) == ("3", True)
    assert (ours["n_seeds"], ours["sd"]) == ("3", "0")  # three trainings that agree: measured


def test_p_values_are_corrected_for_all_that_one_cell_asks() -> None:
    runs = [make_metrics("mcd", "mcd", 0, draw_outcomes(0.9, 1))]
    runs += [make_metrics(arm, arm, 0, draw_outcomes(0.6, 2 + n)) for n, arm in enumerate(("scratch", "shuffled"))]
    rows = [row for row in leaderboard_rows("mini", runs) if row["run"] == "mcd"]
    assert [float(row["p_holm"]) for row in rows] == pytest.approx(holm([float(row["p_value"]) for row in rows]))
    assert all(float(row["detectable"]) > 0 for row in rows)
    others = [row for row in leaderboard_rows("mini", runs) if row["run"] == "shuffled"]
    assert [(row["control"], row["p_holm"]) for row in others] == [("scratch", "")]  # nobody asks that


def test_difference_is_paired_over_items_with_seeds_averaged_first() -> None:
    ours = {seed: draw_outcomes(0.8, seed) for seed in (0, 1)}
    theirs = {seed: draw_outcomes(0.6, 50 + seed) for seed in (0, 1)}
    metrics = [make_metrics("mcd", "mcd", seed, ours[seed]) for seed in ours]
    metrics += [make_metrics("scratch", "scratch", seed, theirs[seed]) for seed in theirs]
    row = next(row for row in leaderboard_rows("mini", metrics) if row["run"] == "mcd")
    expected = paired_difference(np.mean(list(ours.values()), 0) - np.mean(list(theirs.values()), 0))
    assert expected.interval is not None
    assert float(row["delta_vs_control"]) == pytest.approx(expected.mean)
    assert float(row["delta_ci95_low"]) == pytest.approx(expected.interval.low)
    assert float(row["delta_ci95_high"]) == pytest.approx(expected.interval.high)
    assert float(row["p_value"]) == pytest.approx(expected.p_value)
    assert row["n_seeds"] == "2"


def test_items_are_matched_by_id_not_by_place() -> None:
    outcomes = draw_outcomes(0.7, 1)
    base = make_metrics("mcd", "mcd", 0, outcomes)
    turned = {"test_ids": base.test_ids[::-1], "outcomes": {"accuracy": tuple(outcomes[::-1])}}
    other = make_metrics("scratch", "scratch", 0, outcomes[::-1], **turned)
    row = next(row for row in leaderboard_rows("mini", [base, other]) if row["run"] == "mcd")
    assert (row["delta_vs_control"], row["p_value"], row["delta_ci95_low"]) == ("0", "1", "")


def test_one_seed_has_no_interval_but_its_items_do() -> None:
    row = next(row for row in leaderboard_rows("mini", suite_metrics([0])) if row["run"] == "mcd")
    assert (row["sd"], row["ci95_low"], row["ci95_high"]) == ("", "", "")
    assert row["delta_ci95_low"] != ""


@pytest.mark.parametrize(
    "changes",
    [{"outcomes": {}}, {"values": ({"metric": "accuracy", "value": 0.123, "selection": "last"},)}],
    ids=["no outcomes", "outcomes that do not average to the value"],
)
def test_without_usable_outcomes_the_difference_has_no_interval(changes: dict[str, object]) -> None:
    metrics = [make_metrics("mcd", "mcd", 0, draw_outcomes(0.7, 1), **changes)]
    metrics += [make_metrics("scratch", "scratch", 0, draw_outcomes(0.6, 2), **changes)]
    row = next(row for row in leaderboard_rows("mini", metrics) if row["run"] == "mcd")
    expected = metrics[0].values[0].value - metrics[1].values[0].value
    assert float(row["delta_vs_control"]) == pytest.approx(expected)
    assert (row["delta_ci95_low"], row["p_value"]) == ("", "")


def test_outcomes_belong_to_the_last_weights() -> None:
    def with_val(run: str, arm: str, seed: int) -> Metrics:
        base = make_metrics(run, arm, 0, draw_outcomes(0.7, seed))
        values = [{"metric": "accuracy", "value": base.values[0].value, "selection": way} for way in ("last", "val")]
        return make_metrics(run, arm, 0, draw_outcomes(0.7, seed), values=tuple(values))

    rows = leaderboard_rows("mini", [with_val("mcd", "mcd", 1), with_val("scratch", "scratch", 2)])
    by_selection = {row["selection"]: row["p_value"] for row in rows if row["run"] == "mcd"}
    assert by_selection["last"] != ""
    assert by_selection["val"] == ""


def test_runs_tested_on_other_items_are_refused() -> None:
    other = tuple(f"other-{index}" for index in range(60))
    metrics = [make_metrics("mcd", "mcd", 0, draw_outcomes(0.7, 1))]
    metrics += [make_metrics("scratch", "scratch", 0, draw_outcomes(0.6, 2), test_ids=other)]
    with pytest.raises(ArtifactError, match="not tested on the same items"):
        leaderboard_rows("mini", metrics)


def test_order_of_the_input_changes_nothing() -> None:
    metrics = suite_metrics([0, 1, 2])
    shuffled = random.Random(0).sample(metrics, len(metrics))
    assert leaderboard_rows("mini", metrics) == leaderboard_rows("mini", shuffled)


def test_a_run_of_as_many_seconds_is_a_control_of_the_run_it_matches_alone() -> None:
    runs = [make_metrics(name, "mcd", 0, draw_outcomes(0.7, seed)) for seed, name in enumerate(("mcd", "mcd_wide"))]
    matched = make_metrics("longer", "scratch_matched", 0, draw_outcomes(0.6, 3))
    pairs = _pairs(leaderboard_rows("mini", [*runs, matched], {"longer": "mcd"}))
    assert ("mcd", "longer") in pairs and ("mcd_wide", "longer") not in pairs
    started = make_metrics("started", "init_point_mae", 0, draw_outcomes(0.7, 4))
    for name in ("started", "mcd"):
        assert (
            ("started", "longer") in _pairs(leaderboard_rows("mini", [*runs, started, matched], {"longer": name}))
        ) == (name == "started")


COPIES = tuple(f"object{index // 5:02d}" for index in range(60))


def _row_of_mcd(**changes: object) -> Row:
    rows = leaderboard_rows("sonn", _with_copies({"clusters": COPIES, **changes}))
    return next(row for row in rows if row["run"] == "mcd")


def _with_copies(ours: dict[str, object], theirs: dict[str, object] | None = None) -> list[Metrics]:
    """A run and its control on 12 objects of 5 copies each, which are right or wrong together."""
    metrics = []
    for seed in (0, 1, 2):
        outcomes = {run: np.repeat(draw_outcomes(rate, 10 + seed, 12), 5) for run, rate in (("mcd", 0.9), ("it", 0.5))}
        metrics.append(make_metrics("mcd", "mcd", seed, outcomes["mcd"], **ours))
        metrics.append(make_metrics("it", "scratch", seed, outcomes["it"], **(ours if theirs is None else theirs)))
    return metrics


def test_copies_of_one_object_count_together() -> None:
    row, alone = _row_of_mcd(), _row_of_mcd(clusters=())
    metrics = _with_copies({})
    differences = np.mean([run.outcomes["accuracy"] for run in metrics[::2]], axis=0)
    differences -= np.mean([run.outcomes["accuracy"] for run in metrics[1::2]], axis=0)
    expected = paired_difference(differences, clusters=COPIES)
    assert expected.interval is not None and expected.p_value is not None
    assert float(row["delta_vs_control"]) == pytest.approx(expected.mean)
    assert float(row["delta_ci95_low"]) == pytest.approx(expected.interval.low)
    assert float(row["delta_ci95_high"]) == pytest.approx(expected.interval.high)
    assert float(row["p_value"]) == pytest.approx(expected.p_value)
    assert (row["objects"], alone["objects"]) == ("12", "")
    assert float(row["p_value"]) > float(alone["p_value"])
    assert float(row["detectable"]) > 1.5 * float(alone["detectable"])


def test_every_item_its_own_object_and_no_objects_are_the_same_numbers() -> None:
    names = tuple(f"own{index:02d}" for index in range(60))
    assert _row_of_mcd(clusters=names) | {"objects": ""} == _row_of_mcd(clusters=())


def test_copies_that_nobody_names_are_told() -> None:
    unknown, alone = _row_of_mcd(clusters=(), copies_unknown=True), _row_of_mcd(clusters=())
    assert unknown == alone | {"objects": "unknown"}


@pytest.mark.parametrize("theirs", [{}, {"clusters": ("object99", *COPIES[1:])}])
def test_a_run_and_a_control_that_disagree_about_copies_are_not_compared(theirs: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match="mcd and it do not agree which test items are copies"):
        leaderboard_rows("sonn", _with_copies({"clusters": COPIES}, theirs))


def test_folds_are_no_copies() -> None:
    folds = {"items": {"accuracy": tuple(f"fold{index}" for index in range(60))}}
    assert _row_of_mcd(**folds) == _row_of_mcd(**folds, clusters=())


def test_more_seeds_of_the_same_answers_are_no_more_items() -> None:
    ours, theirs = draw_outcomes(0.8, 1), draw_outcomes(0.6, 2)
    found = []
    for seeds in ([0], [0, 1, 2, 3, 4]):
        metrics = [make_metrics("mcd", "mcd", seed, ours) for seed in seeds]
        metrics += [make_metrics("scratch", "scratch", seed, theirs) for seed in seeds]
        row = next(row for row in leaderboard_rows("mini", metrics) if row["run"] == "mcd")
        found.append({name: row[name] for name in ("delta_ci95_low", "delta_ci95_high", "p_value", "detectable")})
    assert found[0] == found[1]
