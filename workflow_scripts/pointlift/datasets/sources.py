"""One raw file, wherever it is to be had: a local copy, the mirror folder, an earlier download, or the net."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import filelock

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.raw_data import RawFile
from pointlift.datasets.part_file import PartFile
from pointlift.datasets.recorded import record, recorded_sha256
from pointlift.datasets.transfer import Patience, UnavailableError, transfer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where files may be. ``downloads`` is ours; the others belong to the user and are only read."""

    downloads: Path
    lock: Path
    """data.lock.json."""
    archives: Path | None = None
    mirror: Path | None = None
    offline: bool = False

    @classmethod
    def of(cls, downloads: Path, lock: Path, environment: Mapping[str, str] = os.environ) -> Places:
        """As POINTLIFT_ARCHIVES, POINTLIFT_MIRROR and POINTLIFT_OFFLINE say."""
        folders = [environment.get(name, "") for name in ("POINTLIFT_ARCHIVES", "POINTLIFT_MIRROR")]
        archives, mirror = (Path(folder) if folder else None for folder in folders)
        return cls(downloads, lock, archives, mirror, environment.get("POINTLIFT_OFFLINE", "") not in ("", "0"))

    def local(self, name: str) -> Path | None:
        """The user's own copy of a file, if there is one."""
        candidates = [folder / name for folder in (self.archives, self.mirror) if folder is not None]
        return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class Found:
    """A file that is whole, and its checksum."""

    path: Path
    sha256: str


def obtain(file: RawFile, places: Places, patience: Patience | None = None) -> Found:
    """The file, whole and checked. A copy of the user's wins over the net; two processes never fetch the same one.

    Raises ``ArtifactError`` (no source gives it, wrong checksum, offline) or ``MachineError`` (disk full).
    """
    final = places.downloads / file.name
    final.parent.mkdir(parents=True, exist_ok=True)
    local = places.local(file.name)
    if local is not None:
        sha256, flaw = _looked_at(file, local, places)
        if flaw is not None:
            raise ArtifactError(f"{local}: {flaw}; it is damaged or another version: take it away or get it again")
        return _accepted(file, Found(local, sha256), places)
    with _alone(final):
        sha256, flaw = _looked_at(file, final, places) if final.is_file() else ("", None)
        if flaw is not None:
            logger.warning("%s: %s; fetching it again", final, flaw)
            final.unlink()
        if not final.is_file():
            sha256 = _fetch(file, final, places, patience or Patience())
        return _accepted(file, Found(final, sha256), places)


def _accepted(file: RawFile, found: Found, places: Places) -> Found:
    if file.sha256 is None:
        with _alone(places.downloads / "data.lock"):
            if recorded_sha256(places.lock, file.name) is None:
                record(places.lock, file.name, found.sha256, found.path.stat().st_size)
    return found


def _looked_at(file: RawFile, path: Path, places: Places) -> tuple[str, str | None]:
    """sha256 of a file, and what is wrong with it: None when it is the one that is wanted, or nobody said which."""
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return "", f"it has {size} bytes, must have {file.bytes}"
    found = file_sha256(path)
    wanted, told_by = file.sha256, "by its block"
    if wanted is None:
        wanted, told_by = recorded_sha256(places.lock, file.name), f"by {places.lock}, recorded when it came first"
    return found, None if wanted in (None, found) else f"sha256 is {found}, must be {wanted} ({told_by})"


def _fetch(file: RawFile, final: Path, places: Places, patience: Patience) -> str:
    """Bring the file to its final name; its sha256."""
    part = PartFile(final.with_name(final.name + ".part"))
    reasons = []
    for url in file.urls:
        if places.offline and urlsplit(url).scheme != "file":
            reasons.append(f"{url}: not asked, POINTLIFT_OFFLINE is set")
            continue
        try:
            transfer(url, part, patience, file.bytes)
        except UnavailableError as error:
            flaw: str | None = str(error)
        else:
            sha256, flaw = _looked_at(file, part.path, places)
            if flaw is None:
                part.finish(final)
                return sha256
            part.discard()
        logger.warning("%s: %s", url, flaw)
        reasons.append(f"{url}: {flaw}")
    raise ArtifactError("\n  ".join([f"{file.name}: no source gives it", *reasons, _remedy(final, places)]))


def _remedy(final: Path, places: Places) -> str:
    name = final.relative_to(places.downloads).as_posix()
    folders = {"paths.archives": places.archives, "the mirror folder (POINTLIFT_MIRROR)": places.mirror}
    told = [f"{key}, {folder}" if folder is not None else f"{key}, not set" for key, folder in folders.items()]
    return f"get it by other means and put it as {name} into {' or '.join(told)}"


@contextmanager
def _alone(final: Path) -> Iterator[None]:
    """Hold the lock of a file against every other process."""
    lock = filelock.FileLock(final.with_name(f".{final.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logger.info("%s: another process is at it; waiting", final)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
