"""What a run says while it runs: JSON lines, TensorBoard, a progress bar on a terminal or plain lines in a log."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_QUIET_SECONDS = 10.0


class TensorBoard:
    """Event files in a folder. They hold times: never an output.

    ``done``: steps that an earlier try did; what it drew from there on is forgotten, as that is trained again.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if done == 0:
            shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), purge_step=done)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class Progress:
    """A bar on a terminal; otherwise one log line per epoch, at most one every ten seconds, and always the last."""

    def __init__(self, epochs: int, steps_per_epoch: int, done: int, title: str) -> None:
        self._epochs, self._start, self._said = epochs, time.monotonic(), float("-inf")
        self._title = title
        self._bar = _bar(title, epochs * steps_per_epoch, done) if sys.stderr.isatty() else None

    def step(self) -> None:
        """One optimiser step is done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Epoch ``epoch`` (from 0) is done; ``values`` are its means."""
        now, last = time.monotonic(), epoch + 1 == self._epochs
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=f"{self._title} {epoch + 1}/{self._epochs}  {text}")
        elif last or now - self._said >= _QUIET_SECONDS:
            self._said = now
            log.info("%s epoch %d/%d  %s  %.1f s", self._title, epoch + 1, self._epochs, text, now - self._start)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def _bar(title: str, total: int, done: int) -> Any:
    from rich.console import Console
    from rich.progress import Progress as Bar

    bar = Bar(console=Console(stderr=True))
    bar.add_task(title, total=total, completed=done)
    bar.start()
    return bar
