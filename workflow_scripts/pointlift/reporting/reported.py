"""Numbers that others report of other systems, from ``reported.csv``: facts with their source, none measured here.

They stand in a table of ours only where task, metric, protocol and selection are its own, nothing was voted on and no
best seed was taken.

Some protocols are recalled, not checked against the systems' code: that those built on Point-BERT's code read its
resampled ModelNet40, and ShapeNetPart in the layout with normals; that PointNeXt reads S3DIS from arrays, with colour;
that 3DETR and what is built on it take 40,000 points of a scan of ScanNet, 20,000 of one of SUN RGB-D.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pointlift.contracts.errors import ArtifactError
from pointlift.reporting.cells import HEADLINE_SELECTION, Cell
from pointlift.reporting.tables import Row, read_table

#: dataset : as the source names it; value, sd : shares of 1; votes : how many rounds of test-time votes it is the
#: largest of, some where their number is not known; seeds : how many runs it is the mean or the best of; verified : V
#: seen in the source, R recalled.
REPORTED_COLUMNS = (
    "system",
    "task",
    "metric",
    "dataset",
    "value",
    "sd",
    "protocol",
    "selection",
    "votes",
    "seeds",
    "source",
    "verified",
)
FILE = Path(__file__).with_suffix(".csv")
_FORMS = {
    "value": r"0\.\d{4}",
    "sd": r"(0\.\d{4})?",
    "protocol": r"[a-z0-9_]+(/[a-z0-9_-]+)+/(transfer|joint)",
    "selection": "last|val|oracle_test|unknown",
    "votes": r"\d+|some|unknown",
    "seeds": r"one|mean|best|best of \d+|unknown",
    "verified": "V|R",
}


def read_reported(path: Path = FILE) -> list[Row]:
    """Its rows; raises ``ArtifactError`` naming file, line and column of the first entry that is none of a column's."""
    rows = read_table(path, REPORTED_COLUMNS)
    for number, row in enumerate(rows, start=2):
        if set(row) != set(REPORTED_COLUMNS):
            raise ArtifactError(f"{path}: line {number} has more entries than the file has columns")
        for column in REPORTED_COLUMNS:
            value, form = row[column], _FORMS.get(column, r"\S.*")
            if value is None or not re.fullmatch(form, value):
                raise ArtifactError(f"{path}: line {number}, {column}: {value!r} is not allowed: it must match {form}")
    return rows


def beside(rows: Iterable[Row], cell: Cell) -> list[Row]:
    """Those that may stand in a table, best first: of its very protocol, chosen as its own rows are, without votes."""
    return _ranked(row for row in rows if _is_of(row, cell) and _is_alike(row, cell))


def elsewhere(rows: Sequence[Row], cells: Sequence[Cell]) -> list[tuple[str, list[Row]]]:
    """(title, rows) on the protocols of the headline tables, chosen or voted on in another way, or nobody says how."""
    found = []
    for cell in [cell for cell in cells if cell.selection == HEADLINE_SELECTION]:
        other = _ranked(row for row in rows if _is_of(row, cell) and not _is_alike(row, cell))
        if other:
            found.append((cell.title, other))
    return found


def _is_of(row: Row, cell: Cell) -> bool:
    return (row["task"], row["protocol"], row["metric"]) == (cell.task, cell.protocol, cell.metric)


def _is_alike(row: Row, cell: Cell) -> bool:
    one_try = row["votes"] == "0" and not row["seeds"].startswith("best")
    return one_try and row["selection"] == cell.selection


def _ranked(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-float(row["value"]), row["system"], row["votes"]))
