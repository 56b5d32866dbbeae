"""Progress of a transfer: a bar where somebody looks at a terminal, lines of the log elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

logger = logging.getLogger(__name__)
EVERY_S = 10.0


class Progress:
    """Says how far a transfer is and how fast it goes: always, or every ``EVERY_S`` seconds, and at its end."""

    def __init__(self, name: str, total: int | None, start: int = 0) -> None:
        self._name, self._total, self._start, self._at = name, total, start, start
        self._began = self._told = time.monotonic()
        self._bar: Any = None
        if start:
            logger.info("%s: going on after %.1f MB", name, start / 1e6)

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar(self._name, self._total, self._start)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Nothing more comes: the terminal is left as it was."""
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            logger.info("%s", self._line())

    def add(self, count: int) -> None:
        """``count`` more bytes have come."""
        self._at += count
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)
        elif time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            logger.info("%s", self._line())

    def _line(self) -> str:
        rate = (self._at - self._start) / max(time.monotonic() - self._began, 1e-3)
        line = f"{self._name}: {self._at / 1e6:.1f} MB"
        if self._total:
            line += f" of {self._total / 1e6:.1f} MB ({100 * self._at / self._total:.0f} %)"
        line += f", {rate / 1e6:.1f} MB/s"
        if self._total and rate > 0 and self._at < self._total:
            line += f", {(self._total - self._at) / rate:.0f} s left"
        return line


def _bar(name: str, total: int | None, done: int) -> Any:
    from rich import progress
    from rich.console import Console
    from rich.markup import escape

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn())
    speed = (progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
    bar = progress.Progress(*columns, *speed, console=Console(stderr=True))
    bar.add_task(escape(name.rpartition("/")[2]), total=total, completed=done)
    bar.start()
    return bar
