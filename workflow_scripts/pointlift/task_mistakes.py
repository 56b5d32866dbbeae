"""Mistakes of tasks: what is asked of shapes is not asked of scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointlift.contracts.blocks import TaskSettings

if TYPE_CHECKING:
    from pointlift.configuration import Config


def task_mistakes(config: Config, name: str, task: TaskSettings) -> list[str]:
    """What is wrong with one task, beside blocks that do not exist."""
    dataset = config.datasets.get(task.dataset)
    has_scenes = getattr(dataset, "has_scenes", False)
    if dataset is None or task.reads_scenes == has_scenes:
        return []
    wanted, given = ("scenes", "single shapes") if task.reads_scenes else ("single shapes", "scenes")
    fitting = [other for other, block in config.datasets.items() if getattr(block, "has_scenes", False) != has_scenes]
    return [
        f"tasks.{name}.dataset: {task.dataset!r} (kind {dataset.kind!r}) has {given}, and a task of kind {task.kind!r} "
        f"is about {wanted}; name one of {', '.join(fitting) or 'none that is here'}"
    ]
