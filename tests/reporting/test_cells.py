"""Cells stand in the order a reader expects."""

from pointlift.reporting.cells import cells
from pointlift.reporting.tables import LEADERBOARD_COLUMNS


def row(metric: str) -> dict[str, str]:
    given = {"run": "a", "arm": "scratch", "task": "few_shot", "protocol": "p/transfer", "selection": "last"}
    return {**dict.fromkeys(LEADERBOARD_COLUMNS, ""), **given, "metric": metric}


def test_fewer_shots_stand_first():
    metrics = ["accuracy_12_shot", "accuracy_1_shot", "accuracy_3_shot", "accuracy"]
    order = [cell.metric for cell in cells([row(metric) for metric in metrics])]
    assert order == ["accuracy", "accuracy_1_shot", "accuracy_3_shot", "accuracy_12_shot"]


def test_what_the_field_names_first_is_shown_first_with_or_without_an_interval():
    metrics = ["map_25", "map_50", "recall_25", "scene_recall_25", "scene_recall_50"]
    rows = [row(metric) | {"task": "detection"} for metric in metrics]
    rows[4]["delta_ci95_low"] = "0.1"
    assert [cell.metric for cell in cells(rows) if cell.primary] == ["map_25", "map_50", "scene_recall_25"]
