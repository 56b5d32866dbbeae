"""Protocols: what two numbers must share, beside their metric, to stand in one table.

The field's tables mix test sets, subsets of points, votes and ways to choose an epoch under one heading. Here one name
stands for all of it: ``lpsb/12-8/transfer`` fixes the base and its variant, how many points a student is given, how
often each test item is answered, by what the weights were chosen and what was asked. The object travels with every
number, and whoever makes a table compares objects, not names.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pointlift.contracts.blocks import TaskSettings
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.settings import Settings


class Protocol(Settings):
    """What a number was measured by. Two are comparable when these are equal."""

    base: str
    """Whose shapes: mn40, sonn, lpsb."""
    variant: str = ""
    """Which release, split and points of it: h5-2048-first1024, pb_t50_rs, 12-8."""
    num_points: int | None = None
    """Points of every cloud that a student is given; None: each cloud has its own number."""
    words: tuple[str, ...] = ()
    """What a task adds to the name: a published protocol, the space that is judged, a target."""
    form: Literal["transfer", "joint"]
    """Whether the shapes that were distilled on are others (transfer), or the task's own train split (joint)."""
    selection: Literal["last", "oracle_test"] = "last"
    """What the headline's weights were chosen by. Published protocols choose by the test split."""
    votes: int = Field(default=0, ge=0)
    """Answers that are folded into one for each test item. Ours: none."""
    asked: dict[str, Any] = Field(default_factory=dict)
    """The task's keys that say what is asked of a student, not how it is trained: episodes, shots, draws, prompts."""

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return "/".join(part for part in (self.base, self.variant, *self.words, self.form) if part)


def protocol_of(dataset: DatasetSettings, task: TaskSettings, form: Literal["transfer", "joint"]) -> Protocol:
    """What a task on a dataset measures of a run of this form."""
    base, _, variant = dataset.protocol.partition("/")
    said = task.model_dump(mode="json")
    return Protocol(
        base=base,
        variant=variant,
        num_points=None if getattr(dataset, "subsample", None) == "all" else dataset.num_points,
        words=task.protocol_words(),
        form=form,
        selection="last" if task.protocol is None else "oracle_test",
        asked={key: said[key] for key in task.measures},
    )


def differing(first: Protocol, second: Protocol) -> str:
    """In words where two protocols differ: ``num_points 1024 and 512, asked.shots [1] and [5]``; empty where equal."""
    ours, theirs = (_flat(one.model_dump(mode="json")) for one in (first, second))
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    return ", ".join(f"{key} {ours.get(key)} and {theirs.get(key)}" for key in keys)


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    asked = {f"asked.{key}": value for key, value in fields.pop("asked").items()}
    return fields | asked
