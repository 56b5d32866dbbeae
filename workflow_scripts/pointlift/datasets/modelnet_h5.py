"""ModelNet40 as HDF5 files of 2,048 points (modelnet40_ply_hdf5_2048): one of its two bases, which are never mixed.

Qi et al.: PointNet, CVPR 2017. ``train_files.txt`` and ``test_files.txt`` list files with data, normal and label. Three
train shapes of the original 9,843 are not in it. y is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import PointDatasetSettings
from pointlift.contracts.errors import ArtifactError
from pointlift.datasets import modelnet40
from pointlift.datasets.hdf5_clouds import Hdf5Clouds, num_rows, row_ids
from pointlift.datasets.source_folder import SplitName, read_lines, require_below, require_counts, split_or_val
from pointlift.geometry.clouds import turn_up

FOLDER = "modelnet40_ply_hdf5_2048"
_PREFIX = "mn40h5"
#: As the literature tells them, not checked against the files.
COUNTS: dict[SplitName, int] = {"train": 9840, "test": 2468}


class Settings(PointDatasetSettings):
    """ModelNet40, base h5-2048. The literature takes the first 1,024 points."""

    num_points: int = Field(default=1024, ge=16, le=2048)
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train shapes that go to val, chosen by a stable hash of the id."""
    partial: bool = False
    """True: the files hold a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Base and points: mn40/h5-2048-first1024."""
        return f"mn40/h5-2048-{self._points_name()}{'-partial' if self.partial else ''}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """The files of the official layout: any of them may hold a shape."""
        del shape_ids
        names = [f"ply_data_{split}{number}.h5" for split in ("train", "test") for number in range(5)]
        return [place + name for place in ("", "modelnet40_ply_hdf5_2048/") for name in names]


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``mn40h5-<split>-<row>``: known without files for the whole set, by the headers where they are."""
    counts: dict[SplitName, int] = dict(COUNTS)
    if settings.partial or (folder is not None and Path(folder).is_dir() and any(Path(folder).iterdir())):
        root = require_below(folder, "modelnet_h5", FOLDER, "train_files.txt")
        counts = {split: sum(map(num_rows, paths)) for split, paths in _files(root).items()}
        require_counts("modelnet_h5", root, counts, COUNTS, settings.partial, checked=False)
    return tuple(shape_id for split, count in counts.items() for shape_id in row_ids(_PREFIX, split, count))


def build(settings: Settings, folder: Path | None) -> ModelNetH5:
    """Open the unpacked archive; ``folder`` holds ``modelnet40_ply_hdf5_2048`` or is it."""
    return ModelNetH5(settings, require_below(folder, "modelnet_h5", FOLDER, "train_files.txt"))


class ModelNetH5:
    """The HDF5 files, on disk."""

    licence = modelnet40.LICENCE
    source = "ModelNet40 (Wu et al. 2015), 2,048 points per shape (Qi et al. 2017)"
    up_axis: Literal["y"] = "y"
    class_names = modelnet40.CLASS_NAMES
    part_names: tuple[str, ...] = ()
    semantic_names: tuple[str, ...] = ()
    box_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.ids = list_ids(settings, root)
        names = root / "shape_names.txt"
        if names.is_file() and tuple(read_lines(names)) != self.class_names:
            raise ArtifactError(f"{names}: not the 40 official names in their order; labels would mean other classes")
        self._rows = Hdf5Clouds(_PREFIX, _files(root), len(self.class_names))
        self.point_attributes = ("normals",) if self._rows.has_normals else ()

    def entry(self, shape_id: str) -> Entry:
        """Class by the label, split by the file and the stable hash of the id; checksum of the row's points."""
        split, row, path, _ = self._rows.place(shape_id)
        class_name = self.class_names[self._rows.labels[split][row]]
        split_name = split_or_val(shape_id, split == "test", "modelnet_h5", self._settings.val_share)
        return Entry(class_name, split_name, path.name, self._rows.sha256(shape_id))

    def load_points(self, shape_id: str) -> PointCloud:
        """The 2,048 points, z up."""
        return turn_up(self._rows.cloud(shape_id), self.up_axis)


def _files(root: Path) -> dict[SplitName, list[Path]]:
    """Files by split, as the two lists name them (below the folder of whoever wrote them)."""
    found: dict[SplitName, list[Path]] = {}
    for split in COUNTS:
        names = [line.rpartition("/")[2] for line in read_lines(root / f"{split}_files.txt")]
        if not names or len(set(names)) != len(names):
            raise ArtifactError(f"{root / f'{split}_files.txt'}: must name HDF5 files, each once; get it again")
        found[split] = [root / name for name in names]
    return found
