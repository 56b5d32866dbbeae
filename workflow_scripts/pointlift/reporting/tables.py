"""Small CSV tables as lists of rows: written the same way every time, read back with a check of their columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text

Row = dict[str, str]

_ROW_COLUMNS = [
    "suite",
    "run",
    "method",
    "arm",
    "student",
    "teacher",
    "pretrain_dataset",
    "task",
    "dataset",
    "protocol",
    "selection",
]
SUMMARY_COLUMNS = [
    *_ROW_COLUMNS,
    "seed",
    "metric",
    "value",
    "n_train",
    "n_test",
    "settings_hash",
]
#: In the column ``objects``: test items are copies of fewer objects, and nothing says which.
UNKNOWN = "unknown"
#: Of a run beside one of its controls; empty where it has none. objects : how many objects the test items are copies
#: of, empty where each is its own.
COMPARISON_COLUMNS = (
    "control",
    "delta_vs_control",
    "delta_ci95_low",
    "delta_ci95_high",
    "p_value",
    "p_holm",
    "detectable",
    "objects",
)
LEADERBOARD_COLUMNS = [
    *_ROW_COLUMNS,
    "metric",
    "mean",
    "sd",
    "n_seeds",
    "ci95_low",
    "ci95_high",
    *COMPARISON_COLUMNS,
]
#: measured : jobs whose time was; cache_bytes : what the jobs read of a teacher's embeddings, tokens and visibility.
COST_COLUMNS = [
    "run",
    "phase",
    "task",
    "dataset",
    "jobs",
    "measured",
    "wall_s",
    "cpu_hours",
    "gpu_hours",
    "peak_rss_mb",
    "bytes",
    "cache_bytes",
    "parameters",
]
#: One row per rung of ``reporting.ladder``; never joined to the tables above.
LADDER_COLUMNS = [*_ROW_COLUMNS, "metric", "rung", "k", "value", "sd", "added", "expected"]
QUARANTINE_COLUMNS = [
    "dataset",
    "shapes",
    "stage",
    "reason",
    "quarantined",
    "example",
]


def number(value: float | None, digits: int = 10) -> str:
    """A float as text with ``digits`` significant digits; None is empty. Raises ``ValueError`` for NaN and inf."""
    if value is None:
        return ""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no place in a table")
    return f"{value + 0.0:.{digits}g}" if value else "0"


def to_number(text: str) -> float | None:
    """The inverse of ``number``."""
    return float(text) if text else None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows under a header, in the given order, atomically. Raises ``ValueError`` for a row of other columns."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if set(row) != set(columns):
            raise ValueError(f"{path}: row has {sorted(row)}, must have {sorted(columns)}")
        writer.writerow(row)
    write_text(path, stream.getvalue())


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a table; raises ``ArtifactError`` naming the file when it is missing or has other columns."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = list(reader)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a readable table ({error}); delete it and run snakemake again") from None
    if list(reader.fieldnames or ()) != list(columns):
        raise ArtifactError(
            f"{path}: has the columns {reader.fieldnames}, must have {list(columns)}; if snakemake made it, delete it "
            "and run snakemake again"
        )
    return rows
