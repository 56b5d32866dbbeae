"""ModelNet's original meshes: ModelNet40 or ModelNet10 as OFF files, z up, in whatever unit each came.

Wu et al.: 3D ShapeNets, CVPR 2015. Layout ``<class>/{train,test}/<class>_<number>.off``. In some files of ModelNet40
the first line runs into the counts (``OFF3514 3546 0``); ``off_file`` reads both forms. ModelNet40 aligned by hand has
the same layout and names (recalled, not checked): it is another base, and nothing here can tell it from this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.dataset import Entry
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.datasets import modelnet40
from pointlift.datasets.mesh_file import read_mesh
from pointlift.datasets.source_folder import SplitName, checksum, require_folder, split_or_val
from pointlift.geometry.meshes import Mesh, clean

#: Name of the archive's folder, and classes.
VARIANTS = {
    "modelnet40": ("ModelNet40", modelnet40.CLASS_NAMES),
    "modelnet10": ("ModelNet10", modelnet40.TEN_CLASS_NAMES),
}
_SPLITS: tuple[SplitName, SplitName] = ("train", "test")


class Settings(DatasetSettings):
    """Which of the two; there is no default, for their numbers are not comparable."""

    variant: Literal["modelnet40", "modelnet10"]
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train shapes that go to val, chosen by a stable hash of the id."""
    partial: bool = False
    """True: the folder holds a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Set, base, and points that are not 1,024 of the whole surface: mn40/off, mn40/off-scan1-512."""
        name = f"mn{self.variant.removeprefix('modelnet')}/off{self._sampling_name()}"
        return f"{name}{'-partial' if self.partial else ''}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """One OFF file a shape, in one of two places and one of two splits."""
        places = ("", f"ModelNet{self.variant.removeprefix('modelnet')}/")
        classes = {shape_id: shape_id.rpartition("_")[0] for shape_id in shape_ids}
        return [
            f"{place}{classes[shape_id]}/{split}/{shape_id}.off"
            for place in places
            for shape_id in shape_ids
            for split in ("train", "test")
        ]


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``<class>_<number>``, train before test: known without files for the whole set, by the folder for a part."""
    return tuple(shape_id for ids in _ids(settings, folder).values() for shape_id in ids)


def build(settings: Settings, folder: Path | None) -> ModelNet:
    """Open the unpacked archive; ``folder`` holds ``ModelNet40`` or ``ModelNet10``, or is it."""
    return ModelNet(settings, require_folder(folder, "modelnet"))


class ModelNet:
    """The OFF files, on disk."""

    licence = modelnet40.LICENCE
    up_axis: Literal["z"] = "z"
    part_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._root = settings, _root(settings, folder)
        name, self.class_names = VARIANTS[settings.variant]
        self.source = f"{name} (Wu et al. 2015), the original meshes"
        by_split = _ids(settings, folder)
        self.ids = tuple(shape_id for ids in by_split.values() for shape_id in ids)
        self._split_of = {shape_id: split for split, ids in by_split.items() for shape_id in ids}

    def entry(self, shape_id: str) -> Entry:
        """Class and official split by the id, val by its stable hash."""
        path = self._path(shape_id)
        is_test = self._split_of[shape_id] == "test"
        split = split_or_val(shape_id, is_test, "modelnet", self._settings.val_share)
        return Entry(path.parent.parent.name, split, path.relative_to(self._root).as_posix(), checksum(path))

    def load(self, shape_id: str) -> Mesh:
        """The cleaned mesh, z up."""
        return clean(read_mesh(self._path(shape_id), self.up_axis))

    def _path(self, shape_id: str) -> Path:
        if shape_id not in self._split_of:
            raise ConfigError(f"{shape_id!r} is no shape of {self.source}; an id is e.g. bathtub_0001")
        return self._root / shape_id.rpartition("_")[0] / self._split_of[shape_id] / f"{shape_id}.off"


def _root(settings: Settings, folder: Path | None) -> Path:
    root = require_folder(folder, "modelnet")
    inside = root / VARIANTS[settings.variant][0]
    return inside if inside.is_dir() else root


def _ids(settings: Settings, folder: Path | None) -> dict[SplitName, tuple[str, ...]]:
    """Ids by split. Where files are there, they must be the official ones, or a part of those."""
    name, class_names = VARIANTS[settings.variant]
    official = {split: modelnet40.split_ids(split, class_names) for split in _SPLITS}
    there = folder is not None and Path(folder).is_dir() and any(Path(folder).iterdir())
    if not there and not settings.partial:
        return official
    root = _root(settings, folder)
    found = {split: _found(root, name, split, official[split]) for split in _SPLITS}
    if not any(found.values()):
        raise ArtifactError(f"{root}: holds no mesh of {name}, whose layout is <class>/{{train,test}}/<class>_0001.off")
    lacking = [shape_id for split in _SPLITS for shape_id in official[split] if shape_id not in found[split]]
    if lacking and not settings.partial:
        raise ArtifactError(
            f"{root}: {len(lacking)} of the {sum(map(len, official.values()))} official shapes of {name} are not "
            f"there, the first is {lacking[0]}; unpack the archive again, or say `partial: true` in the dataset's "
            "block, which then stands in its protocol"
        )
    return {split: tuple(shape_id for shape_id in official[split] if shape_id in found[split]) for split in _SPLITS}


def _found(root: Path, name: str, split: SplitName, official: Sequence[str]) -> frozenset[str]:
    """Ids of the OFF files of a split. Only folders are listed; files of other kinds are passed over."""
    known, found = frozenset(official), set()
    for folder in sorted(root.glob(f"[!.]*/{split}")):
        for path in folder.glob("[!.]*.off"):
            if path.stem not in known or path.stem.rpartition("_")[0] != folder.parent.name:
                raise ArtifactError(
                    f"{path}: no shape of the official {split} split of {name}; the folder must be as the archive of "
                    f"{name} makes it"
                )
            found.add(path.stem)
    return frozenset(found)
