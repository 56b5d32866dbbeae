"""What a task saw at every logged epoch, from its metrics files: a chart per measure, with a line per run and seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pointlift.contracts.metrics import Metrics
from pointlift.reporting.figures import NUM_COLOURS
from pointlift.reporting.history import Points

#: Outcomes of such a name are one number per epoch; their items are the numbers of epochs done, 0 before the first.
_ENDING = "_by_epoch"


@dataclass(frozen=True)
class TaskCurves:
    """One measure of one task: lines by run, one per seed. ``title``: task, dataset and protocol."""

    title: str
    measure: str
    lines: dict[str, list[Points]]


def task_curves(metrics: Iterable[Metrics]) -> list[TaskCurves]:
    """Sorted, whatever the order of the input; runs that would share a colour stand in charts of their own."""
    groups: dict[tuple[str, str], dict[str, list[Points]]] = {}
    for item in sorted(metrics, key=lambda item: (item.task, item.dataset, item.protocol, item.run, item.seed)):
        title = f"{item.task} on {item.dataset}, {item.protocol}"
        for name, values in sorted(item.outcomes.items()):
            if name.endswith(_ENDING):
                points = [(float(epochs), value) for epochs, value in zip(item.items_of(name), values, strict=True)]
                lines = groups.setdefault((title, name.removesuffix(_ENDING)), {})
                lines.setdefault(item.run, []).append(points)
    return [TaskCurves(*key, part) for key in sorted(groups) for part in _parts(groups[key])]


def _parts(lines: dict[str, list[Points]]) -> list[dict[str, list[Points]]]:
    """Lines of at most as many runs as there are colours, in parts of about one size."""
    number = -(-len(lines) // NUM_COLOURS)
    size = -(-len(lines) // number)
    names = list(lines)
    return [{name: lines[name] for name in names[first : first + size]} for first in range(0, len(names), size)]
