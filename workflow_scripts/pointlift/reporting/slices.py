"""The slices of the config that ``collect_metrics``, ``draw_report`` and ``write_model_cards`` read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pointlift.contracts.settings import Settings as BaseSettings


class Disjoint(BaseSettings):
    """Sets of shapes that must not share a shape: (dataset, its splits) pairs, each pair a set of its own."""

    row: str
    """What the sets belong to, e.g. ``mcd_transfer lpsb/12-8/transfer``."""
    sets: tuple[tuple[str, tuple[str, ...]], ...]
    places: dict[str, str] = Field(default_factory=dict)
    """By dataset, a regular expression of the part of an id that says where it was seen: a room, a street."""
    distilled: str = ""
    """The one of these datasets that is distilled on, hence without the duplicates that its block leaves out."""


class CostEntry(BaseSettings):
    """What one benchmark file measured, and what lies beside it."""

    path: str
    phase: str
    run: str = ""
    task: str = ""
    """The task that it is for; empty: for every one of its run."""
    dataset: str = ""
    """The task's dataset; empty: for every one of its run."""
    gpus: float = Field(default=0.0, ge=0.0)
    """Graphics cards the job held; gpu_hours is this many times its wall time."""
    files: tuple[str, ...] = ()
    """Its outputs; their sizes are added up. A file that does not exist (any more) is left out."""
    weights: str | None = None
    """A safetensors file whose numbers are counted."""
    reads: tuple[str, ...] = ()
    """What it reads of a teacher's cache (embeddings, tokens, visibility); sizes are added up where all exist."""


class CollectSettings(BaseSettings):
    """What ``collect_metrics`` is told."""

    suite: str
    seeds: tuple[int, ...] = ()
    """Seeds of the suite: metrics of any other are an error. Empty: not checked."""
    disjoint: tuple[Disjoint, ...] = ()
    matches: dict[str, str] = Field(default_factory=dict)
    """By run of arm scratch_matched, the run whose time it was given."""
    cost: tuple[CostEntry, ...] = ()
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Taken so that both steps may be handed the same slice; the tables do not hold it."""


class SpeedEntry(BaseSettings):
    """A finetuning whose steps to a target accuracy are counted: where its time and its steps are written."""

    run: str
    dataset: str
    protocol: str
    seed: int
    benchmark: str
    history: str


class Origin(BaseSettings):
    """What a run's weights saw before a task."""

    run: str
    saw: str
    """none, in-graph, 2D weights; of released weights what their authors say: shapenet-only, hybrid and the like."""
    label: str = ""
    """The same with which set, which teacher, whose weights, in a few words; empty: as it is."""
    told: str = ""
    """The same at length."""
    sets: tuple[tuple[Literal["distillation", "teacher", "published"], str], ...] = ()
    """What shaped its weights, or its teacher's: (use, dataset), or (published, whose weights)."""
    starts_from: tuple[str, ...] = ()
    """Runs whose weights it goes on with."""
    matches: str | None = None
    """The run that it is given as many seconds as."""


class PageSettings(BaseSettings):
    """What ``draw_report`` is told."""

    suite: str
    seeds: tuple[int, ...] = Field(min_length=1)
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Shown beside commit, config digest and versions; wins over them."""
    command: str = ""
    """What makes the page again; empty: ``make benchmark SUITE=<suite>``."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The blocks of config.yaml behind the suite: shown, with their digest."""
    speeds: tuple[SpeedEntry, ...] = ()
    """Of tasks that look for a target accuracy."""
    origins: tuple[Origin, ...] = ()
    """Of the suite's runs."""


class LearnedFrom(BaseSettings):
    """Something that has shaped a student's weights, and on which terms it was given."""

    name: str
    """Of its block."""
    what: str
    """E.g. ``shapes it was distilled on``."""
    made_here: bool = False
    """Made by pointlift itself, of nothing that anyone else owns."""
    licence: str | None = None
    """As its block says; None where that says nothing."""
    terms: str = ""
    page: str = ""


class CardSettings(BaseSettings):
    """One run of a model card: what it is, and all it rests on."""

    run: str
    form: str
    arm: str
    student: str
    method: str | None = None
    """None: without one."""
    teacher: str | None = None
    source: str | None = None
    """The teacher whose 2D weights its stages start from."""
    released: str | None = None
    """The file that others released, and its layout, which the student was filled with."""
    teacher_weights: str = ""
    """Where the weights of the teacher, or of that source, come from."""
    rig: str | None = None
    dataset: str | None = None
    num_points: int | None = Field(default=None, ge=1)
    """Of the clouds it was distilled on; None: each has its own number, or there are none."""
    keeps_coordinates: bool = False
    """Whether those clouds kept the units of their files."""
    placed_by_mesh: bool = False
    """Whether those clouds were sampled from meshes that were normalised whole."""
    init: str | None = None
    """The run whose student it started from."""
    learned_from: tuple[LearnedFrom, ...] = ()
    """Empty: its weights are random numbers."""
    finetuned_by: tuple[str, ...] = ()
    """Tasks of the suite that train it on before they judge it."""
    not_judged_by: tuple[str, ...] = ()
    """Kinds of task that the suite does not judge it by."""


class CardsSettings(BaseSettings):
    """What ``write_model_cards`` is told."""

    suite: str
    seeds: tuple[int, ...] = Field(min_length=1)
    command: str
    """What makes the weights again."""
    blocks: dict[str, dict[str, dict[str, Any]]]
    """What of config.yaml the runs rest on, by family and name: shown. Many runs share them."""
    runs: tuple[CardSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_block(self) -> CardsSettings:
        for card in self.runs:
            try:
                _ = self.blocks_of(card.run)["student"]["kind"]
            except KeyError as error:
                raise ValueError(f"blocks: run {card.run} lacks {error}") from None
            except RecursionError:
                raise ValueError(f"blocks: run {card.run} starts from itself") from None
        return self

    def blocks_of(self, run: str) -> dict[str, Any]:
        """A run's own block, those that it names (student, source ...), and all of the run it starts from."""
        own = self.blocks["runs"][run]
        found: dict[str, Any] = {"run": own}
        for word in ("student", "method", "teacher", "rig"):
            if own.get(word) is not None:
                found[word] = self.blocks[f"{word}s"][own[word]]
        if own.get("inflation") is not None:
            found["source"] = self.blocks["teachers"][own["inflation"]["source"]]
        return {**found, "init": self.blocks_of(own["init"])} if own.get("init") is not None else found


class ShowSettings(BaseSettings):
    """What ``show_leaderboard`` is told: nothing."""
