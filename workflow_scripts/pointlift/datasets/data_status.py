"""What of a dataset's raw files is there, and whether it is what it must be. Nothing is changed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from pointlift.contracts.dataset import Dataset
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.raw_data import Licence, licence_name
from pointlift.datasets.archives import MARKER
from pointlift.datasets.licence_gate import missing_paths
from pointlift.datasets.recorded import recorded_sha256
from pointlift.datasets.sources import Places

_OURS = frozenset({"index.json", MARKER})  # at the top of a folder that download_data made
_WIDEST = 60


@dataclass(frozen=True)
class Row:
    """One dataset. ``state``: generated (needs no files), present, damaged or missing; ``missing`` says what is."""

    dataset: str
    kind: str
    licence: str
    state: str
    missing: str
    files: int
    bytes: int
    checks: str


def describe(
    name: str, settings: DatasetSettings, folder: Path | None, places: Places, opened: Callable[[], Dataset]
) -> Row:
    """The row of one block. ``opened`` opens the dataset; it is called when its files are there."""
    missing = "" if folder is None else _missing(settings, folder, places)
    if missing:
        return Row(name, settings.kind, licence_name(settings.licence) or "unknown", "missing", missing, 0, 0, "")
    files, size = count_files(folder) if folder is not None else (0, 0)
    passed, failed = _compared(settings, folder, places, (files, size)) if folder is not None else ([], [])
    licence = licence_name(settings.licence)
    try:
        dataset = opened()
        licence = licence or dataset.licence
        passed.append(f"{len(dataset.ids)} shapes")
    except (PointliftError, OSError, ValueError) as error:  # one broken dataset hides no other
        failed.append(f"it does not open: {error}")
    state = "damaged" if failed else "generated" if folder is None else "present"
    return Row(*(name, settings.kind, licence or "unknown", state, "; ".join(failed)), files, size, "; ".join(passed))


def count_files(folder: Path) -> tuple[int, int]:
    """Number of files below a folder and their bytes, without what pointlift itself put there."""
    count = size = 0
    for place, _, names in os.walk(folder):
        kept = [name for name in names if name not in _OURS] if Path(place) == folder else names
        count += len(kept)
        size += sum((Path(place) / name).lstat().st_size for name in kept)
    return count, size


def as_csv(rows: Iterable[Row]) -> str:
    """The table as a file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([field.name for field in fields(Row)])
    writer.writerows(astuple(row) for row in rows)
    return stream.getvalue()


def as_text(rows: Iterable[Row]) -> str:
    """The table for the terminal; below it, in full, what is missing or damaged."""
    rows = list(rows)
    lines = [[field.name for field in fields(Row)], *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    told = [f"{row.dataset}: {row.state}: {row.missing}" for row in rows if len(row.missing) > _WIDEST]
    return "\n".join([*table, *([""] if told else []), *told]) + "\n"


def _cells(row: Row) -> list[str]:
    cells = [str(value) for value in astuple(row)]
    return [cell if len(cell) <= _WIDEST else cell[: _WIDEST - 3] + "..." for cell in cells]


def _missing(settings: DatasetSettings, folder: Path, places: Places) -> str:
    """What stands between a block and its files; "" when they are there."""
    if isinstance(settings.licence, Licence) and settings.archive is None:
        paths = missing_paths(settings.licence, folder)
        return f"{', '.join(paths)} in {folder}; ask at {settings.licence.page}" if paths else ""
    if settings.archive is None and not settings.files:
        return "" if folder.is_dir() and any(folder.iterdir()) else f"folder {folder}"
    if (folder / "index.json").is_file():
        return ""
    names = [settings.archive] if settings.archive is not None else [file.name for file in settings.files]
    at_hand = [name for name in names if places.local(name) or (places.downloads / name).is_file()]
    if len(at_hand) == len(names):
        return "not unpacked yet; its files are at hand"
    lacking = [name for name in names if name not in at_hand]
    place = " in paths.archives" if settings.archive is not None else ""
    page = f"; ask at {settings.licence.page}" if isinstance(settings.licence, Licence) else ""
    return f"{', '.join(lacking)}{place}{page}"


def _compared(
    settings: DatasetSettings, folder: Path, places: Places, there: tuple[int, int]
) -> tuple[list[str], list[str]]:
    """(checks passed, checks failed) against the index that was written when the folder was made."""
    if settings.archive is None and not settings.files:
        return (["expected paths"], []) if isinstance(settings.licence, Licence) else ([], [])
    try:
        index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        unpacked = index["files"], index["bytes"]
        found = index["sources"] if settings.files else {str(settings.archive): index["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return [], [f"{folder / 'index.json'} is not readable"]
    wanted = {file.name: file.sha256 or recorded_sha256(places.lock, file.name) for file in settings.files}
    if settings.archive is not None:
        wanted = {settings.archive: settings.archive_sha256}
    passed, failed = [], []
    if found.keys() == wanted.keys() and all(wanted[name] in (None, found[name]) for name in wanted):
        passed += ["sha256"] if all(wanted.values()) else []
    else:
        failed.append("it was made of other files than the block names; run the suite to make it again")
    for word, now, then in zip(("files", "bytes"), there, unpacked, strict=True):
        if now == then:
            passed.append(word)
        else:
            failed.append(f"{now} {word} are there, {then} were unpacked")
    return passed, failed
