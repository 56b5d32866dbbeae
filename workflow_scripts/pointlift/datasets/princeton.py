"""Labeled Princeton Segmentation Benchmark: 19 classes of 20 watertight meshes with named parts per face.

Chen, Golovinskiy, Funkhouser: A Benchmark for 3D Mesh Segmentation, SIGGRAPH 2009; face labels by Kalogerakis,
Hertzmann, Singh, SIGGRAPH 2010. Layout ``lpsb/<Class>/<number>.off`` with ``<number>_labels.txt``. Poses follow no
common axis.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from pointlift.contracts.dataset import Entry
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ConfigError, UnusableShapeError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.shards import Array
from pointlift.datasets.mesh_file import read_bytes
from pointlift.datasets.off_file import read_off
from pointlift.datasets.source_folder import SplitName, checksum, require_below
from pointlift.geometry.meshes import Mesh, clean

#: First number of every class; each has 20 in a row. 261 to 280 are not in the labelled set.
FIRST_NUMBER = {
    "Human": 1, "Cup": 21, "Glasses": 41, "Airplane": 61, "Ant": 81, "Chair": 101, "Octopus": 121, "Table": 141,
    "Teddy": 161, "Hand": 181, "Plier": 201, "Fish": 221, "Bird": 241, "Armadillo": 281, "Bust": 301, "Mech": 321,
    "Bearing": 341, "Vase": 361, "FourLeg": 381,
}  # fmt: skip
PER_CLASS = 20
#: Files that are the same, byte for byte: such twins stand on one side of the split, ranked next to each other.
TWINS = {"Bird-243": "Bird-251", "Fish-227": "Fish-226"}
NUM_TEST = 8

_PARTS = {
    "Airplane": "body engine rudder stabilizer wing",
    "Ant": "antenna back head leg torso",
    "Armadillo": "back ear foot hand head lowerArm lowerLeg tail torso upperArm upperLeg",
    "Bearing": "base1 base2 bigroller mediumroller smallroller tinyroller",
    "Bird": "body head leg tail wing",
    "Bust": "background ear eye face hair mouth neck nose",
    "Chair": "arm backsupport leg support",
    "Cup": "body handle",
    "Fish": "body fin tail",
    "FourLeg": "earhorn head leg neck tail torso",
    "Glasses": "lens middle skeleton",
    "Hand": "finger1 finger2 finger3 finger4 hand thumb",
    "Human": "foot hand head lowerarm lowerleg torso upperarm upperleg",
    "Mech": "bigbox bigcylinder mediumcylinder smallbox smallcylinder",
    "Octopus": "body leg",
    "Plier": "center edge handle",
    "Table": "leg support",
    "Teddy": "ear hand head leg torso",
    "Vase": "base body handle spout top",
}
PART_NAMES = tuple(sorted(f"{name}/{part}" for name, parts in _PARTS.items() for part in parts.split()))


class Settings(DatasetSettings):
    """The labelled benchmark with the 12/8 split of docs/splits/lpsb-12-8.csv."""

    num_val: int = Field(default=2, ge=0, le=11)
    """How many of the 12 train shapes of every class are val."""
    needs_files: ClassVar[bool] = True
    has_parts: ClassVar[bool] = True


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """The 380 ids ``<Class>-<number>``, known without any file."""
    del settings, folder
    return tuple(shape_id for name in sorted(FIRST_NUMBER) for shape_id in _ids_of(name))


def split_of(shape_id: str, num_val: int) -> SplitName:
    """Split of a shape: its class ordered by the stable hash of the id; first 8 test, next ``num_val`` val, then train.

    The test shapes depend on the ids alone.
    """
    ranked = sorted(_ids_of(shape_id.split("-", maxsplit=1)[0]), key=_place)
    rank = ranked.index(shape_id)
    return "test" if rank < NUM_TEST else ("val" if rank < NUM_TEST + num_val else "train")


def _place(shape_id: str) -> tuple[int, bool]:
    return stable_seed(TWINS.get(shape_id, shape_id), "lpsb-12-8"), shape_id in TWINS


def build(settings: Settings, folder: Path | None) -> Princeton:
    """Open the unpacked archive; ``folder`` holds ``lpsb`` or is it."""
    return Princeton(settings, require_below(folder, "princeton", "lpsb", "Human"))


class Princeton:
    """The labelled benchmark, on disk."""

    licence = "research use"
    source = "Labeled Princeton Segmentation Benchmark (Chen et al. 2009, Kalogerakis et al. 2010)"
    up_axis = None
    class_names = tuple(sorted(FIRST_NUMBER))
    part_names = PART_NAMES

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.ids = list_ids(settings)
        self._known = frozenset(self.ids)

    def entry(self, shape_id: str) -> Entry:
        """Class and split by id."""
        path = self._path(shape_id)
        relative = path.relative_to(self._root).as_posix()
        return Entry(path.parent.name, split_of(shape_id, self._settings.num_val), relative, checksum(path))

    def load(self, shape_id: str) -> Mesh:
        """The cleaned mesh with one part label per face."""
        path = self._path(shape_id)
        vertices, faces, polygon_index = read_off(read_bytes(path))
        num_polygons = int(polygon_index.max(initial=-1)) + 1
        labels = read_part_labels(path.with_name(f"{path.stem}_labels.txt"), path.parent.name, num_polygons)
        return clean(Mesh(vertices, faces, labels[polygon_index]))

    def _path(self, shape_id: str) -> Path:
        if shape_id not in self._known:
            raise ConfigError(f"{shape_id!r} is no shape of the labelled Princeton set; an id is e.g. Human-001")
        name, number = shape_id.split("-")
        return self._root / name / f"{int(number)}.off"


def read_part_labels(path: Path, class_name: str, num_polygons: int) -> Array:
    """Label of every polygon (p,) int16, an index in ``PART_NAMES``, from blocks of a part name and 1-based faces.

    Raises ``UnusableShapeError`` unless every polygon has exactly one label.
    """
    labels, name = np.full(num_polygons, -1, dtype=np.int16), ""
    for line in read_bytes(path).decode("latin-1").splitlines():
        words = line.split()
        if not words:
            continue
        if not words[0].isdecimal():
            name = f"{class_name}/{words[0]}"
            continue
        if name not in PART_NAMES:
            raise UnusableShapeError(f"{path.name}: unknown part {name!r}")
        if not all(word.isdecimal() and len(word) < 10 for word in words):
            raise UnusableShapeError(f"{path.name}: {name} holds something that is no face number")
        faces = np.array(words, dtype=np.int64) - 1
        if faces.min() < 0 or faces.max() >= num_polygons or (labels[faces] >= 0).any():
            raise UnusableShapeError(f"{path.name}: {name} names a face twice or one that the mesh does not have")
        labels[faces] = PART_NAMES.index(name)
    if (labels < 0).any():
        raise UnusableShapeError(f"{path.name}: {int((labels < 0).sum())} of {num_polygons} faces have no part")
    return labels


def _ids_of(name: str) -> tuple[str, ...]:
    if name not in FIRST_NUMBER:
        return ()
    return tuple(f"{name}-{FIRST_NUMBER[name] + index:03d}" for index in range(PER_CLASS))
