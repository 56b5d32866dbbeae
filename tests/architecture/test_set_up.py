"""envs/set_up: once, quick the second time, and again for a checkout that was moved or a set-up that was stopped."""

import subprocess
import sys
from pathlib import Path

import pytest

SET_UP = Path(__file__).parents[2] / "envs" / "set_up"


def set_up(checkout, python=sys.executable):
    return subprocess.run(
        [SET_UP, python, ".venv", "lock.txt"], cwd=checkout, capture_output=True, text=True, check=False
    )


def imports(checkout):
    """Where ``import pointlift`` would come from."""
    command = [checkout / ".venv/bin/python", "-c", "import sys; print(*sys.path, sep=chr(10))"]
    return subprocess.check_output(command, text=True)


def test_set_up_is_done_once_per_folder_and_lock(tmp_path):
    checkout = tmp_path / "a 'checkout'"
    (checkout / "workflow_scripts").mkdir(parents=True)
    (checkout / "lock.txt").write_text("# nothing\n", encoding="utf-8")
    first = set_up(checkout)
    assert first.returncode == 0, first.stderr
    assert "Ready: .venv" in first.stdout
    assert str(checkout / "workflow_scripts") in imports(checkout)
    made = (checkout / ".venv/pyvenv.cfg").stat().st_mtime_ns
    assert set_up(checkout).stdout == ""

    (checkout / "lock.txt").write_text("# another\n", encoding="utf-8")
    assert "Ready: .venv" in set_up(checkout).stdout
    assert (checkout / ".venv/pyvenv.cfg").stat().st_mtime_ns == made

    moved = checkout.rename(tmp_path / "moved")
    assert "Ready: .venv" in set_up(moved).stdout
    assert str(moved / "workflow_scripts") in imports(moved)
    assert "checkout" not in imports(moved)

    (moved / ".venv/.ready").unlink()  # stopped before pip was there
    (moved / ".venv/bin/pip").unlink()
    assert "Ready: .venv" in set_up(moved).stdout
    assert (moved / ".venv/bin/pip").exists()


def test_a_linked_environment_is_never_changed(tmp_path):
    (tmp_path / "lock.txt").touch()
    (tmp_path / "theirs" / "bin").mkdir(parents=True)
    (tmp_path / "theirs" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv").symlink_to("theirs")
    assert set_up(tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "theirs").rglob("*")] == ["bin", "python"]
    (tmp_path / "theirs" / "bin" / "python").unlink()
    assert "is a link to no environment" in set_up(tmp_path).stderr


@pytest.mark.parametrize(("script", "message"), [("exit 1", "does not run"), ("echo 3.9", "is Python 3.9; pointlift")])
def test_a_python_that_will_not_do_is_told_before_anything_is_made(tmp_path, script, message):
    (tmp_path / "lock.txt").touch()
    program = tmp_path / "old python"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    result = set_up(tmp_path, program)
    assert result.returncode == 1
    assert message in result.stderr
    assert "make setup PYTHON=" in result.stderr
    assert not (tmp_path / ".venv").exists()
