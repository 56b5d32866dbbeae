"""The blocks of related tasks in config.yaml: those that judge frozen embeddings, name classes, label points."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.blocks import FinetuningSettings, TaskSettings


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


class SegmentationSettings(FinetuningSettings):
    """What every task says that labels points, of the head it puts over the student."""

    head_widths: tuple[int, ...] = (512, 256, 128)
    """Blocks over the row of every point, before the last layer (PointMCD's PointNet); (): the last layer alone."""
    head_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """After every block but the last."""
    read_tokens: bool = True
    """False: the student's tokens reach the head only through its embedding and levels (DGCNN's form)."""
    level_blocks: tuple[tuple[int, ...], ...] = ()
    """Blocks after each level of the student is joined, coarsest first (PointNet++'s feature propagation); (): none."""


class ClassificationSettings(FinetuningSettings):
    """What every task says that finetunes the student with a head that names classes."""

    regime: Literal["all", "frozen"] = "all"
    """``all``: student and head are trained. ``frozen``: only a linear layer on the student's frozen embedding."""
    head: Literal["block", "linear", "linear_norm"] = "block"
    """block: a hidden block, then a linear layer without bias (PointMCD). linear: one linear layer. linear_norm: and a
    batch norm of the class scores (the code of Image2Point). A frozen student has a linear one, whatever is said."""
    head_width: int = Field(default=512, ge=1)
    """Width of the head's hidden block, where it has one."""
    added_later: ClassVar[tuple[str, ...]] = ("head",)
