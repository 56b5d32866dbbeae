"""S3DIS: 272 rooms in 6 areas of three buildings, coloured points in 13 classes.

Armeni et al.: 3D Semantic Parsing of Large-Scale Indoor Spaces, CVPR 2016. Metres, z up. Two forms of it: ``txt``, the
raw layout ``Area_1/conferenceRoom_1/Annotations/<class>_<number>.txt``, a line ``x y z r g b``; and ``npy``, an array a
room, ``Area_1_conferenceRoom_1.npy``, which the field's preprocessing makes of them, its corner at the origin, without
instances.

What is known of the raw files (by what several public projects report of them, not by the files themselves): a few
bytes lost one bit, in line 180389 of ``Area_5/hallway_6/Annotations/ceiling_1.txt`` the blank between two numbers;
``Area_5/office_36`` has a copy, ``wall_3 (1).txt``; some rooms have objects called stairs. Preprocessing that stops at
that line leaves a room of area 5 out: such sets have 271 rooms, and other numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import SceneSettings
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.datasets.array_file import checksum_together
from pointlift.datasets.s3dis_rooms import SEMANTIC_NAMES, object_files, read_annotations, read_array
from pointlift.datasets.source_folder import UNCHECKED, checksum, require_folder, split_or_val

#: Where the files lie below the dataset's folder, unless right in it: raw and aligned, raw as scanned, preprocessed.
ALIGNED, UNALIGNED, ARRAYS = "Stanford3dDataset_v1.2_Aligned_Version", "Stanford3dDataset_v1.2", "stanford_indoor3d"
#: Rooms by area: recalled, not checked against the files; those of areas 4 and 5 as public logs count them.
ROOMS = {1: 44, 2: 40, 3: 23, 4: 49, 5: 68, 6: 48}
_DROPPED = "Area_5/hallway_6"
_ROOM = re.compile(r"[A-Za-z]\w*_\d+", re.ASCII)
_ARRAY = re.compile(rf"(Area_[1-6])_({_ROOM.pattern})\.npy", re.ASCII)


class Settings(SceneSettings):
    """Which form of the set, and which area is held out."""

    format: Literal["txt", "npy"] = "txt"
    aligned: bool = True
    """False: the raw set whose rooms are not turned to the axes (Stanford3dDataset_v1.2); the protocol says so. That
    set is known by its files ``Area_<n>_alignmentAngle.txt``."""
    test_area: int = Field(default=5, ge=1, le=6)
    """All its rooms are test. Area 5 is a building of its own (recalled); the others share two."""
    val_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the other rooms that go to val, chosen by a stable hash of the id."""
    stairs: Literal["clutter", "ignored"] = "clutter"
    """clutter, as in most publications; ignored: their points have no label, and no score counts them."""
    repair: bool = True
    """True: a byte that lost a bit is read as what it was, and told in the log. False: its room cannot be used."""
    partial: bool = False
    """True: not all rooms are there; the protocol says so."""
    needs_files: ClassVar[bool] = True
    lists_its_folder: ClassVar[bool] = True

    @model_validator(mode="after")
    def _of_raw_files(self) -> Settings:
        changed = [key for key in ("aligned", "stairs", "repair") if getattr(self, key) not in (True, "clutter")]
        if self.format == "npy" and changed:
            raise ValueError(f"{', '.join(changed)}: the arrays of format npy are made already; leave it out")
        return self

    def required_protocol(self) -> str:
        """Form, area held out and points: s3dis/txt-area5-all."""
        form = f"{self.format}{'' if self.aligned else '-unaligned'}-area{self.test_area}-{self._points_name()}"
        words = ["-stairs-ignored"] * (self.stairs == "ignored") + ["-unrepaired"] * (not self.repair)
        return f"s3dis/{form}{''.join(words)}{'-partial' if self.partial else ''}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """The folder of a room's objects, or its array."""
        if self.format == "npy":
            names = [f"{shape_id.replace('/', '_', 1)}.npy" for shape_id in shape_ids]
            place = "stanford_indoor3d/"
        else:
            names = [f"{shape_id}/Annotations" for shape_id in shape_ids]
            place = "Stanford3dDataset_v1.2_Aligned_Version/" if self.aligned else "Stanford3dDataset_v1.2/"
        return [start + name for start in ("", place) for name in names]


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Ids ``Area_<n>/<room>`` of the rooms that are there, sorted."""
    return _rooms(settings, _root(settings, folder))


def build(settings: Settings, folder: Path | None) -> S3DIS:
    """Open the unpacked set; ``folder`` holds its one folder or is it."""
    return S3DIS(settings, _root(settings, folder))


class S3DIS:
    """The rooms, on disk."""

    licence = "S3DIS terms, by its owners' form"
    up_axis: Literal["z"] = "z"
    class_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    semantic_names = SEMANTIC_NAMES
    box_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        made = "raw" if settings.format == "txt" else "preprocessed"
        self.source = f"S3DIS v1.2 (Armeni et al. 2016), {made}, test area {settings.test_area}"
        self.ids = _rooms(settings, root)
        self._known = frozenset(self.ids)
        labels = ("semantic_label", "instance_label") if settings.format == "txt" else ("semantic_label",)
        self.point_attributes = ("colour", *labels)

    def entry(self, shape_id: str) -> Entry:
        """Split by area and the stable hash of the id; checksum of all files of the room."""
        path = self._path(shape_id)
        is_test = shape_id.startswith(f"Area_{self._settings.test_area}/")
        split = split_or_val(shape_id, is_test, "s3dis", self._settings.val_share)
        objects = object_files(path) if self._settings.format == "txt" else []
        sha256 = checksum_together(objects) if objects else checksum(path)
        return Entry("", split, path.relative_to(self._root).as_posix(), sha256)

    def load_points(self, shape_id: str) -> PointCloud:
        """All points of a room in metres, with colour, class and, in the raw files, object."""
        path = self._path(shape_id)
        if self._settings.format == "npy":
            return read_array(path)
        return read_annotations(path, self._settings.stairs == "ignored", self._settings.repair)

    def _path(self, shape_id: str) -> Path:
        if shape_id not in self._known:
            raise ConfigError(f"{shape_id!r} is no room of s3dis; an id is e.g. Area_1/conferenceRoom_1")
        if self._settings.format == "npy":
            return self._root / f"{shape_id.replace('/', '_', 1)}.npy"
        return self._root / shape_id / "Annotations"


def _root(settings: Settings, folder: Path | None) -> Path:
    """The folder that holds the areas or arrays."""
    given = require_folder(folder, "s3dis")
    name = ARRAYS if settings.format == "npy" else ALIGNED if settings.aligned else UNALIGNED
    pattern = "Area_[1-6]" if settings.format == "txt" else "Area_[1-6]_*.npy"
    for place in (given / name, given):
        if any(place.glob(pattern)):
            _require_alignment(settings, place)
            return place
    raise ArtifactError(
        f"{given}: holds no {pattern}, nor does {name} in it; put the files of S3DIS there as they are laid out, or "
        "change `format` in the dataset's block"
    )


def _require_alignment(settings: Settings, place: Path) -> None:
    """Raise ``ArtifactError`` when the raw set is the other one of the two."""
    is_aligned = not any(place.glob("Area_[1-6]/*_alignmentAngle.txt"))
    if settings.format == "txt" and is_aligned != settings.aligned:
        raise ArtifactError(
            f"{place}: its rooms are {'' if is_aligned else 'not '}aligned, for {'no' if is_aligned else 'a'} file is "
            f"called Area_<n>_alignmentAngle.txt; get {ALIGNED if settings.aligned else UNALIGNED}, or say `aligned: "
            f"{str(is_aligned).lower()}` in the dataset's block, whose protocol must say so too"
        )


def _rooms(settings: Settings, root: Path) -> tuple[str, ...]:
    """Ids of the rooms, sorted; all of the set unless the block says ``partial``."""
    if settings.format == "npy":
        matches = [_ARRAY.fullmatch(path.name) for path in root.iterdir()]
        found = sorted(f"{match[1]}/{match[2]}" for match in matches if match)
    else:
        found = sorted(_room_id(path) for path in root.glob("Area_[1-6]/*") if _is_room(path))
    if not settings.partial and len(found) != sum(ROOMS.values()):
        counts = Counter(int(shape_id[5]) for shape_id in found)
        told = ", ".join(f"{counts[area]} in area {area} (official {count})" for area, count in ROOMS.items())
        dropped = f" It lacks {_DROPPED}, at a line of which some preprocessing stops: make it again." * (
            len(found) == sum(ROOMS.values()) - 1 and _DROPPED not in found
        )
        raise ArtifactError(
            f"{root}: {len(found)} rooms, the official set has {sum(ROOMS.values())}: {told}; {UNCHECKED}."
            f"{dropped} Get the other rooms, or say `partial: true` in the dataset's block, which then stands in its "
            "protocol"
        )
    return tuple(found)


def _is_room(path: Path) -> bool:
    return path.is_dir() and (bool(_ROOM.fullmatch(path.name)) or (path / "Annotations").is_dir())


def _room_id(path: Path) -> str:
    if not _ROOM.fullmatch(path.name):
        raise ArtifactError(f"{path}: not called like a room, e.g. office_1; rename the folder, or take it out")
    return f"{path.parent.name}/{path.name}"
