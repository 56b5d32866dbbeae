"""Training histories: JSON lines, one per epoch, read into curves."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pointlift.contracts.errors import ArtifactError

_NO_CURVE = ("epoch", "step", "lr", "seconds", "time")
_SEED = re.compile(r"seed\d+")
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Training:
    """Everything trained the same way: ``curves`` by value name, one curve per seed."""

    phase: str
    name: str
    curves: dict[str, list[Points]]


def read_histories(paths: Sequence[Path]) -> list[Training]:
    """Histories grouped by their folder without its ``seed3`` part, sorted; the folder above all is left out.

    Raises ``ArtifactError`` naming a file that is missing or holds no JSON lines.
    """
    groups: dict[tuple[str, str], dict[str, list[Points]]] = {}
    names = _names([path.parent for path in paths])
    for path in sorted(paths):
        curves = groups.setdefault(names[path.parent], {})
        for key, points in _curves(path).items():
            curves.setdefault(key, []).append(points)
    return [Training(*name, curves=groups[name]) for name in sorted(groups)]


def last_step(path: str) -> int | None:
    """Optimiser steps of a whole training; None where its history lies elsewhere, or has no line."""
    records = _records(Path(path)) if Path(path).is_file() else []
    return int(records[-1]["step"]) if records else None


def _names(folders: Sequence[Path]) -> dict[Path, tuple[str, str]]:
    """(first part, the rest) of every folder below the one that holds them all."""
    if not folders:
        return {}
    top = Path(os.path.commonpath([folder.parent.parent for folder in folders]))
    names = {}
    for folder in folders:
        parts = [part for part in folder.relative_to(top).parts if not _SEED.fullmatch(part)]
        names[folder] = (parts[0], " / ".join(parts[1:]) or parts[0])
    return names


def _curves(path: Path) -> dict[str, Points]:
    curves: dict[str, Points] = {}
    for index, record in enumerate(_records(path)):
        x = float(record.get("epoch", record.get("step", index)))
        for key, value in record.items():
            if key not in _NO_CURVE and _is_number(value):
                curves.setdefault(key, []).append((x, float(value)))
    return curves


def _records(path: Path) -> list[dict[str, float]]:
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is not an object")
        return records
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON lines ({error}); delete it and run snakemake again") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
