"""Which rows of a dataset are copies of one object, as a list file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array
from pointlift.datasets.source_folder import read_lines

HEADER = "split,row,object"
_LONGEST_NAME = 200


def read_objects(path: Path, labels: Mapping[str, Array]) -> dict[str, list[str]]:
    """The object of every row, by split. labels : by split (rows,), the class of each row.

    Raises ``ArtifactError`` naming file and line unless every row has one object, copies of one object have one class,
    and no object is in two splits.
    """
    lines = read_lines(path)
    if not lines or lines[0] != HEADER:
        raise ArtifactError(f"{path}: must begin with the line {HEADER}")
    found: dict[tuple[str, int], str] = {}
    of_object: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines[1:], start=2):
        told = f"{path}: line {number} of those that are not empty, {line[:80]!r}"
        split, row, name = _fields(line, labels, told)
        if (split, row) in found:
            raise ArtifactError(f"{told}: this row stands twice")
        what = (split, int(labels[split][row]))
        if of_object.setdefault(name, what) != what:
            raise ArtifactError(f"{told}: copies of one object must have one split and one class; {name} has two")
        found[split, row] = name
    every = [(split, row) for split, label in labels.items() for row in range(len(label))]
    missing = [place for place in every if place not in found]
    if missing:
        split, row = missing[0]
        raise ArtifactError(f"{path}: {len(missing)} of {len(every)} rows have no object (first: row {row} of {split})")
    return {split: [found[split, row] for row in range(len(label))] for split, label in labels.items()}


def _fields(line: str, labels: Mapping[str, Array], told: str) -> tuple[str, int, str]:
    fields = [field.strip() for field in line.split(",")]
    split, digits, name = fields if len(fields) == 3 else ("", "", "")
    row = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 8 else -1
    if split not in labels or not 0 <= row < len(labels[split]) or not 0 < len(name) <= _LONGEST_NAME:
        allowed = " or ".join(f"{split},0 to {len(label) - 1}" for split, label in labels.items())
        raise ArtifactError(f"{told}: must be {HEADER} with split and row {allowed}, and a name")
    return split, row, name
