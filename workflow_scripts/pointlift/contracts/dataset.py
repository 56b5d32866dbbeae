"""What a dataset offers: ids that are known without opening a file, and one mesh at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pointlift.contracts.shards import Array


@dataclass(frozen=True)
class Entry:
    """What is known of one shape beside its geometry.

    class_name : "" for a shape without a class; source_path : relative to the dataset's folder, "" where there is no
    file; sha256 : of the source file's bytes (of the arrays where there is no file).
    """

    class_name: str
    split: Literal["train", "val", "test"]
    source_path: str
    sha256: str


class MeshArrays(Protocol):
    """A triangle mesh as it crosses rooms; ``geometry.meshes.Mesh`` is one."""

    @property
    def vertices(self) -> Array:
        """(v, 3) float64."""

    @property
    def faces(self) -> Array:
        """(f, 3) int64, indices of vertices."""

    @property
    def part_label(self) -> Array | None:
        """(f,) int16, index in the dataset's ``part_names``; None where it has none."""


class Dataset(Protocol):
    """One dataset block, opened. ``class_names`` is sorted; labels are indices in it."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    part_names: tuple[str, ...]
    licence: str
    source: str
    up_axis: Literal["x", "y", "z"] | None
    """Axis that points up in the source files, None where poses are arbitrary. What ``load`` gives is z up."""

    def entry(self, shape_id: str) -> Entry:
        """Class, split and source of one shape; ``sha256`` is "" when its file cannot be read."""

    def load(self, shape_id: str) -> MeshArrays:
        """One cleaned mesh, z up, in the units of its source. Raises ``UnusableShapeError`` with the reason."""
