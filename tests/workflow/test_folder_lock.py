"""One run per folder: a living one is respected, a killed one is cleared away, somebody else's is left alone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pointlift import folder_lock
from pointlift.contracts.errors import MachineError

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")


def leave_lock(folder):
    (folder / ".snakemake" / "locks").mkdir(parents=True)
    (folder / ".snakemake" / "locks" / "0.output.lock").touch()


def test_a_first_run_finds_nothing(tmp_path):
    assert folder_lock.start(tmp_path) is False


def test_the_lock_of_a_killed_run_is_found_until_a_run_ends_by_itself(tmp_path):
    folder_lock.start(tmp_path)
    leave_lock(tmp_path)
    assert folder_lock.start(tmp_path) is True
    folder_lock.end(tmp_path)
    assert folder_lock.start(tmp_path) is False


def test_a_lock_from_another_machine_or_by_hand_is_left_alone(tmp_path):
    leave_lock(tmp_path)
    assert folder_lock.start(tmp_path) is False
    (tmp_path / ".snakemake" / "benchmark_runs_on").write_text("another machine\n", encoding="utf-8")
    assert folder_lock.start(tmp_path) is False


def test_a_living_run_is_respected_in_its_folder_alone(tmp_path):
    program, folder, elsewhere = tmp_path / "snakemake", tmp_path / "a b", tmp_path / "c"
    program.write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    folder.mkdir()
    elsewhere.mkdir()
    process = subprocess.Popen([sys.executable, program], cwd=folder)
    try:
        time.sleep(0.2)
        with pytest.raises(MachineError, match=rf"process {process.pid} runs snakemake in this folder already"):
            folder_lock.start(folder)
        assert folder_lock.start(elsewhere) is False
    finally:
        process.kill()
        process.wait()
    assert folder_lock.start(folder) is False
