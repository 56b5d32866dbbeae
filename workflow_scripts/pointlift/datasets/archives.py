"""Unpacking an archive that somebody else made: nothing lands outside the folder, and half of one never stays."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, cast

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import file_sha256
from pointlift.datasets.part_file import full_disk_told, require_space

MOST_FILES = 5_000_000
LARGEST_RATIO = 200  # unpacked bytes per archive byte; mesh text reaches about 10 to 20
SMALLEST_LIMIT = 64 << 20  # bytes; below it the ratio does not count
SPARE_BYTES = 256 << 20  # disk space to leave free
_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ": lzma.open, b"BZh": bz2.open}
_UNKNOWN = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}
MARKER = ".unpacked_by_pointlift"
#: What the libraries raise when bytes of an archive are other ones.
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError, OSError, RuntimeError),
    *(ValueError, ArithmeticError, LookupError, MemoryError),
)


def unpack(archive: Path, folder: Path, sha256: str | None = None) -> dict[str, Any]:
    """Unpack a zip or tar archive (plain, gz, bz2, xz) as the whole content of ``folder``.

    Returns archive (name), sha256, files (number) and bytes (unpacked). Replaces what an earlier call unpacked there,
    but never files of anybody else. Raises ``ArtifactError`` (missing, damaged, wrong checksum, unsafe, too large) or
    ``MachineError`` (disk full); then ``folder`` is as it was.
    """
    found = _verified_sha256(Path(archive), sha256)
    count, size = assemble([(Path(archive).name, Path(archive), True)], folder, found)
    return {"archive": Path(archive).name, "sha256": found, "files": count, "bytes": size}


def assemble(sources: Iterable[tuple[str, Path, bool]], folder: Path, note: str) -> tuple[int, int]:
    """Make checked files the whole content of ``folder``: (name, path, whether it is an archive to unpack) of each.

    Returns numbers of files and bytes. ``note`` stays in the folder, as what it was made of. Raises like ``unpack``,
    and when two sources hold a file of the same name.
    """
    folder = Path(folder)
    _require_own(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    count = size = 0
    try:
        content = temporary / "content"
        content.mkdir()
        for name, path, is_archive in sources:
            more = _unpack_into(path, content, alone=not count) if is_archive else _copy_into(path, content / name)
            count, size = count + more[0], size + more[1]
        (content / MARKER).write_text(note + "\n", encoding="utf-8")
        _swap(content, folder, temporary / "previous")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count, size


def _verified_sha256(archive: Path, wanted: str | None) -> str:
    if not archive.is_file():
        raise ArtifactError(f"{archive}: no such archive; put it there, or set paths.archives in config.yaml")
    found = file_sha256(archive)
    if wanted is not None and found != wanted:
        raise ArtifactError(
            f"{archive}: sha256 is {found}, must be {wanted}; the download is damaged or another version: get it again"
        )
    return found


def _require_own(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ArtifactError(
            f"{folder}: holds files that were not unpacked here by pointlift; move them away, or drop `archive` from "
            "the dataset's block to use them as they are"
        )


def _swap(content: Path, folder: Path, previous: Path) -> None:
    if folder.exists():
        folder.replace(previous)
    try:
        content.replace(folder)
    except OSError:
        if previous.exists():
            previous.replace(folder)
        raise


def _copy_into(path: Path, target: Path) -> tuple[int, int]:
    size = path.stat().st_size
    _require_new(path, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    require_space(target.parent, size, SPARE_BYTES)
    with full_disk_told(target.parent):
        shutil.copyfile(path, target)
    return 1, size


def _unpack_into(archive: Path, folder: Path, *, alone: bool) -> tuple[int, int]:
    limit = max(LARGEST_RATIO * archive.stat().st_size, SMALLEST_LIMIT)
    count = size = 0
    try:
        for name, length, extract in _members(archive):
            count, size = count + 1, size + length
            if count > MOST_FILES or size > limit:
                raise ArtifactError(f"{archive}: unpacks to more than {limit} bytes or {MOST_FILES} files; refused")
            _require_inside(archive, name)
            require_space(folder, length, SPARE_BYTES)
            if not alone:
                _require_new(archive, folder / name)
            with full_disk_told(folder):
                extract(folder)
    except _BROKEN as error:
        raise ArtifactError(f"{archive}: cannot be unpacked ({type(error).__name__}: {error}); get it again") from None
    if not count:
        raise ArtifactError(f"{archive}: holds no files")
    return count, size


def _members(archive: Path) -> Iterator[tuple[str, int, Any]]:
    """(name, bytes, function that extracts it into a folder) of every regular file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise ArtifactError(f"{archive}: {info.filename!r} is a link; refused")
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda folder, i=info: packed.extract(i, folder)
        return
    with _decompressed(archive) as content, tarfile.open(fileobj=content, mode="r|") as stream:
        for member in stream:
            if member.isfile():
                yield member.name, member.size, lambda folder, m=member: stream.extract(m, folder, filter="data")
            elif not member.isdir():
                raise ArtifactError(f"{archive}: {member.name!r} is a link or a special file; refused")
        while content.read(1 << 20):  # what follows the last file: padding, and the checksum of the whole
            pass


def _require_new(source: Path, target: Path) -> None:
    if target.exists():
        raise ArtifactError(f"{source}: {target.name!r} came from another file of this dataset already; refused")


def _decompressed(archive: Path) -> BinaryIO:
    with archive.open("rb") as stream:
        start = stream.read(6)
    for magic, name in _UNKNOWN.items():
        if start.startswith(magic):
            raise ArtifactError(
                f"{archive}: is a {name} archive, which is not unpacked here; pack its files as zip or tar"
            )
    for magic, opened in _COMPRESSIONS.items():
        if start.startswith(magic):
            return cast(BinaryIO, opened(archive, "rb"))
    return archive.open("rb")


def _require_inside(archive: Path, name: str) -> None:
    paths = PurePosixPath(name), PureWindowsPath(name)
    if any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
        raise ArtifactError(f"{archive}: {name!r} leads out of the folder; refused")
