"""Build a suite and show its table: what `make benchmark` calls. Says first what it will do."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from pointlift.contracts.command import run
from pointlift.contracts.errors import MachineError, PointliftError
from pointlift.folder_lock import run_alone

_DURATIONS = {
    "nano": "about two minutes on 2 cores",
    "mini": "about nine minutes on 2 cores",
    "princeton": "under an hour on 2 cores",
}


def main(arguments: argparse.Namespace) -> None:
    suite, programs = arguments.suite, Path(sys.executable).parent
    overrides: list[str] = []
    if arguments.data:
        if not Path(arguments.data).is_dir():
            raise MachineError(f"DATA={arguments.data}: there is no such folder")
        # Whole, so that the same folder named in another way is the same input.
        overrides.append(f"paths={json.dumps({'archives': str(Path(arguments.data).resolve())})}")
    say(f"pointlift: suite {suite}, {_DURATIONS.get(suite, 'of unknown length')}. What exists is not made again.")
    started = time.monotonic()
    config = ["--config", f"suite={suite}", *overrides]
    if run_alone([programs / "snakemake", "--cores", arguments.cores, *config]):
        raise PointliftError(f"suite {suite} did not finish; mend what is told above and run again: what is made stays")
    report = Path("results") / "report" / suite
    shown = [str(Path(__file__).parent / "show_leaderboard.py"), "--settings", "{}"]
    subprocess.run([sys.executable, *shown, "--leaderboard", report / "leaderboard.csv"], check=True)
    say(f"{time.monotonic() - started:.0f} s. The whole report: {report / 'report.html'}")


def say(line: str) -> None:
    """Write a line at once, so that it stands before what Snakemake prints."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--cores", default="all")
    parser.add_argument("--data", default="", help="folder of local archives and weights")
    run(main, parser.parse_args())
