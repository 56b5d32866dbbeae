import io

from rich.console import Console

from pointlift.contracts.metrics import Metrics
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.terminal import print_leaderboard
from reporting.fixture_metrics import make_metrics, suite_metrics


def _printed(metrics: list[Metrics]) -> str:
    stream = io.StringIO()
    print_leaderboard(leaderboard_rows("mini", metrics), Console(file=stream, width=120))
    return stream.getvalue()


def test_every_run_and_control_has_a_line() -> None:
    lines = _printed(suite_metrics([0, 1])).splitlines()
    assert lines[0].strip() == "classification on down, down/12-8/transfer: accuracy"
    firsts = [line.split()[0] for line in lines[2:8]]
    assert firsts == ["mcd", "scratch", "shuffled", "random_teacher", "scratch", "shuffled"]
    assert lines[2].split()[:6][1:] == [*lines[2].split()[1:4], "2", "random_teacher"]


def test_only_last_weights_are_printed_and_brackets_are_text() -> None:
    values = (
        {"metric": "accuracy", "value": 0.5, "selection": "last"},
        {"metric": "accuracy", "value": 0.875, "selection": "val"},
    )
    text = _printed([make_metrics("[bold]mcd[/bold]", "mcd", 0, [1.0, 0.0], values=values)])
    assert "0.875" not in text
    assert "[bold]mcd[/bold]" in text
