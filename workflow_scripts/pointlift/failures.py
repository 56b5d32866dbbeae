"""Why a run of the workflow stopped, in few lines: each failed job with its own last words and its log.

Snakemake shows the whole command of a failed job, settings and all, several screens of it; this comes after.
"""

from __future__ import annotations

import re
from pathlib import Path

_FAILED = re.compile(r"^Error in rule (?P<rule>\w+):\n(?P<body>(?:[ \t]+.*\n|\n)*)", re.MULTILINE)
_LOG = re.compile(r"^\s+log: (?P<path>.+?) \(check log file", re.MULTILINE)


def explain(*logs: str | Path) -> str:
    """The failed jobs that Snakemake's logs name, one paragraph each; "" when they name none."""
    told = "\n".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in logs if Path(log).is_file())
    paragraphs: dict[str, str] = {}
    for match in _FAILED.finditer(told):
        log = _LOG.search(match["body"])
        path = Path(log["path"]) if log is not None else None
        words = last_words(path) if path is not None else "it has no log"
        paragraphs[f"{match['rule']} {path}"] = f"{match['rule']}: {words}\n  its log: {path}\n"
    if not paragraphs:
        return ""
    heading = "one job failed" if len(paragraphs) == 1 else f"{len(paragraphs)} jobs failed"
    return "\n".join([f"\n==== {heading} ====", *paragraphs.values()])


def last_words(log: Path) -> str:
    """What a job said when it failed: its ``error:`` line and all after it, else the end of its stack trace."""
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return "it left no log: it never started, or its log cannot be written (disk full? rights?)"
    told = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    if told:
        return "\n  ".join(lines[told[-1] :]).removeprefix("error: ")
    if lines and lines[-1] == "KeyboardInterrupt":
        return "it was interrupted"
    if any(line.startswith("Traceback ") for line in lines):
        return f"{lines[-1]}\n  (nobody foresaw this: it is a fault of the program; please report it with the log)"
    end = f"; its log ends with: {lines[-1]}" if lines else ""
    return f"it was stopped from outside, often for want of memory{end}"
