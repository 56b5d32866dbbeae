"""One URL -> one file, over a network that fails: resumed after a cut, patient but not for ever."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3

from pointlift.contracts.raw_data import LOOPBACK, is_allowed
from pointlift.datasets.part_file import PartFile, Version, full_disk_told, require_space
from pointlift.datasets.progress import Progress

logger = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_PAUSE = 60.0  # seconds
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How long a transfer is tried. Seconds, but for counts and bytes."""

    connect_s: float = 20.0
    stall_s: float = 60.0
    """Longest silence of a connection."""
    tries: int = 5
    """Attempts in a row that bring nothing new."""
    pause_s: float = 1.0
    """Before the second attempt; doubled each time."""
    redirects: int = 10
    spare_bytes: int = 256 << 20
    """Disk space to leave free."""


class UnavailableError(Exception):
    """This URL does not give the file; another mirror may."""


class _InterruptedError(Exception):
    """Worth another attempt, not sooner than after ``pause_s``."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def transfer(url: str, part: PartFile, patience: Patience, size: int | None = None) -> None:
    """Bring the content of ``url`` to ``part``, going on where an earlier attempt, or an earlier run, was cut.

    size : bytes that it must have, when known. Raises ``UnavailableError``, or ``MachineError`` when the disk is full;
    what has come stays in ``part``.
    """
    if urlsplit(url).scheme == "file":
        return _copy(Path(unquote(urlsplit(url).path)), part, patience, size)
    failures, furthest = 0, part.length()
    with requests.Session() as session:
        session.trust_env = urlsplit(url).hostname not in LOOPBACK  # no proxy to this very machine
        while True:
            try:
                return _attempt(session, url, part, patience, size)
            except _InterruptedError as error:
                failures = 1 if part.length() > furthest else failures + 1
                furthest = max(furthest, part.length())
                if failures >= patience.tries:
                    raise UnavailableError(f"{error}; {failures} attempts brought nothing new") from None
                pause = min(max(patience.pause_s * 2 ** (failures - 1), error.pause_s), _LONGEST_PAUSE)
                logger.warning("%s: %s; next attempt in %.0f s", url, error, pause)
                time.sleep(pause)


def _attempt(session: requests.Session, url: str, part: PartFile, patience: Patience, size: int | None) -> None:
    known, have = part.version(url), part.length()
    if have and (known is None or known.validator is None):
        have = 0  # nothing says that it is the same file
    if known is not None and have == known.total:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "pointlift"}
    if have and known is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(known.validator)}
    with closing(_open(session, url, headers, patience)) as response:
        start, version = _place(response, url, part, known, have)
        if size is not None and version.total not in (None, size):
            raise UnavailableError(f"it has {version.total} bytes there, must have {size}")
        require_space(part.path.parent, (version.total or 0) - start, patience.spare_bytes)
        part.note(version)
        _write(response, part, start, version)
    if version.total is not None and part.length() < version.total:
        raise _InterruptedError(f"cut after {part.length()} of {version.total} bytes")


def _open(session: requests.Session, url: str, headers: dict[str, str], patience: Patience) -> requests.Response:
    """The answer to a request, after redirects; each of them leads to a place that is allowed."""
    at_home, place = urlsplit(url).hostname in LOOPBACK, url
    for _ in range(patience.redirects + 1):
        try:
            timeout = (patience.connect_s, patience.stall_s)
            response = session.get(place, headers=headers, stream=True, allow_redirects=False, timeout=timeout)
        except requests.exceptions.SSLError as error:
            raise UnavailableError(f"its certificate cannot be trusted ({error})") from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _InterruptedError(f"no answer ({type(error).__name__})") from None
        except requests.RequestException as error:
            raise UnavailableError(f"{type(error).__name__}: {error}") from None
        if not response.is_redirect:
            return response
        response.close()
        place = urljoin(place, response.headers["location"])
        if not is_allowed(place, loopback=at_home) or urlsplit(place).scheme == "file":
            raise UnavailableError(f"it leads to {place}, which is no https address")
    raise UnavailableError(f"more than {patience.redirects} redirects")


def _place(
    response: requests.Response, url: str, part: PartFile, known: Version | None, have: int
) -> tuple[int, Version]:
    """Where the bytes of an answer belong, and of what file they are. Raises for an answer that brings none."""
    status, validator = response.status_code, _validator(response)
    if status == 200:
        length = response.headers.get("content-length", "")
        return 0, Version(url, validator, int(length) if length.isdigit() else None)
    if status in (206, 416):
        found = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if status == 206 and known and found and (int(found[1]), validator) == (have, known.validator):
            version = Version(url, validator, int(found[2]))
            if version.total == known.total:
                return have, version
        part.discard()
        raise _InterruptedError("the file has changed there; starting anew")
    if status in _TRY_AGAIN:
        after = response.headers.get("retry-after", "")
        raise _InterruptedError(f"HTTP {status} {response.reason}", float(after) if after.isdigit() else 0.0)
    raise UnavailableError(f"HTTP {status} {response.reason}")


def _write(response: requests.Response, part: PartFile, start: int, version: Version) -> None:
    progress = Progress(version.url, version.total, start)
    with full_disk_told(part.path.parent), progress, part.path.open("r+b" if start else "wb") as stream:
        stream.seek(start)
        for block in _blocks(response):
            stream.write(block)
            progress.add(len(block))


def _blocks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.raw.stream(_BLOCK, decode_content=False)
    except urllib3.exceptions.ReadTimeoutError:
        raise _InterruptedError("the connection stalled") from None
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise _InterruptedError(f"the connection was cut ({type(error).__name__})") from None


def _copy(source: Path, part: PartFile, patience: Patience, size: int | None) -> None:
    if not source.is_file():
        raise UnavailableError("there is no such file")
    length = source.stat().st_size
    if size is not None and length != size:
        raise UnavailableError(f"it has {length} bytes there, must have {size}")
    require_space(part.path.parent, length, patience.spare_bytes)
    with full_disk_told(part.path.parent):
        shutil.copyfile(source, part.path)


def _validator(response: requests.Response) -> str | None:
    etag = response.headers.get("etag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")
