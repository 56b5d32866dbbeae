"""The audit's counts, against tables small enough to count by hand."""

import pandas as pd
import pytest

from pointlift.contracts.duplicates import DUPLICATE_COLUMNS
from pointlift.contracts.errors import ArtifactError
from pointlift.reporting.duplicates_audit import AUDIT_COLUMNS, AuditSettings, as_text, audit_rows
from reporting.fixture_metrics import manifest_table

UP, DOWN = [f"up-{index}" for index in range(6)], [f"down-{index}" for index in range(8)]


def twins(*rows):
    return pd.DataFrame([(*row, "1.0") for row in rows], columns=DUPLICATE_COLUMNS)


@pytest.fixture
def manifests():
    down = manifest_table(DOWN, salt="down")
    down["split"] = ["train"] * 3 + ["val"] * 2 + ["test"] * 3
    up = manifest_table(UP, salt="up")
    up["split"] = "train"
    return {"up": up, "down": down}


def audited(manifests, tables, use="distillation", trained="up", left_out=()):
    settings = AuditSettings(suite="s", sets=((use, trained, "down"),), left_out={trained: left_out})
    (row,) = audit_rows(settings, manifests, tables)
    assert list(row) == AUDIT_COLUMNS
    return {key: int(value) for key, value in row.items() if key not in ("suite", "use", "trained_on", "dataset")}


FOUND = twins(
    ("up-0", "down-0", "near"),
    ("up-1", "down-5", "exact"),
    ("up-2", "down-5", "near"),
    ("up-2", "down-6", "near"),
    ("up-3", "down-4", "exact"),
)


def test_every_shape_of_the_judged_set_counts_once_and_exact_wins(manifests):
    assert audited(manifests, {("up", "down"): FOUND}) == {
        "shapes": 6, "test_shapes": 3, "exact_train": 0, "near_train": 1, "exact_val": 1, "near_val": 0,
        "exact_test": 1, "near_test": 1, "excluded": 0, "test_left": 2,
    }  # fmt: skip


def test_what_distillation_leaves_out_is_not_left(manifests):
    row = audited(manifests, {("up", "down"): FOUND}, left_out=("down",))
    assert (row["excluded"], row["test_left"], row["exact_test"], row["near_test"]) == (4, 0, 1, 1)
    third = {("up", "down"): FOUND, ("up", "third"): twins(("up-1", "x", "near"), ("up-5", "y", "near"))}
    row = audited(manifests, third, left_out=("third",))
    assert (row["excluded"], row["test_left"]) == (1, 2)  # up-2 still stands for down-5 and down-6


def test_a_teacher_is_trained_on_what_distillation_leaves_out(manifests):
    row = audited(manifests, {("up", "down"): FOUND}, use="teacher", left_out=("down",))
    assert (row["excluded"], row["test_left"]) == (0, 2)


@pytest.mark.parametrize("use", ["distillation", "teacher"])
def test_a_test_split_of_what_is_trained_on_does_not_count(manifests, use):
    manifests["up"].loc[2, "split"] = "test"
    row = audited(manifests, {("up", "down"): FOUND}, use=use)
    assert (row["shapes"], row["exact_test"], row["near_test"], row["test_left"]) == (5, 1, 0, 1)


def test_within_a_dataset_twins_on_one_side_are_counted_and_not_held_against_it(manifests):
    rows = [("down-5", "down-6", "exact"), ("down-0", "down-7", "near"), ("down-1", "down-2", "exact")]
    both = twins(*rows, *((other, shape_id, how) for shape_id, other, how in rows))
    row = audited(manifests, {("down", "down"): both}, use="task", trained="down")
    assert (row["shapes"], row["exact_test"], row["near_test"], row["test_left"]) == (
        5,
        0,
        1,
        1,
    )  # 5 and 6 are both test
    assert row["exact_train"] == 2


def test_what_was_not_given_is_told(manifests):
    with pytest.raises(ArtifactError, match="no list of duplicates of"):
        audited(manifests, {})
    with pytest.raises(ArtifactError, match="no manifest of down"):
        audited({"up": manifests["up"]}, {("up", "down"): FOUND})


def test_the_text_names_what_is_left(manifests):
    settings = AuditSettings(suite="s", sets=(("teacher", "up", "down"),), left_out={})
    text = as_text(audit_rows(settings, manifests, {("up", "down"): FOUND}))
    assert (
        "2 of 3 test shapes of down stand in up (teacher, which is trained on what" in text
        and "up.duplicates.down.csv" in text
    )
    assert "No test shape" in as_text(audit_rows(settings, manifests, {("up", "down"): FOUND[:1]}))
    assert "no pair" in as_text([])
