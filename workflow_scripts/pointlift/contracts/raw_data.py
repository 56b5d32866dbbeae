"""Where a dataset's raw files come from: fetched from mirrors, or given by their owner under a licence."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from pointlift.contracts.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost")
#: What is unpacked; a file of any other name is put into the dataset's folder as it is.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")

UNKNOWN_SUFFIXES = (".7z", ".rar", ".tar.zst")


def is_allowed(url: str, *, loopback: bool = True) -> bool:
    """Whether files are fetched from this URL: https, file, and http only from this very machine (``loopback``)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme == "file":
        return loopback and parts.netloc in ("", "localhost") and parts.path.startswith("/")
    if parts.scheme == "http":
        return loopback and parts.hostname in LOOPBACK
    return parts.scheme == "https" and bool(parts.hostname)


def _checked_url(url: str) -> str:
    if not is_allowed(url):
        raise ValueError("must begin with https:// or file:/// (http only for 127.0.0.1)")
    return url


def _openable(name: str) -> str:
    if name.lower().endswith(UNKNOWN_SUFFIXES):
        raise ValueError("cannot be unpacked here; pack it again as .tar.xz or .zip, or unpack it into the folder")
    return name


def _inside(path: str) -> str:
    if path.startswith("/") or "\\" in path or not {"", ".", ".."}.isdisjoint(path.rstrip("/").split("/")):
        raise ValueError("must be a path below its folder, with / and without . and ..")
    return path


class RawFile(Settings):
    """One file that ``download_data`` fetches, and unpacks when it is an archive."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+/-]*[A-Za-z0-9]$"),
        AfterValidator(_inside),
        AfterValidator(_openable),
    ]
    """Its name below the folder of downloads, ``paths.archives`` and the mirror folder; the same in every block."""
    urls: tuple[Annotated[str, AfterValidator(_checked_url)], ...] = ()
    """Mirrors, tried in this order. None: it must lie in ``paths.archives`` or in the mirror folder."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """None: what comes first is recorded in data.lock.json and asked for ever after."""
    bytes: int | None = Field(default=None, ge=1)

    @property
    def is_archive(self) -> bool:
        """Whether it is unpacked."""
        return self.name.lower().endswith(ARCHIVE_SUFFIXES)


class Licence(Settings):
    """Terms under which the owner alone gives the files: pointlift never fetches them."""

    name: str = Field(min_length=1)
    page: Annotated[str, AfterValidator(_checked_url)]
    """Where to ask."""
    terms: str = Field(min_length=1)
    """What one agrees to, in one sentence."""
    expected: tuple[Annotated[str, Field(min_length=1), AfterValidator(_inside)], ...] = Field(min_length=1)
    """Paths below the dataset's folder that must be there; ``*`` and ``?`` stand for any names."""


def licence_name(licence: Licence | str | None) -> str | None:
    """The name alone, whichever way a block says it."""
    return licence.name if isinstance(licence, Licence) else licence
