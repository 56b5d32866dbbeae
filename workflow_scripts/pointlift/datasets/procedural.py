"""Procedural shapes: man-made categories from parametric families, with named parts. Needs no file.

Classes share their parts and proportions on purpose (a low-backed stool and a chair, a bench and a table), every shape
is stretched along its axes and turned about the up axis, so that crude statistics do not tell the classes apart while
their structure does.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from pointlift.contracts.dataset import Entry
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.procedural_blocks import SplitSettings
from pointlift.datasets.assembly import Draw
from pointlift.datasets.families import FAMILIES, PART_NAMES
from pointlift.datasets.split_order import split_of_index
from pointlift.geometry.meshes import Mesh, clean


class Settings(DatasetSettings):
    """A set of procedural shapes. Blocks with different ``series`` have no shape in common."""

    series: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    shapes_per_class: int = Field(default=40, ge=1, le=99999)
    classes: tuple[
        Literal[
            "airplane", "bed", "bench", "bottle", "cabinet", "chair", "cup", "desk", "helicopter", "lamp", "shelf",
            "sofa", "stool", "table", "teapot", "vase",
        ],
        ...,
    ] = ()  # fmt: skip
    """Which classes; none named: all of them."""
    splits: SplitSettings = SplitSettings()
    rotation: Literal["none", "up"] = "up"
    """Every shape is turned about the up axis by a random angle, or not."""
    tilt_degrees: float = Field(default=0.0, ge=0.0, le=90.0)
    """Largest random tilt of the up axis."""
    stretch: float = Field(default=0.25, ge=0.0, le=0.7)
    """Each axis is scaled by exp(u), u uniform within plus or minus this."""
    needs_files: ClassVar[bool] = False
    has_parts: ClassVar[bool] = True
    listing: ClassVar[tuple[str, ...]] = ("shapes_per_class",)


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """All ids ``<class>-<series>-<00000>``, the first shape of every class, then the second: more shapes append."""
    del folder
    names = class_names(settings)
    return tuple(
        f"{name}-{settings.series}-{index:05d}" for index in range(settings.shapes_per_class) for name in names
    )


def class_names(settings: Settings) -> tuple[str, ...]:
    """Sorted names of the classes a block asks for."""
    return tuple(sorted(set(settings.classes))) or tuple(sorted(FAMILIES))


def build(settings: Settings, folder: Path | None = None) -> Procedural:
    """Open the block; ``folder`` is not used."""
    del folder
    return Procedural(settings)


class Procedural:
    """Shapes made on demand; a shape depends on its id, ``seed`` and the pose settings alone."""

    licence = "MIT"
    source = "made by pointlift"
    up_axis: Literal["z"] = "z"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ids = list_ids(settings)
        self.class_names = class_names(settings)
        self.part_names = tuple(name for name in PART_NAMES if name.split("/")[0] in self.class_names)

    def entry(self, shape_id: str) -> Entry:
        """Class, split and the hash of the shape's arrays."""
        name, index = self._parse(shape_id)
        mesh = self.load(shape_id)
        assert mesh.part_label is not None  # noqa: S101
        arrays = (mesh.vertices.astype("<f8"), mesh.faces.astype("<i8"), mesh.part_label.astype("<i2"))
        sha256 = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        return Entry(name, split_of_index(self._settings.splits, index), "", sha256)

    def load(self, shape_id: str) -> Mesh:
        """The mesh, with an index in ``part_names`` for every face."""
        name, _ = self._parse(shape_id)
        return _make(shape_id, name, self._settings, self.part_names)

    def _parse(self, shape_id: str) -> tuple[str, int]:
        name, _, number = shape_id.partition(f"-{self._settings.series}-")
        if name not in self.class_names or not number.isdigit():
            raise ConfigError(f"{shape_id!r} is no shape of this procedural dataset (series {self._settings.series})")
        return name, int(number)


@lru_cache(maxsize=2)
def _make(shape_id: str, name: str, settings: Settings, part_names: tuple[str, ...]) -> Mesh:
    structure = Draw(np.random.default_rng(stable_seed(shape_id, settings.seed, "structure")))
    part_index = {part.partition("/")[2]: index for index, part in enumerate(part_names) if part.startswith(f"{name}/")}
    vertices, faces, part_label = FAMILIES[name](structure).arrays(part_index)
    pose = np.random.default_rng(stable_seed(shape_id, settings.seed, "pose"))
    stretch, yaw, tilt, heading = pose.uniform(-1.0, 1.0, 3), *pose.uniform(0.0, 1.0, 3)
    vertices = vertices * np.exp(settings.stretch * stretch)
    if settings.rotation == "up":
        vertices = vertices @ _about(2, 2 * np.pi * yaw).T
    if settings.tilt_degrees:
        direction = _about(2, 2 * np.pi * heading)
        vertices = vertices @ (direction @ _about(0, np.radians(settings.tilt_degrees) * tilt) @ direction.T).T
    return clean(Mesh(vertices, faces, part_label))


def _about(axis: int, angle: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    matrix = np.eye(3)
    first, second = [other for other in range(3) if other != axis]
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix
