"""One run of the workflow per folder; and a run that was killed does not keep the next one out.

Snakemake leaves its lock behind when it is killed, and cannot tell that from a run at work. Here a note says on which
machine a run was started, so that on the same machine one can look whether it lives.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pointlift.contracts.errors import MachineError
from pointlift.contracts.files import write_text

logger = logging.getLogger(__name__)


def run_alone(command: Sequence[str | Path]) -> int:
    """Run snakemake in the working folder, unlocked first where a killed run left its lock; returns the exit status.

    The command is a list, never a shell line: folder names may hold spaces and quotes.
    """
    if start(Path()):
        logger.info("an earlier run was killed and left its lock, which is taken away")
        subprocess.run([*command, "--unlock", "--quiet", "all"], check=True)
    signal.signal(signal.SIGINT, lambda *_: None)  # snakemake hears Ctrl-C too, and ends in order: wait for it
    status = subprocess.run(command, check=False).returncode
    if status >= 0:  # it was not killed
        end(Path())
    return status


def start(folder: Path) -> bool:
    """Note that a run starts in ``folder``; True when it finds the lock of one that was killed, to be taken away.

    Raises ``MachineError`` while another run is at work there.
    """
    at_work = _snakemake_in(folder.resolve())
    if at_work is not None:
        raise MachineError(f"process {at_work} runs snakemake in this folder already; wait for it, or stop it")
    locked = any((folder / ".snakemake" / "locks").glob("*"))
    killed = locked and _started_here(_note(folder))
    if not locked:
        write_text(_note(folder), platform.node() + "\n")
    return killed


def end(folder: Path) -> None:
    """Note that the run ended by itself; its lock is gone, or not ours."""
    _note(folder).unlink(missing_ok=True)


def _note(folder: Path) -> Path:
    return folder / ".snakemake" / "benchmark_runs_on"


def _started_here(note: Path) -> bool:
    # Without /proc nobody can look whether it lives: then its lock stays.
    return (
        Path("/proc/self").exists() and note.is_file() and note.read_text(encoding="utf-8").strip() == platform.node()
    )


def _snakemake_in(folder: Path) -> int | None:
    """A process of this machine that runs snakemake in ``folder``, or may: where other people's run is not shown."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")[:3]
            runs = any(Path(os.fsdecode(word)).name == "snakemake" for word in words)
            if runs and _working_folder(process) in (None, str(folder)):
                return int(process.name)
        except OSError:  # it ended meanwhile
            continue
    return None


def _working_folder(process: Path) -> str | None:
    try:
        return str((process / "cwd").readlink())
    except PermissionError:
        return None
