"""Princeton Shape Benchmark: 1,809 of its 1,814 models of every quality, y up, with the class tree of its .cla files.

Shilane, Min, Kazhdan, Funkhouser: The Princeton Shape Benchmark, SMI 2004. Layout ``psb/m<number>.off`` with
``train.cla`` and ``test.cla``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.dataset import Entry
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.datasets.mesh_file import read_mesh
from pointlift.datasets.source_folder import SplitName, checksum, read_lines, require_below
from pointlift.geometry.meshes import Mesh, clean

#: 762 was never given out; the archive leaves the other five out because of their size.
MISSING = frozenset({303, 762, 1120, 1377, 1541, 1755})
LAST_NUMBER = 1814


class Settings(DatasetSettings):
    """The benchmark, with its own train and test halves, or as a set without labels to distil on."""

    unlabelled: bool = False
    """True: no shape has a class, and all are train but those that go to val; the protocol says so."""
    level: int | None = Field(default=None, ge=1, le=3)
    """Of the class tree: 1 takes the classes at its top (21 stand in both halves, with 1,630 shapes), 2 those below
    them (29, with 1,171), and so on. None: the classes themselves (21, with 737). The protocol says so."""
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train shapes that go to val, chosen by a stable hash of the id."""
    needs_files: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """The classes: psb/unlabelled, psb/leaf, psb/level1."""
        labelled = "leaf" if self.level is None else f"level{self.level}"
        return f"psb/{'unlabelled' if self.unlabelled else labelled}"


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """The 1,809 ids ``m<number>``, known without any file."""
    del settings, folder
    return tuple(f"m{number}" for number in range(LAST_NUMBER + 1) if number not in MISSING)


def build(settings: Settings, folder: Path | None) -> Psb:
    """Open the unpacked archive; ``folder`` holds ``psb`` or is it."""
    return Psb(settings, require_below(folder, "psb", "psb", "train.cla"))


class Psb:
    """The benchmark, on disk. A shape has a label only when its class stands in both halves."""

    licence = "research use"
    source = "Princeton Shape Benchmark (Shilane et al. 2004)"
    up_axis: Literal["y"] = "y"
    part_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.ids = list_ids(settings)
        self._known = frozenset(self.ids)
        read = {split: read_classes(root / f"{split}.cla") for split in ("train", "test")}
        halves = {
            split: {shape_id: _class_name(path, settings.level) for shape_id, path in paths.items()}
            for split, paths in read.items()
        }
        self._class_of = {**halves["train"], **halves["test"]}
        self._test = frozenset(halves["test"])
        shared = {name for shape_id, name in halves["train"].items() if shape_id in self._known} & {
            name for shape_id, name in halves["test"].items() if shape_id in self._known
        }
        self.class_names = () if settings.unlabelled else tuple(sorted(shared))

    def entry(self, shape_id: str) -> Entry:
        """Class by the .cla files (none when unlabelled), split by them and the stable hash of the id."""
        path = self._path(shape_id)
        class_name = "" if self._settings.unlabelled else self._class_of.get(shape_id, "")
        return Entry(class_name, self._split(shape_id), path.name, checksum(path))

    def load(self, shape_id: str) -> Mesh:
        """The cleaned mesh, z up."""
        return clean(read_mesh(self._path(shape_id), self.up_axis))

    def _split(self, shape_id: str) -> SplitName:
        if shape_id in self._test and not self._settings.unlabelled:
            return "test"
        return "val" if stable_seed(shape_id, "psb", "val") / 2**63 < self._settings.val_share else "train"

    def _path(self, shape_id: str) -> Path:
        if shape_id not in self._known:
            raise ConfigError(f"{shape_id!r} is no shape of the Princeton Shape Benchmark; an id is e.g. m0")
        return self._root / f"{shape_id}.off"


def read_classes(path: Path) -> dict[str, tuple[str, ...]]:
    """Class of every shape id that a .cla file lists, by its names from the top of the tree down.

    The file: ``PSB 1``, the numbers of classes and shapes, then per class ``name parent count`` and that many shape
    numbers; a parent stands before its children, 0 is none. Raises ``ArtifactError`` when it is not so.
    """
    try:
        words = " ".join(read_lines(path)).split()
        if words[0] != "PSB":
            raise ValueError("it does not begin with PSB")
        num_classes, num_shapes = int(words[2]), int(words[3])
        found: dict[str, tuple[str, ...]] = {}
        above: dict[str, tuple[str, ...]] = {"0": ()}
        at = 4
        for _ in range(num_classes):
            name, parent, count = words[at], words[at + 1], int(words[at + 2])
            if parent not in above or name in above:
                raise ValueError(f"class {name[:40]!r} stands twice, or before its parent {parent[:40]!r}")
            above[name] = (*above[parent], name)
            found.update({f"m{int(number)}": above[name] for number in words[at + 3 : at + 3 + count]})
            at += 3 + count
        if at != len(words) or len(found) != num_shapes:
            raise ValueError(f"it lists {len(found)} shapes, its header says {num_shapes}")
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise ArtifactError(f"{path}: not a readable class file ({error}); unpack the archive again") from None
    return found


def _class_name(path: tuple[str, ...], level: int | None) -> str:
    """The last name of a class, or its first ``level`` names: other branches may have the same name below."""
    return path[-1] if level is None else "/".join(path[:level])
