"""The blocks of tasks that judge frozen embeddings, in config.yaml."""

from __future__ import annotations

from typing import Literal

from pointlift.contracts.blocks import TaskSettings


class FrozenSettings(TaskSettings):
    """What every task says that judges a student's frozen embedding."""

    of: Literal["embedding", "projected"] = "embedding"
    """embedding: the student's own. projected: in the teacher's space, by the method's head; of runs that have one."""

    def protocol_words(self) -> tuple[str, ...]:
        """What stands in a row's protocol beside dataset and form: numbers on one embedding never meet the other's."""
        words = super().protocol_words()
        return (*words, "projected") if self.reads_projected() else words

    def reads_projected(self) -> bool:
        """Whether it judges shapes in the teacher's space."""
        return self.of == "projected"
