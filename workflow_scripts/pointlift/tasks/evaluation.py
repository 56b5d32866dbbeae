"""One run judged by one task: what ``evaluate_task`` is asked, and the metrics file it writes per seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pointlift.contracts.metrics import Metrics, write_metrics
from pointlift.contracts.protocols import Protocol
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.tasks.judgement import Judgement


class Row(BaseSettings):
    """The words of a row of the results table."""

    method: str
    arm: str
    student: str
    teacher: str
    pretrain_dataset: str
    dataset: str


class EvaluationSettings(BaseSettings):
    """One evaluation: the slice of config.yaml that ``evaluate_task`` is given."""

    run: str
    row: Row
    protocol: Protocol
    task: dict[str, Any]
    seeds: tuple[int, ...]
    settings_hash: str

    def save(self, path: Path, judgement: Judgement, seed: int) -> None:
        """Write what was found with one seed."""
        metrics = Metrics(
            **self.row.model_dump(),
            protocol=self.protocol.name,
            measured_by=self.protocol,
            run=self.run,
            task=self.task["kind"],
            seed=seed,
            settings_hash=self.settings_hash,
            n_train=judgement.n_train,
            n_test=len(judgement.test_ids),
            values=judgement.values,
            test_ids=judgement.test_ids,
            outcomes=judgement.outcomes,
            items=judgement.items,
            clusters=judgement.clusters,
            copies_unknown=judgement.copies_unknown,
            audit=judgement.audit,
        )
        write_metrics(path, metrics)
