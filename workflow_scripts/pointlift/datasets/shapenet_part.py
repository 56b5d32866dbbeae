"""ShapeNetPart: 16,881 clouds of 16 categories, each point in one of 50 parts, in either of its two layouts.

Yi et al.: A Scalable Active Framework for Region Annotation, SIGGRAPH Asia 2016. Both layouts hold
``synsetoffset2category.txt`` and ``train_test_split/shuffled_{train,val,test}_file_list.json``. y is up.

v0_normal : ``<synset>/<token>.txt``; a line is a point, its normal and its part, which counts through all categories.
v0 : ``<synset>/points/<token>.pts``, a line is a point, and ``<synset>/points_label/<token>.seg``, a line is its part,
which counts from 1 within the category. No normals. The parts of all categories in the order of their synsets are the
labels 0 to 49 of v0_normal: so says the table of (synset, part) pairs published for PointNet, which
was looked up; neither layout was checked against its files. That y is up in v0 too is recalled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import PointDatasetSettings
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets.source_folder import (
    SplitName,
    checksum,
    read_lines,
    require_below,
    require_counts,
    require_folder,
)
from pointlift.datasets.text_cloud import read_table
from pointlift.geometry.clouds import turn_up

Layout = Literal["v0_normal", "v0"]
#: Top folder of each layout's archive, and what a shape's files are called below it.
FOLDERS: dict[Layout, str] = {
    "v0_normal": "shapenetcore_partanno_segmentation_benchmark_v0_normal",
    "v0": "shapenetcore_partanno_segmentation_benchmark_v0",
}
_FORMS: dict[Layout, str] = {
    "v0_normal": "<synset>/<token>.txt",
    "v0": "<synset>/points/<token>.pts and <synset>/points_label/<token>.seg",
}
_CATEGORY_FILE = "synsetoffset2category.txt"
#: Synset and number of parts by category, in the official order, which is the alphabet's. Part labels run on.
CATEGORIES = {
    "Airplane": ("02691156", 4), "Bag": ("02773838", 2), "Cap": ("02954340", 2), "Car": ("02958343", 4),
    "Chair": ("03001627", 4), "Earphone": ("03261776", 3), "Guitar": ("03467517", 3), "Knife": ("03624134", 2),
    "Lamp": ("03636649", 4), "Laptop": ("03642806", 2), "Motorbike": ("03790512", 6), "Mug": ("03797390", 2),
    "Pistol": ("03948459", 3), "Rocket": ("04099429", 3), "Skateboard": ("04225987", 3), "Table": ("04379243", 3),
}  # fmt: skip
COUNTS: dict[SplitName, int] = {"train": 12137, "val": 1870, "test": 2874}
#: A part has no official name but its number: <category>/<number within it>, at the index that is its label.
PART_NAMES = tuple(f"{name}/{part}" for name, (_, parts) in CATEGORIES.items() for part in range(parts))
_CATEGORY_OF = {synset: name for name, (synset, _) in CATEGORIES.items()}
_FIRST_PART = dict(zip(CATEGORIES, accumulate((parts for _, parts in CATEGORIES.values()), initial=0), strict=False))
_LISTED = re.compile(r"(?:[\w.-]+/)?(\d{8})/([A-Za-z0-9][\w.-]*)", re.ASCII)


class Settings(PointDatasetSettings):
    """ShapeNetPart with its official train, val and test lists."""

    layout: Literal["v0_normal", "v0"] = "v0_normal"
    """Which of the two archives the files are of; the protocol says so. v0 has no normals."""
    num_points: int = Field(default=2048, ge=16, le=65536)
    subsample: Literal["first", "random", "farthest"] = "random"
    trainval: bool = False
    """True: the official val shapes are train ones, as in most publications; the protocol says so."""
    partial: bool = False
    """True: the lists name a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    has_parts: ClassVar[bool] = True
    lists_its_folder: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Layout, points and split: shapenetpart/v0-normal-random2048."""
        words = ["-trainval"] * self.trainval + ["-partial"] * self.partial
        return f"shapenetpart/{self.layout.replace('_', '-')}-{self._points_name()}{''.join(words)}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """One text file a shape, or its points and its parts."""
        places = ("", f"shapenetcore_partanno_segmentation_benchmark_{self.layout}/")
        names = [f"{shape_id}.txt" for shape_id in shape_ids]
        if self.layout == "v0":
            split = [shape_id.partition("/") for shape_id in shape_ids]
            names = [f"{synset}/points/{token}.pts" for synset, _, token in split]
            names += [f"{synset}/points_label/{token}.seg" for synset, _, token in split]
        return [f"{place}{name}" for place in places for name in names]


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Ids ``<synset>/<token>`` of the three lists, sorted."""
    return tuple(sorted(_splits(settings, _root(settings, folder))))


def build(settings: Settings, folder: Path | None) -> ShapeNetPart:
    """Open the unpacked archive; ``folder`` holds its one folder or is it."""
    return ShapeNetPart(settings, _root(settings, folder))


class ShapeNetPart:
    """The text files, on disk."""

    licence = "ShapeNet terms of use, research only"
    up_axis: Literal["y"] = "y"
    class_names = tuple(CATEGORIES)
    part_names = PART_NAMES
    semantic_names: tuple[str, ...] = ()
    box_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        self.source = f"ShapeNetPart (Yi et al. 2016), {settings.layout}"
        self.point_attributes = ("part_label",) if settings.layout == "v0" else ("normals", "part_label")
        _check_categories(root / _CATEGORY_FILE)
        self._split_of = _splits(settings, root)
        self.ids = tuple(sorted(self._split_of))

    def entry(self, shape_id: str) -> Entry:
        """Class by synset, split by the lists; the file is that of the points."""
        name, path = self._category(shape_id), self._path(shape_id)
        split = self._split_of[shape_id]
        named: SplitName = "train" if split == "val" and self._settings.trainval else split
        return Entry(name, named, path.relative_to(self._root).as_posix(), checksum(path))

    def load_points(self, shape_id: str) -> PointCloud:
        """All points with part labels, in v0_normal with normals too, z up."""
        name, path = self._category(shape_id), self._path(shape_id)
        if self._settings.layout == "v0":
            points, normals = read_table(path, 3, None), None
            path = path.parents[1] / "points_label" / f"{path.stem}.seg"
            label, first = read_table(path, 1, None)[:, 0], 1
            if len(label) != len(points):
                raise UnusableShapeError(f"{path.name}: {len(label)} part labels of {len(points)} points")
        else:
            table = read_table(path, 7, None)
            points, normals, label, first = table[:, :3], table[:, 3:6], table[:, 6], _FIRST_PART[name]
        last = first + CATEGORIES[name][1] - 1
        if not ((label >= first) & (label <= last) & (label == np.round(label))).all():
            raise UnusableShapeError(f"{path.name}: a part label is none of {name}'s, {first} to {last}")
        part_label = (label - first + _FIRST_PART[name]).astype(np.int16)
        return turn_up(PointCloud(points, normals, part_label), self.up_axis)

    def _category(self, shape_id: str) -> str:
        if shape_id not in self._split_of:
            raise ConfigError(f"{shape_id!r} is no shape of shapenet_part; an id is <synset>/<token>")
        return _CATEGORY_OF[shape_id.partition("/")[0]]

    def _path(self, shape_id: str) -> Path:
        synset, _, token = shape_id.partition("/")
        place = f"{synset}/points/{token}.pts" if self._settings.layout == "v0" else f"{shape_id}.txt"
        return self._root / place


def _root(settings: Settings, folder: Path | None) -> Path:
    """The folder that holds the lists. Raises ``ArtifactError`` when the files there are of the other layout."""
    root = require_folder(folder, "shapenet_part")
    wanted: Layout = settings.layout
    other: Layout = "v0" if wanted == "v0_normal" else "v0_normal"
    places = (root / FOLDERS[wanted], root, root / FOLDERS[other])
    found = next((place for place in places if (place / _CATEGORY_FILE).exists()), None)
    if found is None:
        return require_below(folder, "shapenet_part", FOLDERS[wanted], _CATEGORY_FILE)
    if found == places[2] or _layouts(found) == {other}:
        raise ArtifactError(
            f"{found}: the files are of layout {other} ({_FORMS[other]}), the block says layout {wanted} "
            f"({_FORMS[wanted]}); say `layout: {other}` in the dataset's block, or put {FOLDERS[wanted]} there"
        )
    return found


def _layouts(root: Path) -> set[Layout]:
    """The layouts that the folders of the categories have; none where there is no such folder."""
    folders = [root / synset for synset, _ in CATEGORIES.values() if (root / synset).is_dir()]
    return {"v0" if (folder / "points").is_dir() else "v0_normal" for folder in folders}


def _splits(settings: Settings, root: Path) -> dict[str, SplitName]:
    """Official split by shape id, from the three lists, which share no shape."""
    found: dict[str, SplitName] = {}
    for split in COUNTS:
        path = root / "train_test_split" / f"shuffled_{split}_file_list.json"
        for shape_id in _read_list(path):
            if shape_id in found:
                raise ArtifactError(f"{path}: {shape_id} stands twice, here or in another split; get the lists again")
            found[shape_id] = split
    counts = {split: sum(1 for other in found.values() if other == split) for split in COUNTS}
    require_counts("shapenet_part", root, counts, COUNTS, settings.partial, checked=False)
    return found


def _read_list(path: Path) -> list[str]:
    try:
        listed = json.loads("\n".join(read_lines(path)))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not a JSON list ({error}); get the dataset's files again") from None
    items = listed if isinstance(listed, list) else [None]
    matches = [_LISTED.fullmatch(item) if isinstance(item, str) else None for item in items]
    if not all(match and match[1] in _CATEGORY_OF for match in matches):
        raise ArtifactError(f"{path}: must list shape_data/<synset>/<token> of the 16 categories; get it again")
    return [f"{match[1]}/{match[2]}" for match in matches if match]


def _check_categories(path: Path) -> None:
    told = dict(pair for pair in (tuple(line.split()) for line in read_lines(path)) if len(pair) == 2)
    if told != {name: synset for name, (synset, _) in CATEGORIES.items()}:
        raise ArtifactError(f"{path}: not the 16 official categories with their synsets; get the dataset's files again")
