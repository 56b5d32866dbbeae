"""SemanticKITTI: street scans of a turning laser, 23,201 labelled ones in 11 sequences, points in 19 classes.

Behley, Garbade, Milioto, Quenzel, Behnke, Stachniss, Gall: SemanticKITTI, ICCV 2019; scans: the odometry benchmark of
Geiger, Lenz, Urtasun, CVPR 2012. Layout ``dataset/sequences/08/velodyne/000000.bin``, four little-endian float32 a
point (x, y, z, remission), beside ``labels/000000.label``, one uint32 a point: its lower half the class, its upper half
the object. Metres from the sensor, x ahead, z up. Sequences 11 to 21 have no public labels and are left out. Numbers on
this set are published on sequence 08, which they call validation: it is test here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.dataset_blocks import SceneSettings
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.array_file import checksum_together
from pointlift.datasets.mesh_file import read_bytes
from pointlift.datasets.source_folder import UNCHECKED, SplitName, require_below

#: The 19 classes in official order, each with the raw labels that are merged into it; 252 to 259 are moving things.
RAW_LABELS = {
    "car": (10, 252), "bicycle": (11,), "motorcycle": (15,), "truck": (18, 258),
    "other-vehicle": (13, 16, 20, 256, 257, 259), "person": (30, 254), "bicyclist": (31, 253),
    "motorcyclist": (32, 255), "road": (40, 60), "parking": (44,), "sidewalk": (48,), "other-ground": (49,),
    "building": (50,), "fence": (51,), "vegetation": (70,), "trunk": (71,), "terrain": (72,), "pole": (80,),
    "traffic-sign": (81,),
}  # fmt: skip
#: Raw labels that no score counts: unlabelled, outlier, other structure, other object.
IGNORED = (0, 1, 52, 99)
#: Scans by sequence, as public projects list them; their sum is the published 23,201. Not checked against the files.
SCANS = {
    "00": 4541, "01": 1101, "02": 4661, "03": 801, "04": 271, "05": 2761, "06": 1101, "07": 1101, "08": 4071,
    "09": 1591, "10": 1201,
}  # fmt: skip
TEST_SEQUENCE = "08"
_SCAN = re.compile(r"(\d{6})\.bin", re.ASCII)
_UNKNOWN = -2


class Settings(SceneSettings):
    """Which of the labelled scans are used, and which sequences are val."""

    val_sequences: tuple[Literal["00", "01", "02", "03", "04", "05", "06", "07", "09", "10"], ...] = ()
    """Whole sequences that go to val: a scan is all but a copy of the one before it. None: train is all but 08."""
    every: int = Field(default=1, ge=1, le=1000)
    """Only each so manyth scan of a sequence, beginning with its first; the protocol says so."""
    shard_size: int = Field(default=128, ge=1, le=4096)
    """A scan has about 120,000 points, which are 2.6 MB here."""
    partial: bool = False
    """True: not all labelled scans are there; the protocol says so."""
    needs_files: ClassVar[bool] = True

    @field_validator("val_sequences")
    @classmethod
    def _sorted(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if list(names) != sorted(set(names)):
            raise ValueError("sequences stand in order, each once")
        return names

    def required_protocol(self) -> str:
        """Sequence held out, sequences kept for val, scans and points: semantickitti/seq08-all."""
        words = [f"-val{'-'.join(self.val_sequences)}"] * bool(self.val_sequences)
        words += [f"-every{self.every}"] * (self.every > 1)
        return f"semantickitti/seq08{''.join(words)}-{self._points_name()}{'-partial' if self.partial else ''}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """The scan and its labels."""
        split = [shape_id.partition("/") for shape_id in shape_ids]
        names = [f"sequences/{sequence}/velodyne/{scan}.bin" for sequence, _, scan in split]
        names += [f"sequences/{sequence}/labels/{scan}.label" for sequence, _, scan in split]
        return [place + name for place in ("", "dataset/") for name in names]


def list_ids(settings: Settings, folder: Path | None = None) -> tuple[str, ...]:
    """Ids ``<sequence>/<scan>``, sorted: known without files for the whole set, by the folders for a part."""
    scans = _scans(_root(folder)) if settings.partial else {name: range(count) for name, count in SCANS.items()}
    return tuple(
        f"{name}/{number:06d}" for name, numbers in scans.items() for number in numbers if number % settings.every == 0
    )


def build(settings: Settings, folder: Path | None) -> SemanticKitti:
    """Open the unpacked set; ``folder`` holds ``dataset`` or is it."""
    return SemanticKitti(settings, _root(folder))


class SemanticKitti:
    """The scans, on disk."""

    licence = "CC BY-NC-SA"
    source = "SemanticKITTI (Behley et al. 2019) on KITTI odometry (Geiger et al. 2012)"
    up_axis: Literal["z"] = "z"
    class_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    semantic_names = tuple(RAW_LABELS)
    box_names: tuple[str, ...] = ()
    point_attributes = ("intensity", "semantic_label", "instance_label")

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._root = settings, root
        if not settings.partial:
            _require_whole(root, _scans(root))
        self.ids = list_ids(settings, root)
        self._known = frozenset(self.ids)

    def entry(self, shape_id: str) -> Entry:
        """Split by the sequence; checksum of scan and labels."""
        scan, labels = self._paths(shape_id)
        sequence = shape_id[:2]
        held: SplitName = "val" if sequence in self._settings.val_sequences else "train"
        split: SplitName = "test" if sequence == TEST_SEQUENCE else held
        return Entry("", split, scan.relative_to(self._root).as_posix(), checksum_together((scan, labels)))

    def load_points(self, shape_id: str) -> PointCloud:
        """One scan with what came back of the laser, class and object of every point.

        An instance label is class * 65536 + the object's number: numbers alone are the same for objects of two classes.
        It stays the same through a sequence.
        """
        scan, labels = self._paths(shape_id)
        rows = _numbers(scan, "<f4", 4)
        raw = _numbers(labels, "<u4", 1)[:, 0]
        if len(raw) != len(rows):
            raise UnusableShapeError(f"{labels.name}: holds {len(raw)} labels, its scan has {len(rows)} points")
        semantic = classes_of(raw & 0xFFFF, labels.name)
        number = (raw >> 16).astype(np.int32)
        instance = np.where((number > 0) & (semantic >= 0), semantic * np.int32(1 << 16) + number, -1)
        return PointCloud(
            rows[:, :3].astype(np.float64), intensity=rows[:, 3], semantic_label=semantic, instance_label=instance
        )

    def _paths(self, shape_id: str) -> tuple[Path, Path]:
        if shape_id not in self._known:
            raise ConfigError(f"{shape_id!r} is no scan of semantickitti; an id is e.g. 08/000123")
        sequence, _, scan = shape_id.partition("/")
        folder = self._root / "sequences" / sequence
        return folder / "velodyne" / f"{scan}.bin", folder / "labels" / f"{scan}.label"


def classes_of(raw: Array, name: str) -> Array:
    """(n,) int16, the class of each raw label, -1 for ignored ones. ``UnusableShapeError`` names one that is unknown.

    ``raw`` : (n,) unsigned, below 65536; ``name`` : of the file.
    """
    table = np.full(1 << 16, _UNKNOWN, np.int16)
    table[list(IGNORED)] = -1
    for label, merged in enumerate(RAW_LABELS.values()):
        table[list(merged)] = label
    found: Array = table[raw]
    if (found == _UNKNOWN).any():
        unknown = ", ".join(str(label) for label in np.unique(raw[found == _UNKNOWN])[:5])
        raise UnusableShapeError(f"{name}: unknown labels {unknown}; they must be those of the official list")
    return found


def _numbers(path: Path, dtype: str, columns: int) -> Array:
    """The rows of a file of plain numbers, (n, columns)."""
    try:
        content = read_bytes(path)
    except UnusableShapeError as error:
        raise UnusableShapeError(f"{path.name}: {error}") from None
    width = columns * np.dtype(dtype).itemsize
    if len(content) % width:
        raise UnusableShapeError(f"{path.name}: has {len(content)} bytes, no multiple of {width}: it was cut off")
    return np.frombuffer(content, dtype).reshape(-1, columns)


def _root(folder: Path | None) -> Path:
    return require_below(folder, "semantickitti", "dataset", "sequences")


def _scans(root: Path) -> dict[str, list[int]]:
    """Numbers of the scans that are there, by sequence, without opening one."""
    found: dict[str, list[int]] = {}
    for sequence in SCANS:
        place = root / "sequences" / sequence / "velodyne"
        names = [_SCAN.fullmatch(path.name) for path in place.iterdir()] if place.is_dir() else []
        found[sequence] = sorted(int(match[1]) for match in names if match)
    return found


def _require_whole(root: Path, scans: Mapping[str, Sequence[int]]) -> None:
    """Raise ``ArtifactError`` unless every labelled sequence has all its scans."""
    told = [
        f"{len(scans[name])} in {name} (official {count})"
        for name, count in SCANS.items()
        if list(scans[name]) != list(range(count))
    ]
    if told:
        raise ArtifactError(
            f"{root}: not the {sum(SCANS.values())} official scans: {', '.join(told)}; {UNCHECKED}; get "
            "the other scans, or say `partial: true` in the dataset's block, which then stands in its protocol"
        )
