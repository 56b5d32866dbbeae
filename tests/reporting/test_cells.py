"""Cells stand in the order a reader expects."""

from pointlift.reporting.cells import cells, detectable_text
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


def test_what_a_table_could_have_shown_is_said_in_words():
    def told(*detectable: str, arm: str = "mcd", control: str = "b") -> str:
        rows = [
            row("accuracy") | {"arm": arm, "control": f"{control}{i}" if control else "", "detectable": value}
            for i, value in enumerate(detectable)
        ]
        (cell,) = cells(rows)
        return detectable_text(cell)

    assert told("0.04") == "Differences of at least 0.040 would have been found four times in five."
    assert "at least 0.040 (or of 0.120, where" in told("0.12", "0.04", "")
    assert "not known: nothing here tells the spread" in told("")
    (equal,) = cells([row("accuracy") | {"arm": "mcd", "control": "b", "p_value": "1"}])
    assert "not known: runs differ alike, or nowhere, over test items" in detectable_text(equal)
    assert told("", control="") == ""
    assert told("0.04", arm="scratch") == ""
