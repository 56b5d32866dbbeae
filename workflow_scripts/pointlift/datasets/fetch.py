"""A dataset's folder, made of its raw files: each obtained, checked, and unpacked where it is an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointlift.contracts.hashing import digest
from pointlift.contracts.raw_data import RawFile
from pointlift.datasets.archives import assemble
from pointlift.datasets.sources import Places, obtain
from pointlift.datasets.transfer import Patience


def fetch(files: Sequence[RawFile], folder: Path, places: Places, patience: Patience | None = None) -> dict[str, Any]:
    """Make ``folder`` of ``files``; nothing of it is there before all of it is.

    Returns sources ({name: sha256}), files (number) and bytes (of what is in the folder). Raises like
    ``sources.obtain`` and ``archives.assemble``.
    """
    found = {file.name: obtain(file, places, patience) for file in files}
    sources = [(Path(file.name).name, found[file.name].path, file.is_archive) for file in files]
    checksums = {name: one.sha256 for name, one in found.items()}
    count, size = assemble(sources, folder, digest(checksums, 64))
    return {"sources": checksums, "files": count, "bytes": size}
