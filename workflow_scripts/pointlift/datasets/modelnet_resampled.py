"""ModelNet40 as 10,000 points with normals (modelnet40_normal_resampled): one of its two bases, which are never mixed.

Qi et al.: PointNet++, NeurIPS 2017. Layout ``<class>/<class>_<number>.txt``, comma text, beside the lists
``modelnet40_train.txt`` and ``modelnet40_test.txt``. y is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import PointDatasetSettings
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import modelnet40
from pointlift.datasets.source_folder import (
    SplitName,
    checksum,
    read_lines,
    require_below,
    require_folder,
    split_or_val,
)
from pointlift.datasets.text_cloud import read_table
from pointlift.geometry.clouds import turn_up

FOLDER = "modelnet40_normal_resampled"
POINTS_PER_FILE = 10_000
_SPLITS: tuple[SplitName, SplitName] = ("train", "test")


class Settings(PointDatasetSettings):
    """ModelNet40, base resampled. By default farthest point sampling, its start seeded by the shape's id."""

    num_points: int = Field(default=1024, ge=16, le=10000)
    subsample: Literal["first", "random", "farthest"] = "farthest"
    """farthest: the first 8,192 farthest points of a file are the "8k" sets of the literature but for their start,
    which nobody wrote down; the first 1,024 of those are the same as of the whole file."""
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train shapes that go to val, chosen by a stable hash of the id."""
    partial: bool = False
    """True: the lists name a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    id_base: ClassVar[str] = "mn40"

    def required_protocol(self) -> str:
        """Base and points: mn40/resampled8k-fps1024."""
        base = "8k" if self.subsample == "farthest" and self.num_points <= 8192 else "10k"
        return f"mn40/resampled{base}-{self._points_name()}{'-partial' if self.partial else ''}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """One text file a shape."""
        names = [f"{shape_id.rpartition('_')[0]}/{shape_id}.txt" for shape_id in shape_ids]
        return [place + name for place in ("", "modelnet40_normal_resampled/") for name in names]


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``<class>_<number>``, train before test: known without files for the whole set, by the lists for a part."""
    return tuple(shape_id for ids in _ids(settings, folder).values() for shape_id in ids)


def build(settings: Settings, folder: Path | None) -> ModelNetResampled:
    """Open the unpacked archive; ``folder`` holds ``modelnet40_normal_resampled`` or is it."""
    return ModelNetResampled(settings, require_folder(folder, "modelnet_resampled"))


class ModelNetResampled:
    """The text files, on disk."""

    licence = modelnet40.LICENCE
    source = "ModelNet40 (Wu et al. 2015), 10,000 points per shape (Qi et al. 2017)"
    up_axis: Literal["y"] = "y"
    class_names = modelnet40.CLASS_NAMES
    part_names: tuple[str, ...] = ()
    semantic_names: tuple[str, ...] = ()
    box_names: tuple[str, ...] = ()
    point_attributes = ("normals",)

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._root = require_below(folder, "modelnet_resampled", FOLDER, "modelnet40_train.txt")
        by_split = _ids(settings, folder)
        self.ids = tuple(shape_id for ids in by_split.values() for shape_id in ids)
        self._known, self._test = frozenset(self.ids), frozenset(by_split["test"])

    def entry(self, shape_id: str) -> Entry:
        """Class by id, split by the lists and the stable hash of the id."""
        path = self._path(shape_id)
        split = split_or_val(shape_id, shape_id in self._test, "modelnet_resampled", self._settings.val_share)
        return Entry(path.parent.name, split, path.relative_to(self._root).as_posix(), checksum(path))

    def load_points(self, shape_id: str) -> PointCloud:
        """The 10,000 points with their normals, z up."""
        table = read_table(self._path(shape_id), 6, ",")
        if len(table) != POINTS_PER_FILE and not self._settings.partial:
            raise UnusableShapeError(f"{shape_id}.txt: holds {len(table)} points, must hold {POINTS_PER_FILE}")
        return turn_up(PointCloud(table[:, :3], table[:, 3:]), self.up_axis)

    def _path(self, shape_id: str) -> Path:
        if shape_id not in self._known:
            raise ConfigError(f"{shape_id!r} is no shape of modelnet_resampled; an id is e.g. airplane_0001")
        return self._root / shape_id.rpartition("_")[0] / f"{shape_id}.txt"


def _ids(settings: Settings, folder: Path | None) -> dict[SplitName, tuple[str, ...]]:
    """Ids by split. Where the lists are there, they must be the official ones, or name a part of those."""
    official: dict[SplitName, tuple[str, ...]] = {split: modelnet40.split_ids(split) for split in _SPLITS}
    there = folder is not None and Path(folder).is_dir() and any(Path(folder).iterdir())
    if not there and not settings.partial:
        return official
    root = require_below(folder, "modelnet_resampled", FOLDER, "modelnet40_train.txt")
    found: dict[SplitName, tuple[str, ...]] = {}
    for split in _SPLITS:
        path = root / f"modelnet40_{split}.txt"
        found[split] = tuple(read_lines(path))
        unknown = sorted(set(found[split]) - set(official[split]))
        if unknown or len(set(found[split])) != len(found[split]):
            what = f"{unknown[0]!r} is not" if unknown else "a shape stands twice"
            raise ArtifactError(f"{path}: {what} in the official {split} split; get the list again")
        if len(found[split]) != len(official[split]) and not settings.partial:
            raise ArtifactError(
                f"{path}: lists {len(found[split])} shapes, the official split has {len(official[split])}; get the "
                "list again, or say `partial: true` in the dataset's block, which then stands in its protocol"
            )
        if not found[split]:
            raise ArtifactError(f"{path}: lists no shape")
    return found
