"""The list of shapes of one dataset that stand in another too: ``{dataset}.duplicates.{other}.csv``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pointlift.contracts.files import write_text
from pointlift.contracts.manifest import read_text_table

#: how : exact (the same numbers but for place, unit and order) or near; chamfer_spacings : distance after the best
#: alignment found, in spacings of the points: 1 is as near as two samples of one surface.
DUPLICATE_COLUMNS = ["shape_id", "other_id", "how", "chamfer_spacings"]
HOW = ("exact", "near")
_MIDDLE = ".duplicates."


def duplicates_name(dataset: str, other: str) -> str:
    """Name of the file that says which shapes of ``dataset`` stand in ``other``; of twins where both are one."""
    return f"{dataset}{_MIDDLE}{other}.csv"


def compared_datasets(path: Path | str) -> tuple[str, str]:
    """The inverse of ``duplicates_name``: (dataset, other)."""
    dataset, _, other = Path(path).name.removesuffix(".csv").partition(_MIDDLE)
    return dataset, other


def write_duplicates(path: Path, rows: Iterable[tuple[str, str, str, float]]) -> None:
    """Write (shape id, other id, how, chamfer in spacings) rows, sorted; none writes the header alone."""
    told = [(shape_id, other_id, how, f"{chamfer:.4f}") for shape_id, other_id, how, chamfer in rows]
    table = pd.DataFrame(sorted(told), columns=DUPLICATE_COLUMNS)
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_duplicates(path: Path) -> pd.DataFrame:
    """Read such a list; every column is text."""
    return read_text_table(path, DUPLICATE_COLUMNS)
