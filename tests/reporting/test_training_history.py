import json
from pathlib import Path

import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.reporting.history import read_histories


def _write(path: Path, *records: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_seeds_of_one_run_share_a_chart(tmp_path: Path) -> None:
    line = {"epoch": 0, "step": 4, "lr": 0.1, "task_loss": 2.0}
    paths = [_write(tmp_path / "students" / "mcd" / f"seed{seed}" / "history.jsonl", line) for seed in (0, 1)]
    paths.append(_write(tmp_path / "finetuned" / "mcd" / "probe" / "seed0" / "history.jsonl", line))
    paths.append(_write(tmp_path / "teachers" / "tiny" / "history.jsonl", line, line | {"epoch": 1, "task_loss": 1.0}))
    found = read_histories(paths[::-1])
    assert [(item.phase, item.name) for item in found] == [
        ("finetuned", "mcd / probe"),
        ("students", "mcd"),
        ("teachers", "tiny"),
    ]
    assert found[1].curves == {"task_loss": [[(0.0, 2.0)], [(0.0, 2.0)]]}
    assert found[2].curves == {"task_loss": [[(0.0, 2.0), (1.0, 1.0)]]}


def test_one_history_alone_has_a_name(tmp_path: Path) -> None:
    path = _write(tmp_path / "students" / "mcd" / "seed0" / "history.jsonl", {"epoch": 0, "loss": 1.0})
    (found,) = read_histories([path])
    assert (found.phase, found.name) == ("mcd", "mcd")
    assert read_histories([]) == []


def test_values_that_are_no_numbers_make_no_curve(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a" / "b" / "h.jsonl", {"epoch": 0, "loss": float("nan"), "note": "x", "ok": 1, "yes": True}
    )
    assert set(read_histories([path])[0].curves) == {"ok"}


def test_a_broken_history_is_named(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text("{broken", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"h\.jsonl: not JSON lines"):
        read_histories([tmp_path / "h.jsonl"])
    with pytest.raises(ArtifactError, match="no such file"):
        read_histories([tmp_path / "gone.jsonl"])
    (tmp_path / "h.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not JSON lines"):
        read_histories([tmp_path / "h.jsonl"])
