"""Progress of a transfer, as lines of the log."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)
EVERY_S = 10.0


class Progress:
    """Says how far a transfer is and how fast it goes, every ``EVERY_S`` seconds and at its end."""

    def __init__(self, name: str, total: int | None, start: int = 0) -> None:
        self._name, self._total, self._start, self._at = name, total, start, start
        self._began = self._told = time.monotonic()
        if start:
            logger.info("%s: going on after %.1f MB", name, start / 1e6)

    def add(self, count: int) -> None:
        """``count`` more bytes have come."""
        self._at += count
        if time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            logger.info("%s", self._line())

    def end(self) -> None:
        """Nothing more comes."""
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
