import json
import subprocess
import sys
from pathlib import Path

import pytest

from reporting.fixture_metrics import suite_metrics, write_all, write_dataset, write_views

NAMES = ("summary", "leaderboard", "ladder", "cost", "quarantine")


def _call(repository: Path, folder: Path, metrics: list[Path], **settings: object) -> subprocess.CompletedProcess[str]:
    ids = tuple(f"chair-up-{index:05d}" for index in range(4))
    manifests = [write_dataset(folder, "up", ids), write_dataset(folder, "down", ["chair-down-00000"], "test")]
    quarantine = folder / "manifest" / "up.quarantine.csv"
    quarantine.write_text("shape_id,stage,reason\nchair-up-00003,prepare_meshes,empty mesh\n", encoding="utf-8")
    views = write_views(folder, "up", ids, {ids[3]: "blank"})
    given = {"suite": "mini", "seeds": [0, 1], "cost": [{"path": "none.tsv", "phase": "train_student", "run": "mcd"}]}
    command = [sys.executable, repository / "workflow_scripts" / "collect_metrics.py"]
    command += ["--settings", json.dumps(given | settings), "--metrics", *metrics, "--manifests", *manifests]
    command += ["--quarantines", quarantine, "--views", views, "--benchmarks"]
    command += [part for name in NAMES for part in (f"--{name}", folder / "report" / f"{name}.csv")]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


@pytest.fixture
def metrics(tmp_path: Path) -> list[Path]:
    return write_all(tmp_path / "metrics", suite_metrics([0, 1]))


def test_the_tables_twice_the_same(repository: Path, tmp_path: Path, metrics: list[Path]) -> None:
    assert _call(repository, tmp_path, metrics).stderr == ""
    first = {name: (tmp_path / "report" / f"{name}.csv").read_bytes() for name in NAMES}
    assert _call(repository, tmp_path, metrics[::-1]).returncode == 0
    assert first == {name: (tmp_path / "report" / f"{name}.csv").read_bytes() for name in NAMES}
    assert first["summary"].count(b"\n") == 1 + len(metrics)
    assert b"up,4,prepare_meshes,empty mesh,1,chair-up-00003" in first["quarantine"]
    assert b"up,4,render_views (ring6),blank,1,chair-up-00003" in first["quarantine"]


def test_a_leaked_shape_stops_it_before_any_table(repository: Path, tmp_path: Path, metrics: list[Path]) -> None:
    leak = [{"row": "mcd transfer", "sets": [["up", ["train"]], ["up", ["train"]]]}]
    done = _call(repository, tmp_path, metrics, disjoint=leak)
    assert done.returncode == 1
    assert "error: mcd transfer: up (train) and up (train) share 3 shapes: chair-up-00000" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()


def test_wrong_settings_are_told(repository: Path, tmp_path: Path, metrics: list[Path]) -> None:
    done = _call(repository, tmp_path, metrics, seeds=[-0.5])
    assert (done.returncode, "collect_metrics.seeds" in done.stderr) == (1, True)
