"""What has come of a file so far: ``<name>.part``, with a note of what it is the beginning of."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pointlift.contracts.errors import MachineError
from pointlift.contracts.files import write_text


@dataclass(frozen=True)
class Version:
    """Of what the bytes at hand are the beginning.

    validator : a strong ETag or the time of the last change, None when the server says neither; total : bytes.
    """

    url: str
    validator: str | None
    total: int | None


class PartFile:
    """The file at ``path`` and its note."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path.with_name(path.name + ".json")

    def length(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self, url: str) -> Version | None:
        """What the bytes are the beginning of; None when that is not known, or came from another URL."""
        try:
            version = Version(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        told = isinstance(version.validator, str | None) and isinstance(version.total, int | None)
        return version if told and version.url == url else None

    def note(self, version: Version) -> None:
        """Write down what comes, before it comes."""
        write_text(self._note, json.dumps(asdict(version)))

    def discard(self) -> None:
        """Remove the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, final: Path) -> None:
        """Give the whole file its final name, once its bytes are on the disk."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        self.path.replace(final)
        self._note.unlink(missing_ok=True)


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """A disk that runs full while something is written to ``folder`` is a ``MachineError``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(f"{folder}: disk is full; make room and start again") from None
        raise


def require_space(folder: Path, needed: int, spare: int) -> None:
    """Raise ``MachineError`` when ``needed`` bytes would not leave ``spare`` bytes free in ``folder``."""
    free = shutil.disk_usage(folder).free
    if needed + spare > free:
        raise MachineError(f"{folder}: disk is full: {needed} bytes to come, {free} free; make room and start again")
