"""ScanNet v2 as VoteNet's preprocessing writes it: scanned rooms, 18 classes of boxes, 20 classes of points.

Dai et al.: ScanNet, CVPR 2017; Qi et al.: VoteNet, ICCV 2019. Layout ``scannet_train_detection_data/<scan>_vert.npy``
(x y z r g b), ``_sem_label.npy``, ``_ins_label.npy``, ``_bbox.npy`` beside ``meta_data/scannetv2_{train,val}.txt``.
Metres; z is up, x and y run along the walls.

The field is judged on the official val scans: they are the test split here. Ids of classes, whole sizes, numbers of
scans and the alignment were checked against public documentation of the layout, not against the files themselves, which
their owner alone gives; the scale of the colours (0 to 255) is recalled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from pointlift.contracts.dataset import Boxes, Entry, PointCloud
from pointlift.contracts.dataset_blocks import SceneSettings
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.array_file import checksum_together, read_npy
from pointlift.datasets.colours import colours
from pointlift.datasets.source_folder import SplitName, read_lines, require_below, require_counts, split_or_val

SCANS = "scannet_train_detection_data"
FILES = ("vert", "sem_label", "ins_label", "bbox")
COUNTS: dict[SplitName, int] = {"train": 1201, "test": 312}
#: nyu40 id of each class of boxes, in the order of the published tables.
BOX_CLASSES = {
    "cabinet": 3, "bed": 4, "chair": 5, "sofa": 6, "table": 7, "door": 8, "window": 9, "bookshelf": 10, "picture": 11,
    "counter": 12, "desk": 14, "curtain": 16, "refrigerator": 24, "shower_curtain": 28, "toilet": 33, "sink": 34,
    "bathtub": 36, "garbagebin": 39,
}  # fmt: skip
#: The same of points. Id 39 is "other furniture" by its own name; the tables of detection call its boxes garbagebin.
SEMANTIC_CLASSES = {"wall": 1, "floor": 2} | {
    "otherfurniture" if number == 39 else name: number for name, number in BOX_CLASSES.items()
}
LISTS: dict[SplitName, str] = {"train": "scannetv2_train.txt", "test": "scannetv2_val.txt"}
_SCAN = re.compile(r"(scene\d{4})_\d{2}", re.ASCII)


class Settings(SceneSettings):
    """ScanNet v2 with its official train and val lists."""

    shard_size: int = Field(default=64, ge=1, le=4096)
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train rooms that go to val, chosen by a stable hash of the room: all its scans stay together."""
    colour: bool = True
    """False: colours are left out, or the files have none; the protocol says so."""
    partial: bool = False
    """True: the lists name a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    place: ClassVar[str] = r"scene\d{4}"
    lists_its_folder: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Layout, classes of boxes, points, and colours left out: scannet/votenet18-all."""
        words = ["-colourless"] * (not self.colour) + ["-partial"] * self.partial
        return f"scannet/votenet18-{self._points_name()}{''.join(words)}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """Four files a scan."""
        names = [
            f"scannet_train_detection_data/{scan}_{part}.npy"
            for scan in shape_ids
            for part in ("vert", "sem_label", "ins_label", "bbox")
        ]
        return [place + name for place in ("", "scannet/") for name in names]


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Ids ``scene0000_00`` of the two lists, sorted."""
    return tuple(sorted(splits_of_scans(_root(folder), "scannet", settings.partial)))


def build(settings: Settings, folder: Path | None) -> ScanNet:
    """Open what VoteNet's preprocessing wrote; ``folder`` holds its folder ``scannet`` or is it."""
    return ScanNet(settings, _root(folder))


class ScanNet:
    """The scans, on disk."""

    licence = "ScanNet terms of use, research only"
    source = "ScanNet v2 (Dai et al. 2017), preprocessed as for VoteNet (Qi et al. 2019)"
    up_axis: Literal["z"] = "z"
    class_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    semantic_names = tuple(SEMANTIC_CLASSES)
    box_names = tuple(BOX_CLASSES)

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self._split_of = splits_of_scans(root, "scannet", settings.partial)
        self.ids = tuple(sorted(self._split_of))
        self.point_attributes = ("colour",) * settings.colour + ("semantic_label", "instance_label")

    def entry(self, shape_id: str) -> Entry:
        """Split by the lists and the stable hash of the room; checksum over the four files."""
        paths = self._paths(shape_id)
        room = shape_id.partition("_")[0]
        split = split_or_val(room, self._split_of[shape_id] == "test", "scannet", self._settings.val_share)
        return Entry("", split, f"{SCANS}/{paths['vert'].name}", checksum_together(paths.values()))

    def load_points(self, shape_id: str) -> PointCloud:
        """All points of the files, with the boxes of the 18 classes."""
        paths = self._paths(shape_id)
        table = read_npy(paths["vert"], (None, (3, 6)), "f")
        instance = read_npy(paths["ins_label"], (None,), "iu").astype(np.int64)
        if len(instance) and instance.min() < 0:
            raise UnusableShapeError(
                f"{paths['ins_label'].name}: an instance is below 0; 0 is no object, others count up"
            )
        return PointCloud(
            table[:, :3].astype(np.float64),
            colour=colours(table, 255, paths["vert"].name) if self._settings.colour else None,
            semantic_label=_semantic(read_npy(paths["sem_label"], (None,), "iu")),
            instance_label=instance - 1,
            boxes=_boxes(read_npy(paths["bbox"], (None, 7), "f"), paths["bbox"].name),
        )

    def _paths(self, shape_id: str) -> dict[str, Path]:
        if shape_id not in self._split_of:
            raise ConfigError(f"{shape_id!r} is no scan of scannet's lists; an id is e.g. scene0000_00")
        return {part: self._root / SCANS / f"{shape_id}_{part}.npy" for part in FILES}


def _root(folder: Path | None) -> Path:
    return require_below(folder, "scannet", "scannet", f"meta_data/{LISTS['train']}")


def splits_of_scans(root: Path, kind: str, partial: bool) -> dict[str, SplitName]:
    """train or test by scan, of the lists below ``root``. ``partial``: they may name other counts than the whole set's.

    Raises ``ArtifactError`` unless the lists share no scan, and no room of several scans.
    """
    found: dict[str, SplitName] = {}
    split_of_room: dict[str, SplitName] = {}
    for split, name in LISTS.items():
        path = root / "meta_data" / name
        for line in read_lines(path):
            match = _SCAN.fullmatch(line)
            if match is None:
                raise ArtifactError(f"{path}: {line[:40]!r} is no scan's name, e.g. scene0000_00; get the list again")
            if line in found:
                raise ArtifactError(f"{path}: {line} stands twice, here or in the other list; get the lists again")
            if split_of_room.setdefault(match[1], split) != split:
                raise ArtifactError(
                    f"{path}: {line} is a scan of a room that the other list holds; get the lists again"
                )
            found[line] = split
    if not found:
        raise ArtifactError(f"{root / 'meta_data'}: its lists name no scan")
    counts = {split: sum(1 for other in found.values() if other == split) for split in COUNTS}
    require_counts(kind, root, counts, COUNTS, partial, checked=False)
    return found


def _semantic(nyu40: Array) -> Array:
    """Index in ``semantic_names``, -1 for every other nyu40 id and for points without any (0)."""
    table = np.full(256, -1, dtype=np.int16)
    table[list(SEMANTIC_CLASSES.values())] = np.arange(len(SEMANTIC_CLASSES))
    label: Array = table[np.clip(nyu40, 0, 255)]  # ids below 1 and above 40 are no class
    return label


def _boxes(table: Array, name: str) -> Boxes:
    """Boxes along the axes: centre, whole size, nyu40 id."""
    index_of = {number: index for index, number in enumerate(BOX_CLASSES.values())}
    unknown = sorted(set(table[:, 6].tolist()) - set(index_of))
    if unknown:
        raise UnusableShapeError(f"{name}: a box has the class {unknown[0]:g}, which is none of the 18 nyu40 ids")
    label = np.array([index_of[number] for number in table[:, 6].tolist()], dtype=np.int16)
    return Boxes(table[:, :3], table[:, 3:6], np.zeros(len(table)), label)
