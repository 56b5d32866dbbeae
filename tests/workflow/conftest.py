"""Copies of the checkout in folders of their own, with a space in their path, and snakemake run in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Checkout:
    """A copy of the project's files, as a fresh clone has them."""

    folder: Path

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the checkout; a failure shows what it printed."""
        path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", "")])  # as in an activated environment
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PATH": path}
        words = [PROGRAMS / command[0], *command[1:]]
        result = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and result.returncode:
            raise AssertionError(f"{command} failed:\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}")
        return result

    def snakemake(self, *words: str, suite: str = "nano", cores: int = 2, check: bool = True):
        """Run snakemake on a suite; its whole output, standard error included, is in ``stderr``."""
        return self.run("snakemake", *words, "--cores", str(cores), "--config", f"suite={suite}", check=check)

    def planned(self, suite: str = "nano") -> dict[str, int]:
        """Jobs a dry run wants, by rule; empty when there is nothing to do."""
        printed = self.snakemake("--dry-run", "--quiet", "rules", suite=suite)
        counts: dict[str, int] = {}
        for line in (printed.stdout + printed.stderr).splitlines():
            words = line.split()
            if len(words) == 2 and words[1].isdigit() and words[0] not in ("total", "job"):
                counts[words[0]] = int(words[1])
        return counts

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """Replace text that stands exactly once in a file, and put it back afterwards, its time included."""
        path = self.folder / name
        before, times = path.read_text(encoding="utf-8"), path.stat()
        assert before.count(old) == 1, f"{name} holds {old!r} {before.count(old)} times"
        path.write_text(before.replace(old, new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def copy_checkout(folder: Path) -> Checkout:
    """Copy what git would: tracked files, and new ones it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=REPOSITORY, text=True).splitlines()
    for name in listed:
        source = REPOSITORY / name
        if source.is_file():  # a file deleted but not yet committed is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return Checkout(folder)


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A fresh copy for one test."""
    return copy_checkout(tmp_path / "a checkout")


@pytest.fixture(scope="session")
def finished_nano(tmp_path_factory) -> Checkout:
    """A checkout in which suite nano has run. Tests leave it as they find it."""
    finished = copy_checkout(tmp_path_factory.mktemp("nano run") / "a checkout")
    finished.snakemake()
    return finished
