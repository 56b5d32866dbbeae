"""The manifest: which shapes a dataset has, what they are, and why some cannot be used.

What the shapes of a test split are is told to tasks alone: whoever learns cannot look, not even by mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text

COLUMNS = ["shape_id", "class_name", "label", "split", "shard", "source_path", "sha256"]
#: One more column of sets that hold several copies of one object: which object a shape is of, empty where nobody says.
OBJECT = "object_name"
QUARANTINE_COLUMNS = ["shape_id", "stage", "reason"]
SPLITS = ("train", "val", "test")
UNLABELLED = -1
_JUDGES = "pointlift.tasks"


class ClosedSplitError(RuntimeError):
    """Code that learns or reports has asked what test shapes are. A mistake in the program, never in its input."""


def shard_names(num_shapes: int, shard_size: int) -> list[str]:
    """Names of the shards of a dataset, in order. Shards are contiguous and append-only."""
    return [f"{index:04d}" for index in range(-(-num_shapes // shard_size))]


def write_manifest(path: Path, rows: pd.DataFrame) -> None:
    """Write one row per shape, columns ``COLUMNS``, and ``OBJECT`` in sets of copies; unlabelled: ``label`` -1,
    ``class_name`` empty."""
    if list(rows.columns) not in (COLUMNS, [*COLUMNS, OBJECT]):
        raise ArtifactError(f"{path}: a manifest has the columns {COLUMNS}, not {list(rows.columns)}")
    if rows["shape_id"].duplicated().any():
        raise ArtifactError(f"{path}: shape id {rows['shape_id'][rows['shape_id'].duplicated()].iloc[0]} stands twice")
    write_text(path, rows.to_csv(index=False, lineterminator="\n"))


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest; every column is text except ``label`` (int64). What test shapes are is withheld.

    Their ``label`` is -1 and their ``class_name`` empty, as if nobody had labelled them; see ``open_test_split``.
    There is no ``OBJECT``: copies are told apart by tasks alone.
    """
    rows = _read_whole(path)[COLUMNS]
    test = rows["split"] == "test"
    rows.loc[test, "label"], rows.loc[test, "class_name"] = UNLABELLED, ""
    return rows


def open_test_split(path: Path) -> pd.DataFrame:
    """Read a manifest with what its test shapes are, and ``OBJECT`` where it has copies: for tasks, which judge.

    Raises ``ClosedSplitError`` when an entry point or another room than tasks calls it.
    """
    caller = str(sys._getframe(1).f_globals.get("__name__"))
    if caller == "__main__" or (caller.startswith("pointlift.") and not caller.startswith(f"{_JUDGES}.")):
        raise ClosedSplitError(f"{path}: {caller} may not see what test shapes are; {_JUDGES} alone opens test splits")
    return _read_whole(path)


def labelled_classes(path: Path) -> list[tuple[int, str]]:
    """(number, name) of the classes that some shape of a manifest has, whatever its split; sorted, each pair once."""
    rows = _read_whole(path)
    pairs = sorted(set(zip(rows["label"].tolist(), rows["class_name"], strict=True)))
    return [(label, name) for label, name in pairs if label != UNLABELLED]


def _read_whole(path: Path) -> pd.DataFrame:
    rows = read_text_table(path, COLUMNS, [OBJECT])
    try:
        rows["label"] = rows["label"].astype("int64")
    except (ValueError, OverflowError) as error:
        raise ArtifactError(f"{path}: a label is no number ({error}); delete it and run snakemake again") from None
    wrong = sorted(set(rows["split"]) - set(SPLITS))
    if wrong:
        raise ArtifactError(f"{path}: unknown split {wrong}; allowed: {', '.join(SPLITS)}")
    return rows


def write_quarantine(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Write (shape id, stage, reason) rows; an empty list writes the header alone."""
    table = pd.DataFrame(rows, columns=QUARANTINE_COLUMNS)
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_quarantine(path: Path) -> pd.DataFrame:
    """Read the shapes that cannot be used, with their stage and reason."""
    return read_text_table(path, QUARANTINE_COLUMNS)


def read_text_table(path: Path, columns: list[str], perhaps: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of these columns, all text; those of ``perhaps`` may stand behind them, all or none.

    Raises ``ArtifactError`` when it is missing or another one.
    """
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a readable table ({error}); delete it and run snakemake again") from None
    if list(rows.columns) not in (columns, [*columns, *perhaps]):
        raise ArtifactError(f"{path}: has the columns {list(rows.columns)}, must have {columns}")
    return rows
