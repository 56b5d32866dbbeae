"""Every raw format, damaged in 500 ways: a clear error, a quarantined shape, or content that keeps the contract.

Files are read by another process, with bounded memory and time: a crash of a C library, a hang and a huge allocation
are failures with a name. Cases are the same in every run.
"""

import json
import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path

import damaged_scenes
import mutations
import pytest
from hypothesis import HealthCheck, assume, given, settings

from pointlift import rooms

CASES = 500
SECONDS = 10.0  # that reading one tiny file may take
HERE = Path(__file__).parent


class Reader:
    """The process that reads."""

    def __init__(self):
        self._process = None

    def read(self, name, folder):
        """(what came of it, message); ``broken`` also when the process died or was silent for too long."""
        if self._process is None:
            self._start()
        self._process.stdin.write(f"{name}\t{folder}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if line:
            return tuple(json.loads(line))
        why = "it died" if ready else f"it hangs for {SECONDS} s"
        return "broken", f"{why} (exit status {self.stop()})"

    def _start(self):
        places = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "workflow_scripts")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", damaged_scenes.__file__],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL},
            **{"text": True, "env": environment},
        )

    def stop(self):
        """Its exit status."""
        if self._process is None:
            return None
        self._process.stdin.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        status = self._process.wait()
        self._process.stdout.close()
        self._process = None
        return status


@pytest.fixture(scope="module")
def reader():
    reader = Reader()
    yield reader
    reader.stop()


@pytest.mark.parametrize("name", damaged_scenes.FORMATS)
def test_a_damaged_file_is_told_or_quarantined_or_keeps_the_contract(name, reader, tmp_path):
    form, seen = damaged_scenes.FORMATS[name], Counter()
    path = form.write(tmp_path)
    content = path.read_bytes()
    what, usable = reader.read(name, tmp_path)
    assert what == "read" and usable, usable

    @settings(
        max_examples=CASES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(mutations.damaged(content, form.first))
    def damage_and_read(changed):
        assume(changed != content)
        path.write_bytes(changed)
        what, answer = reader.read(name, tmp_path)
        assert what != "broken", f"{answer}\n{changed[:2000]!r}"
        seen["noticed" if what == "told" or answer < usable else "read"] += 1

    damage_and_read()
    assert seen.total() >= CASES
    assert seen["noticed"] >= CASES // 10, f"damage goes by: {seen}"


def test_every_dataset_that_has_files_is_damaged():
    kinds = {kind for kind in rooms.available("datasets") if rooms.settings_class("datasets", kind).needs_files}
    lacking = kinds - {form.kind for form in damaged_scenes.FORMATS.values()}
    assert not lacking, f"add the files of {sorted(lacking)} to damaged_formats.py or damaged_scenes.py"
