import json
import subprocess
import sys
from pathlib import Path

import pytest

from pointlift.reporting import tables
from pointlift.reporting.ladder import ladder_rows
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.summary import summary_rows
from reporting.fixture_metrics import suite_metrics, write_dataset, write_views

IDS = tuple(f"{name}-up-{index:05d}" for name in ("bed", "chair") for index in range(3))


def _run(repository: Path, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, repository / "workflow_scripts" / f"{name}.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


@pytest.fixture
def given(tmp_path: Path) -> list[object]:
    """Every argument of draw_report but its settings and output."""
    metrics = suite_metrics([0, 1])
    tables.write_table(tmp_path / "summary.csv", tables.SUMMARY_COLUMNS, summary_rows("mini", metrics))
    tables.write_table(tmp_path / "leaderboard.csv", tables.LEADERBOARD_COLUMNS, leaderboard_rows("mini", metrics))
    tables.write_table(tmp_path / "ladder.csv", tables.LADDER_COLUMNS, ladder_rows("mini", metrics))
    tables.write_table(tmp_path / "cost.csv", tables.COST_COLUMNS, [])
    tables.write_table(tmp_path / "quarantine.csv", tables.QUARANTINE_COLUMNS, [])
    history = tmp_path / "students" / "mcd" / "seed0" / "history.jsonl"
    history.parent.mkdir(parents=True)
    history.write_text('{"epoch": 0, "task_loss": 2.0}\n{"epoch": 1, "task_loss": 1.5}\n', encoding="utf-8")
    names = ("summary", "leaderboard", "ladder", "cost", "quarantine")
    arguments: list[object] = [part for name in names for part in (f"--{name}", tmp_path / f"{name}.csv")]
    arguments += ["--history", history, "--views", write_views(tmp_path, "up", IDS, {})]
    return [*arguments, "--manifests", write_dataset(tmp_path, "up", IDS)]


def test_one_file_twice_the_same_and_without_torch(repository: Path, tmp_path: Path, given: list[object]) -> None:
    settings = json.dumps({"suite": "mini", "seeds": [0, 1], "provenance": {"commit": "abc"}})
    pages = []
    for name in ("a.html", "b.html"):
        done = _run(repository, "draw_report", "--settings", settings, *given, "--output", tmp_path / name)
        assert (done.returncode, done.stderr) == (0, "")
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) < 5_000_000
    assert pages[0].count(b"data:image/png") == 4
    assert b"task_loss" in pages[0]


def test_a_wrong_setting_is_one_line(repository: Path, tmp_path: Path, given: list[object]) -> None:
    settings = json.dumps({"suite": "mini", "seeds": [0], "colour": "red"})
    done = _run(repository, "draw_report", "--settings", settings, *given, "--output", tmp_path / "x.html")
    assert done.returncode == 1
    told = "error: draw_report.colour: unknown key; allowed: command, config, origins, provenance"
    assert done.stderr.startswith(told)
    assert not (tmp_path / "x.html").exists()


def test_the_table_goes_to_the_terminal(repository: Path, tmp_path: Path, given: list[object]) -> None:
    leaderboard = tmp_path / "leaderboard.csv"
    done = _run(repository, "show_leaderboard", "--settings", "{}", "--leaderboard", leaderboard)
    assert done.returncode == 0
    assert "classification on down, down/12-8/transfer: accuracy" in done.stdout
    missing = _run(repository, "show_leaderboard", "--settings", "{}", "--leaderboard", tmp_path / "no.csv")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


def test_no_report_process_imports_torch(repository: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import collect_metrics, draw_report, show_leaderboard; "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(repository / "workflow_scripts")], check=False)
    assert done.returncode == 0
