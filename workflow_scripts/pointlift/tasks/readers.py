"""What reads the answers that a task judges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pointlift.contracts.blocks import Answers, TaskSettings
from pointlift.tasks.scenes import read_box_predictions, read_point_predictions
from pointlift.tasks.shapes import (
    read_embeddings,
    read_epoch_embeddings,
    read_part_predictions,
    read_predictions,
    read_subset_predictions,
)

#: By the kind of shard: from a manifest and a shard to what ``evaluate`` takes.
READERS: dict[Answers, Callable[[Path, Path], Any]] = {
    "embeddings": read_embeddings,
    "predictions": read_predictions,
    "part_predictions": read_part_predictions,
    "epoch_embeddings": read_epoch_embeddings,
    "subset_predictions": read_subset_predictions,
    "point_predictions": read_point_predictions,
    "box_predictions": read_box_predictions,
}


def reader_of(settings: TaskSettings) -> Callable[[Path, Path], Any]:
    """What reads the answers that a task with these settings judges."""
    if settings.answers == "embeddings":
        return partial(read_embeddings, of="projected" if settings.reads_projected() else "embedding")
    return READERS[settings.answers]
