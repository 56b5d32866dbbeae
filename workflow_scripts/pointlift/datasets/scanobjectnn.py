"""ScanObjectNN: scanned indoor objects in 15 classes, as one of three variants that are never mixed.

Uy, Pham, Hua, Nguyen, Yeung: Revisiting Point Cloud Classification, ICCV 2019. Main split, below ``h5_files``. The same
file name stands in two folders: OBJ_BG is in main_split, OBJ_ONLY in main_split_nobg. y is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import PointDatasetSettings
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import file_sha256
from pointlift.datasets.hdf5_clouds import Hdf5Clouds, num_rows, row_ids
from pointlift.datasets.object_lists import read_objects
from pointlift.datasets.source_folder import SplitName, require_below, require_counts, split_or_val
from pointlift.geometry.clouds import turn_up

#: Label names in the order of the official list (shape_names_ext.txt): a label is an index in it.
CLASS_NAMES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow", "sink",
    "sofa", "toilet",
)  # fmt: skip
_SPLITS: dict[SplitName, str] = {"train": "training", "test": "test"}
#: As the page of a public copy (jxie/scanobjectnn) states them, not checked against the owners' files; their list
#: main_split.txt names 2,315 and 587 objects, six more of each.
_PLAIN: dict[SplitName, int] = {"train": 2309, "test": 581}
_PERTURBED: dict[SplitName, int] = {"train": 11416, "test": 2882}
COUNTS = {"obj_bg": _PLAIN, "obj_only": _PLAIN, "pb_t50_rs": _PERTURBED}
#: Rows of obj_bg and obj_only are the same objects in the same order (recalled, not checked against the files).
_PREFIXES = {"obj_bg": "sonn", "obj_only": "sonn", "pb_t50_rs": "sonnpb"}
_FILES = {
    "obj_bg": "main_split/{}_objectdataset.h5",
    "obj_only": "main_split_nobg/{}_objectdataset.h5",
    "pb_t50_rs": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}


class Settings(PointDatasetSettings):
    """Which variant; there is no default, for a number on "ScanObjectNN" says nothing."""

    variant: Literal["obj_bg", "obj_only", "pb_t50_rs"]
    """obj_bg: objects with what stands around them; obj_only: without; pb_t50_rs: shifted, rotated, scaled boxes."""
    num_points: int = Field(default=2048, ge=16, le=2048)
    val_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the train items that go to val, by a stable hash of the id; of the object where ``objects`` names it. In
    pb_t50_rs about five items are copies of one object, and the files do not say which: without ``objects`` its val
    split holds copies of train objects."""
    objects: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """File beside ``main_split`` that says which object each row is a copy of: lines ``split,row,object`` under this
    header, split train or test, rows counted from 0. For pb_t50_rs alone. Intervals and p values then hold objects for
    independent, not their copies. The h5 files do not say it; whoever has the raw archive can."""
    objects_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of that file; it decides what an interval is, so that it must be given with it."""
    train_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the variant's train file; where it is given, another file is refused."""
    test_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    partial: bool = False
    """True: the files hold a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    added_later: ClassVar[tuple[str, ...]] = ("objects", "objects_sha256")

    @model_validator(mode="after")
    def _objects_are_checked(self) -> Settings:
        if (self.objects is None) != (self.objects_sha256 is None):
            raise ValueError("objects and objects_sha256 go together: the file, and which one it is")
        if self.objects is not None and not self.has_copies():
            raise ValueError(f"objects is for pb_t50_rs: each row of {self.variant} is its own object")
        return self

    def has_copies(self) -> bool:
        """Whether several rows are copies of one object: about five in pb_t50_rs, each with another random box."""
        return self.variant == "pb_t50_rs"

    def required_protocol(self) -> str:
        """The variant, and the points where they are not all 2,048 as they are normalised: sonn/pb_t50_rs."""
        whole = self.num_points == 2048 and not self.keep_coordinates
        points = "" if whole else f"-{self._points_name()}"
        return f"sonn/{self.variant}{points}{'-partial' if self.partial else ''}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """The files of every variant: which one is this block's, its settings say."""
        del shape_ids
        folders, ends = ("main_split", "main_split_nobg"), ("", "_augmentedrot_scale75")
        names = [
            f"{f}/{split}_objectdataset{end}.h5" for f in folders for split in ("training", "test") for end in ends
        ]
        names += [self.objects] if self.objects else []
        return [place + name for place in ("", "h5_files/") for name in names]


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``sonn-<split>-<row>`` (pb_t50_rs: ``sonnpb-...``): by the headers where files are, else of the whole set."""
    counts = COUNTS[settings.variant]
    if settings.partial or (folder is not None and Path(folder).is_dir() and any(Path(folder).iterdir())):
        root = _root(settings, folder)
        counts = {split: sum(map(num_rows, paths)) for split, paths in _files(settings, root).items()}
        kind, official = f"scanobjectnn {settings.variant}", COUNTS[settings.variant]
        require_counts(kind, root, counts, official, settings.partial, checked=False)
    return tuple(
        shape_id for split, count in counts.items() for shape_id in row_ids(_PREFIXES[settings.variant], split, count)
    )


def build(settings: Settings, folder: Path | None) -> ScanObjectNN:
    """Open the unpacked archive; ``folder`` holds ``h5_files`` or is it."""
    return ScanObjectNN(settings, _root(settings, folder))


class ScanObjectNN:
    """One variant, on disk."""

    licence = "research use, by its owners' form"
    up_axis: Literal["y"] = "y"
    class_names = CLASS_NAMES
    part_names: tuple[str, ...] = ()
    semantic_names: tuple[str, ...] = ()
    box_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.source = f"ScanObjectNN (Uy et al. 2019), {settings.variant}, main split"
        self.ids = list_ids(settings, root)
        files = _files(settings, root)
        wanted = {"train": settings.train_sha256, "test": settings.test_sha256}
        for split, (path,) in files.items():
            if wanted[split] is not None and file_sha256(path) != wanted[split]:
                raise ArtifactError(f"{path}: not the file whose {split}_sha256 the dataset's block names")
        self._rows = Hdf5Clouds(_PREFIXES[settings.variant], files, len(self.class_names))
        self.point_attributes = ("normals",) if self._rows.has_normals else ()
        self._objects = self._read_objects()

    def entry(self, shape_id: str) -> Entry:
        """Class by the label, split by the file and the stable hash of the id; checksum of the row's points."""
        split, row, path, _ = self._rows.place(shape_id)
        class_name = self.class_names[self._rows.labels[split][row]]
        object_name = None
        if self._settings.has_copies():
            object_name = self._objects[split][row] if self._objects else ""
        is_test, share = split == "test", self._settings.val_share
        split_name = split_or_val(object_name or shape_id, is_test, "scanobjectnn", share)
        source = path.relative_to(self._root).as_posix()
        return Entry(class_name, split_name, source, self._rows.sha256(shape_id), object_name)

    def load_points(self, shape_id: str) -> PointCloud:
        """The 2,048 points, z up."""
        return turn_up(self._rows.cloud(shape_id), self.up_axis)

    def _read_objects(self) -> dict[str, list[str]]:
        """Objects of the rows by split; empty where no file names them."""
        if self._settings.objects is None:
            return {}
        path = self._root / self._settings.objects
        if not path.is_file():
            raise ArtifactError(f"{path}: no such file; put it there, or take `objects` out of the dataset's block")
        if file_sha256(path) != self._settings.objects_sha256:
            raise ArtifactError(f"{path}: not the file whose objects_sha256 the dataset's block names")
        return read_objects(path, self._rows.labels)


def _root(settings: Settings, folder: Path | None) -> Path:
    return require_below(folder, "scanobjectnn", "h5_files", _FILES[settings.variant].format("training"))


def _files(settings: Settings, root: Path) -> dict[SplitName, list[Path]]:
    return {split: [root / _FILES[settings.variant].format(word)] for split, word in _SPLITS.items()}
