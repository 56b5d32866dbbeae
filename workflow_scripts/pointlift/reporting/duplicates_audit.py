"""Which test shapes stand in what a suite is trained on: counts per pair of datasets, for ``audit_duplicates``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from pointlift.contracts.duplicates import duplicates_name
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import SPLITS
from pointlift.contracts.settings import Settings
from pointlift.reporting.tables import Row

#: use : what ``trained_on`` is for; shapes : its train and val shapes, no others count; exact_SPLIT : shapes of
#: that split of ``dataset`` that stand among them as the same numbers, near_SPLIT : those that do so near alone;
#: excluded : shapes with such a twin that distillation leaves out; test_left : test shapes that stand in the rest.
AUDIT_COLUMNS = [
    "suite",
    "use",
    "trained_on",
    "dataset",
    "shapes",
    "test_shapes",
    *(f"{how}_{split}" for split in SPLITS for how in ("exact", "near")),
    "excluded",
    "test_left",
]
_USES = {
    "distillation": "distillation, without what exclude_duplicates_of takes out",
    "teacher": "teacher, which is trained on what exclude_duplicates_of names too",
    "task": "task",
}
Tables = Mapping[tuple[str, str], pd.DataFrame]


class AuditSettings(Settings):
    """What ``audit_duplicates`` is told."""

    suite: str
    sets: tuple[tuple[Literal["distillation", "teacher", "task"], str, str], ...]
    """(use, set that is trained on, set that is judged on)."""
    left_out: dict[str, tuple[str, ...]]
    """Sets whose duplicates distillation takes out of a set."""


def audit_rows(settings: AuditSettings, manifests: Mapping[str, pd.DataFrame], tables: Tables) -> list[Row]:
    """One row per set of ``settings``. tables : lists of duplicates by (dataset, other).

    A set that is trained on has a test split of its own at times, on which nothing is trained: it does not count. What
    distillation leaves out, teachers see. Raises ``ArtifactError`` when a table or manifest was not given.
    """
    return [_row(settings, sets, manifests, tables) for sets in settings.sets]


def _row(
    settings: AuditSettings, sets: tuple[str, str, str], manifests: Mapping[str, pd.DataFrame], tables: Tables
) -> Row:
    use, trained, judged = sets
    source = _of(manifests, trained, "manifest")
    source = source[source["split"] != "test"]
    target = _of(manifests, judged, "manifest")
    twins = _of(tables, (trained, judged), "list of duplicates")
    twins = twins[twins["shape_id"].isin(source["shape_id"])]
    removed: set[str] = set()
    if use == "distillation":
        for other in settings.left_out.get(trained, ()):
            removed |= set(_of(tables, (trained, other), "list of duplicates")["shape_id"])
    excluded = twins["shape_id"].isin(removed)
    test = set(target["shape_id"][target["split"] == "test"])
    return {
        "suite": settings.suite,
        "use": use,
        "trained_on": trained,
        "dataset": judged,
        "shapes": str(len(source)),
        "test_shapes": str(len(test)),
        **_counts(target, twins),
        "excluded": str(twins["shape_id"][excluded].nunique()),
        "test_left": str(len(test & set(twins["other_id"][~excluded]))),
    }


def _counts(target: pd.DataFrame, twins: pd.DataFrame) -> Row:
    """Shapes of each split of the judged set that have an exact twin, and those that have near ones alone."""
    exact = set(twins["other_id"][twins["how"] == "exact"])
    near = set(twins["other_id"]) - exact
    found: Row = {}
    for split in SPLITS:
        ids = set(target["shape_id"][target["split"] == split])
        found |= {f"exact_{split}": str(len(ids & exact)), f"near_{split}": str(len(ids & near))}
    return found


def _of(tables: Mapping[Any, pd.DataFrame], name: str | tuple[str, str], what: str) -> pd.DataFrame:
    if name not in tables:
        raise ArtifactError(f"audit_duplicates: no {what} of {name} was given")
    return tables[name]


def as_text(rows: Sequence[Row]) -> str:
    """The table for the terminal, and below it every pair of which something is left in a test split."""
    if not rows:
        return "this suite has no pair of sets to compare\n"
    columns = AUDIT_COLUMNS[1:]
    lines = [columns, *([row[column] for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    told = [
        f"{row['test_left']} of {row['test_shapes']} test shapes of {row['dataset']} stand in {row['trained_on']} "
        f"({_USES[row['use']]}); they are listed in "
        f"results/manifest/{duplicates_name(row['trained_on'], row['dataset'])}"
        for row in rows
        if row["test_left"] != "0"
    ]
    return "\n".join([*table, "", *(told or ["No test shape was found in what is trained on."])]) + "\n"
