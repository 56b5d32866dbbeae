"""Stable names for values: canonical JSON, digests, and random seeds that depend on nothing but their words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, no NaN. The form in which rules carry their settings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest(value: Any, length: int = 16) -> str:
    """First ``length`` hex digits of the sha256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stable_seed(*words: str | int) -> int:
    """A 63-bit seed from words alone, the same on every machine and Python version.

    Used per shape as ``stable_seed(shape_id, seed, "purpose")``, so that shard size, order and parallelism never change
    the data.
    """
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
