"""SUN RGB-D as VoteNet's preprocessing writes it: one cloud per depth picture, oriented boxes of 10 classes.

Song, Lichtenberg, Xiao: SUN RGB-D, CVPR 2015; Qi et al.: VoteNet, ICCV 2019. Layout
``sunrgbd_pc_bbox_votes_50k_<labels>_<train|val>/<number>_pc.npz`` (key ``pc``: x y z r g b) and ``_bbox.npy`` (centre,
HALF edges, heading, class). Metres; z is up, y is away from the camera. The votes beside them follow from the boxes and
are not read.

The field is judged on the official val pictures: they are the test split here. Half edges, the heading (clockwise from
above: from +x to -y), the order of the classes, the scale of the colours (0 to 1) and the numbers of pictures were
checked against public discussion and documentation of the layout, not against the files themselves.
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
from pointlift.datasets.array_file import checksum_together, read_npy, read_npz
from pointlift.datasets.colours import colours
from pointlift.datasets.source_folder import SplitName, require_below, require_counts, split_or_val

#: A class in the files is an index in this list.
BOX_CLASSES = (
    "bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand", "bookshelf", "bathtub",
)  # fmt: skip
COUNTS: dict[SplitName, int] = {"train": 5285, "test": 5050}
_SPLITS: dict[SplitName, str] = {"train": "train", "test": "val"}
_FILE = re.compile(r"(\d{6})_(?:pc\.npz|bbox\.npy)", re.ASCII)


class Settings(SceneSettings):
    """Which annotation; there is no default, for the boxes of v1 and v2 differ and the literature reports v1."""

    labels: Literal["v1", "v2"]
    shard_size: int = Field(default=128, ge=1, le=4096)
    val_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the train pictures that go to val, by a stable hash of the id. Several pictures show one room, and the
    files do not say which: its val split holds rooms of train."""
    colour: bool = True
    """False: colours are left out, or the files have none; the protocol says so."""
    partial: bool = False
    """True: the folders hold a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    lists_its_folder: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Annotation, points, and colours left out: sunrgbd/v1-all."""
        words = ["-colourless"] * (not self.colour) + ["-partial"] * self.partial
        return f"sunrgbd/{self.labels}-{self._points_name()}{''.join(words)}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """Two files a picture, in the folder of its split, which the number does not tell."""
        names = [f"{number}_{part}" for number in shape_ids for part in ("pc.npz", "bbox.npy")]
        folders = [f"sunrgbd_pc_bbox_votes_50k_{self.labels}_{split}" for split in ("train", "val")]
        return [f"{place}{folder}/{name}" for place in ("", "sunrgbd/") for folder in folders for name in names]


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Ids ``000001``: the numbers in the two folders, sorted."""
    return tuple(sorted(_places(settings, _root(settings, folder))))


def build(settings: Settings, folder: Path | None) -> SunRgbd:
    """Open what VoteNet's preprocessing wrote; ``folder`` holds its folder ``sunrgbd`` or is it."""
    return SunRgbd(settings, _root(settings, folder))


class SunRgbd:
    """The clouds, on disk."""

    licence = "academic use, by its owners' page"
    up_axis: Literal["z"] = "z"
    class_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    semantic_names: tuple[str, ...] = ()
    box_names = BOX_CLASSES

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.source = f"SUN RGB-D (Song et al. 2015), labels {settings.labels}, as for VoteNet (Qi et al. 2019)"
        self._split_of = _places(settings, root)
        self.ids = tuple(sorted(self._split_of))
        self.point_attributes = ("colour",) * settings.colour

    def entry(self, shape_id: str) -> Entry:
        """Split by the folder and the stable hash of the id; checksum over both files."""
        paths = self._paths(shape_id)
        split = split_or_val(shape_id, self._split_of[shape_id] == "test", "sunrgbd", self._settings.val_share)
        return Entry("", split, paths[0].relative_to(self._root).as_posix(), checksum_together(paths))

    def load_points(self, shape_id: str) -> PointCloud:
        """All points of the file, with whole edges and headings counterclockwise from above."""
        points, boxes = self._paths(shape_id)
        table = read_npz(points, "pc", (None, (3, 6)), "f")
        return PointCloud(
            table[:, :3].astype(np.float64),
            colour=colours(table, 1, points.name) if self._settings.colour else None,
            boxes=_boxes(read_npy(boxes, (None, 8), "f").astype(np.float64), boxes.name),
        )

    def _paths(self, shape_id: str) -> tuple[Path, Path]:
        if shape_id not in self._split_of:
            raise ConfigError(f"{shape_id!r} is no picture of sunrgbd's folders; an id is e.g. 000001")
        folder = self._root / _folder(self._settings, self._split_of[shape_id])
        return folder / f"{shape_id}_pc.npz", folder / f"{shape_id}_bbox.npy"


def _folder(settings: Settings, split: SplitName) -> str:
    return f"sunrgbd_pc_bbox_votes_50k_{settings.labels}_{_SPLITS[split]}"


def _root(settings: Settings, folder: Path | None) -> Path:
    return require_below(folder, "sunrgbd", "sunrgbd", _folder(settings, "train"))


def _places(settings: Settings, root: Path) -> dict[str, SplitName]:
    """train or test by number. Raises ``ArtifactError`` when a number stands in both folders."""
    found: dict[str, SplitName] = {}
    for split in _SPLITS:
        folder = root / _folder(settings, split)
        if not folder.is_dir():
            raise ArtifactError(f"{folder}: no such folder; get the files of this split too")
        matches = [_FILE.fullmatch(path.name) for path in folder.iterdir()]
        for number in {match[1] for match in matches if match}:
            if found.setdefault(number, split) != split:
                raise ArtifactError(f"{folder}: picture {number} is one of the other split too; get the files again")
    if not found:
        raise ArtifactError(f"{root}: its folders hold no <number>_pc.npz")
    counts = {split: sum(1 for other in found.values() if other == split) for split in COUNTS}
    require_counts(f"sunrgbd {settings.labels}", root, counts, COUNTS, settings.partial, checked=False)
    return found


def _boxes(table: Array, name: str) -> Boxes:
    """Whole edges of half ones, and the heading the other way round."""
    known = np.isin(table[:, 7], np.arange(len(BOX_CLASSES)))
    if not known.all():
        raise UnusableShapeError(f"{name}: a box has the class {table[~known, 7][0]:g}, which is none of 0 to 9")
    return Boxes(table[:, :3], 2.0 * table[:, 3:6], -table[:, 6], table[:, 7].astype(np.int16))
