"""What an evaluation leaves behind: values by name, and the outcome of every test item."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text
from pointlift.contracts.protocols import Protocol
from pointlift.contracts.settings import Settings


class Value(Settings):
    """One number of the results. ``selection``: which weights made it; ``last`` is the headline."""

    metric: str
    value: float
    selection: Literal["last", "val", "oracle_test"] = "last"


class Audit(Settings):
    """What a choice by test scores would have had to choose from: for the inflation ladder alone, never a result.

    on_test : by metric its value on test at every logged epoch, the last is the headline; votes : by metric its value
    of every repetition of test-time voting with the last weights.
    """

    on_test: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    votes: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _finite(self) -> Audit:
        for values in (*self.on_test.values(), *self.votes.values()):
            if not values or not all(math.isfinite(value) for value in values):
                raise ValueError("an audit has finite numbers, one or more of each metric")
        return self


class Metrics(Settings):
    """One run judged by one task with one seed: a row of summary.csv per value.

    ``outcomes`` holds, per metric that has them, one number per id in ``test_ids`` (e.g. 1.0 for a right answer), so
    that two runs can be compared item by item. ``items`` names other items for those of its keys: folds, the queries of
    every fold, or classes. A key without a value is a table to read: no runs are compared by it. ``clusters`` names,
    per test id, the object it is a copy of, where the set has several of one; empty: each is its own, or, where
    ``copies_unknown`` is true, the set has copies and nothing says which.
    """

    run: str
    method: str
    arm: str
    student: str
    teacher: str
    pretrain_dataset: str
    task: str
    dataset: str
    protocol: str
    seed: int
    settings_hash: str
    n_train: int = Field(ge=0)
    n_test: int = Field(ge=1)
    values: tuple[Value, ...] = Field(min_length=1)
    test_ids: tuple[str, ...]
    outcomes: dict[str, tuple[float, ...]]
    items: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    measured_by: Protocol | None = None
    """What ``protocol`` is the name of; None in files of before it was written down."""
    clusters: tuple[str, ...] = ()
    copies_unknown: bool = False
    audit: Audit = Audit()

    def items_of(self, metric: str) -> tuple[str, ...]:
        """What the outcomes of a metric are of."""
        return self.items.get(metric, self.test_ids)

    @model_validator(mode="after")
    def _consistent(self) -> Metrics:
        if any(not math.isfinite(value.value) for value in self.values):
            raise ValueError("a metric is not a finite number")
        if any(len(outcome) != len(self.items_of(metric)) for metric, outcome in self.outcomes.items()):
            raise ValueError("outcomes must have one number per test id")
        if any(len(set(items)) != len(items) for items in self.items.values()) or set(self.items) - set(self.outcomes):
            raise ValueError("items must be of outcomes, none twice")
        if self.measured_by is not None and self.measured_by.name != self.protocol:
            raise ValueError(f"protocol must be {self.measured_by.name!r}, the name of what it was measured by")
        if self.clusters and len(self.clusters) != len(self.test_ids):
            raise ValueError("clusters must name one object per test id")
        if self.clusters and self.copies_unknown:
            raise ValueError("copies whose objects are named are not unknown")
        return self


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write as JSON, sorted and atomic."""
    text = json.dumps(json.loads(metrics.model_dump_json()), sort_keys=True, indent=1)
    write_text(path, text + "\n")


def read_metrics(path: Path) -> Metrics:
    """Read and check; raises ``ArtifactError`` naming the file."""
    try:
        return Metrics.model_validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except ValidationError as error:
        first = error.errors()[0]
        told = ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)
        raise ArtifactError(
            f"{path}: not a metrics file ({error.error_count()} mistakes, first {told}); delete it and run "
            "snakemake again"
        ) from None
