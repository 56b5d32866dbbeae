"""How many shapes of each dataset could not be used, at which stage and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from pointlift.contracts.shards import read_header
from pointlift.reporting.tables import QUARANTINE_COLUMNS, Row

Fault = tuple[str, str, str, str]  # dataset, stage, reason, shape id


def quarantine_rows(manifests: Mapping[str, pd.DataFrame], faults: Iterable[Fault]) -> list[Row]:
    """Rows of ``QUARANTINE_COLUMNS``, sorted: one per dataset, stage and reason, with a count and one example.

    ``shapes`` is the size of the dataset, usable or not. A dataset without faults has one row that says 0.
    """
    known = sorted(set(faults))
    rows = []
    for dataset in sorted(set(manifests) | {fault[0] for fault in known}):
        own = [fault for fault in known if fault[0] == dataset]
        listed = set(manifests[dataset]["shape_id"]) if dataset in manifests else set()
        shapes = str(len(listed | {fault[3] for fault in own}))
        for stage, reason in sorted({fault[1:3] for fault in own}):
            ids = [fault[3] for fault in own if fault[1:3] == (stage, reason)]
            rows.append(_row(dataset, shapes, stage, reason, str(len(ids)), ids[0]))
        if not own:
            rows.append(_row(dataset, shapes, "", "", "0", ""))
    return rows


def faults_of_table(dataset: str, table: pd.DataFrame) -> list[Fault]:
    """Faults listed in ``{dataset}.quarantine.csv``."""
    columns = (table["stage"], table["reason"], table["shape_id"])
    return [(dataset, str(stage), str(reason), str(shape_id)) for stage, reason, shape_id in zip(*columns, strict=True)]


def faults_of_views(path: Path) -> list[Fault]:
    """Faults that the job put into the header of ``.../{dataset}/{rig}/{shard}.safetensors``; no image is read."""
    dataset, rig = path.parent.parent.name, path.parent.name
    told = read_header(path, "views").attributes
    reasons, phase = told.get("quarantine", {}), told.get("phase", "render_views")
    return [(dataset, f"{phase} ({rig})", str(reason), shape_id) for shape_id, reason in reasons.items()]


def dataset_name(path: Path) -> str:
    """``modelnet`` for ``.../modelnet.csv`` and ``.../modelnet.quarantine.csv``."""
    return path.name.removesuffix(".csv").removesuffix(".quarantine")


def _row(*cells: str) -> Row:
    return dict(zip(QUARANTINE_COLUMNS, cells, strict=True))
