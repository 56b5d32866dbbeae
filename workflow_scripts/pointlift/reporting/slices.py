"""The slices of the config that ``collect_metrics`` and ``draw_report`` read."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pointlift.contracts.settings import Settings as BaseSettings


class Disjoint(BaseSettings):
    """Sets of shapes that must not share a shape: (dataset, its splits) pairs, each pair a set of its own."""

    row: str
    """What the sets belong to, e.g. ``mcd_transfer lpsb/12-8/transfer``."""
    sets: tuple[tuple[str, tuple[str, ...]], ...]
    distilled: str = ""
    """The one of these datasets that is distilled on, hence without the duplicates that its block leaves out."""


class CostEntry(BaseSettings):
    """What one benchmark file measured, and what lies beside it."""

    path: str
    phase: str
    run: str = ""
    gpus: float = Field(default=0.0, ge=0.0)
    """Graphics cards the job held; gpu_hours is this many times its wall time."""
    files: tuple[str, ...] = ()
    """Its outputs; their sizes are added up. A file that does not exist (any more) is left out."""
    weights: str | None = None
    """A safetensors file whose numbers are counted."""


class CollectSettings(BaseSettings):
    """What ``collect_metrics`` is told."""

    suite: str
    seeds: tuple[int, ...] = ()
    """Seeds of the suite: metrics of any other are an error. Empty: not checked."""
    disjoint: tuple[Disjoint, ...] = ()
    cost: tuple[CostEntry, ...] = ()
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Taken so that both steps may be handed the same slice; the tables do not hold it."""


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


class ShowSettings(BaseSettings):
    """What ``show_leaderboard`` is told: nothing."""
