"""Cells stand in the order a reader expects."""

from pointlift.reporting.cells import cells


def row(metric: str) -> dict[str, str]:
    names = ("run", "arm", "task", "dataset", "protocol", "selection", "control", "mean")
    values = ("a", "scratch", "few_shot", "d", "p/transfer", "last", "", "0.5")
    return {**dict(zip(names, values, strict=True)), "metric": metric}


def test_fewer_shots_stand_first():
    metrics = ["accuracy_12_shot", "accuracy_1_shot", "accuracy_3_shot", "accuracy"]
    order = [cell.metric for cell in cells([row(metric) for metric in metrics])]
    assert order == ["accuracy", "accuracy_1_shot", "accuracy_3_shot", "accuracy_12_shot"]
