"""data.lock.json, which is committed: checksums of raw files whose block gives none, recorded when they first came."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text

logger = logging.getLogger(__name__)


def recorded_sha256(lock: Path, name: str) -> str | None:
    """The checksum recorded for a file; None when it never came."""
    entry = _read(lock).get(name)
    return None if entry is None else str(entry["sha256"])


def record(lock: Path, name: str, sha256: str, size: int) -> None:
    """Record a file that came for the first time, loudly. The caller holds the lock of the whole folder."""
    files = {**_read(lock), name: {"bytes": size, "sha256": sha256}}
    write_text(lock, json.dumps({"files": files}, sort_keys=True, indent=1) + "\n")
    logger.warning(
        "%s: NOBODY VOUCHES FOR THIS FILE: its block gives no sha256. %s (%d bytes) came first, is recorded in %s and "
        "asked for from now on. Compare it with what the owner says, and commit %s.",
        *(name, sha256, size, lock, lock),
    )


def _read(lock: Path) -> dict[str, Any]:
    if not lock.exists():
        return {}
    try:
        files = json.loads(lock.read_text(encoding="utf-8"))["files"]
        if all(isinstance(entry["sha256"], str) for entry in files.values()):
            return dict(files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise ArtifactError(f"{lock}: not readable; take it from the last commit, its checksums are what data is held to")
