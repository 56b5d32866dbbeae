"""Any folder of meshes: one folder per class (with ``train`` and ``test`` below it, or a split file), or flat."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.dataset import Entry
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.raw_data import Licence, licence_name
from pointlift.datasets.mesh_file import SUFFIXES, read_mesh
from pointlift.datasets.source_folder import LARGEST_LIST, SplitName, checksum, require_folder
from pointlift.geometry.meshes import Mesh, clean


class Settings(DatasetSettings):
    """Mesh files (OFF, OBJ, PLY, STL, GLB) below a folder. A shape's id is its path below the folder."""

    layout: Literal["classes", "flat"] = "classes"
    """classes: the first folder of a path is the class. flat: nothing has a class."""
    split_file: str | None = None
    """Table (csv with the columns path, split) below the folder; a shape that it does not name is no part."""
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train shapes that go to val, chosen by a stable hash of the id; a split file decides for itself."""
    test_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Share of shapes that go to test where neither folders nor a split file say so."""
    up_axis: Literal["x", "y", "z", "none"] = "z"
    licence: Licence | str | None = "unknown"
    source: str = ""
    needs_files: ClassVar[bool] = True
    lists_its_folder: ClassVar[bool] = True


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Paths of all mesh files below the folder, sorted; no file is opened but the split file."""
    root = require_folder(folder, "folder")
    if settings.split_file is not None:
        return tuple(sorted(_read_split_file(root, settings.split_file)))
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        inside = Path(place).relative_to(root)
        names = [name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        found += [(inside / name).as_posix() for name in names]
    if settings.layout == "classes":
        found = [path for path in found if "/" in path]
    if not found:
        raise ArtifactError(
            f"{root}: no mesh files ({', '.join(SUFFIXES)}) in the layout {settings.layout!r}; check folder and layout"
        )
    _require_text(root, found)
    return tuple(sorted(found))


def _require_text(root: Path, paths: Sequence[str]) -> None:
    """A path is an id, and stands in tables: it must be text."""
    odd = [path for path in paths if any("\ud800" <= letter <= "\udfff" for letter in path)]
    if odd:
        raise ArtifactError(
            f"{root}: {len(odd)} file names are not UTF-8 text, the first is {os.fsencode(odd[0])!r}; rename them"
        )


def build(settings: Settings, folder: Path | None) -> Folder:
    """Open the folder."""
    return Folder(settings, require_folder(folder, "folder"))


class Folder:
    """The shapes of a folder."""

    part_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.ids = list_ids(settings, root)
        self.licence, self.source = licence_name(settings.licence) or "unknown", settings.source
        self.up_axis: Literal["x", "y", "z"] | None = None if settings.up_axis == "none" else settings.up_axis
        self.class_names = tuple(sorted({self._class_name(shape_id) for shape_id in self.ids} - {""}))
        self._splits = _read_split_file(root, settings.split_file) if settings.split_file else None

    def entry(self, shape_id: str) -> Entry:
        """Class by folder, split by split file, folder or stable hash."""
        split = self._splits[shape_id] if self._splits is not None else _split_by_path(shape_id, self._settings)
        return Entry(self._class_name(shape_id), split, shape_id, checksum(self._root / shape_id))

    def load(self, shape_id: str) -> Mesh:
        """The cleaned mesh, z up."""
        return clean(read_mesh(self._root / shape_id, self.up_axis))

    def _class_name(self, shape_id: str) -> str:
        return shape_id.split("/", maxsplit=1)[0] if self._settings.layout == "classes" else ""


def _split_by_path(shape_id: str, settings: Settings) -> SplitName:
    folders = shape_id.lower().split("/")[1:-1]
    named: list[SplitName] = [name for name in ("test", "val", "train") if name in folders]
    if named and named[0] != "train":
        return named[0]
    position = _position(shape_id, "test")
    if not named and position < settings.test_share:
        return "test"
    return "val" if _position(shape_id, "val") < settings.val_share else "train"


def _position(shape_id: str, purpose: str) -> float:
    return stable_seed(shape_id, "folder", purpose) / 2**63


def _read_split_file(root: Path, name: str) -> dict[str, SplitName]:
    path = root / name
    if not path.is_file() or path.stat().st_size > LARGEST_LIST:
        raise ArtifactError(f"{path}: the split file cannot be read: none, or more than {LARGEST_LIST} bytes")
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtifactError(f"{path}: the split file cannot be read ({error})") from None
    found: dict[str, SplitName] = {}
    for number, row in enumerate(rows, start=2):
        shape, split = row.get("path"), row.get("split")
        if not shape or split not in ("train", "val", "test"):
            raise ConfigError(f"{path}, line {number}: needs the columns path and split, and split train, val or test")
        if shape in found or Path(shape).is_absolute() or ".." in Path(shape).parts or "\0" in shape:
            raise ConfigError(f"{path}, line {number}: path {shape!r} stands twice, leads out of the folder or is none")
        found[shape] = split  # type: ignore[assignment]
    if not found:
        raise ConfigError(f"{path}: names no shapes; it needs the columns path and split")
    return found
