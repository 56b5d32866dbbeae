"""One room of S3DIS: from the text files of its objects, or from the array that the field's preprocessing makes."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.array_file import read_npy
from pointlift.datasets.colours import colours
from pointlift.datasets.mesh_file import read_bytes
from pointlift.datasets.text_cloud import parse_table

logger = logging.getLogger(__name__)

#: In the order of the field: a label is an index in it.
SEMANTIC_NAMES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
)  # fmt: skip
_CLUTTER = SEMANTIC_NAMES.index("clutter")
_STAIRS = "stairs"
#: Bytes of the raw files that lost one bit, 0x20: a blank, a point or a digit, which setting it again gives back.
_LOST_BIT = 0x20
_DAMAGED = bytes(byte ^ _LOST_BIT for byte in b" .0123456789")
_MENDED = bytes(byte | _LOST_BIT if byte in _DAMAGED else byte for byte in range(256))
_MOST_DAMAGED = 8  # bytes of one file; more is another damage
_COPY = re.compile(r".* \(\d+\)\.txt")


def object_files(folder: Path) -> list[Path]:
    """The text files of a room's objects, sorted by name. Hidden files and copies, as ``wall_3 (1).txt``, are none."""
    files = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    return [path for path in files if not _COPY.fullmatch(path.name)]


def read_annotations(folder: Path, ignores_stairs: bool, repair: bool) -> PointCloud:
    """All points of a room, object after object by name; an instance label is an object's place in that order.

    The class is the file name up to its first ``_``. What is none of the 13 classes is clutter, as in the field;
    ``ignores_stairs``: stairs have label -1 and are no object. Raises ``UnusableShapeError``.
    """
    files = object_files(folder)
    if not files:
        raise UnusableShapeError(f"{folder.name} of {folder.parent.name}: no such folder, or no text file in it")
    for copy in sorted(path for path in folder.glob("*.txt") if _COPY.fullmatch(path.name)):
        logger.warning("%s is left out: it is a copy of an object", copy)
    points, colour, semantic, instance = [], [], [], []
    for number, path in enumerate(files):
        table = _read_object(path, repair)
        name = path.stem.partition("_")[0]
        ignored = ignores_stairs and name == _STAIRS
        label = -1 if ignored else SEMANTIC_NAMES.index(name) if name in SEMANTIC_NAMES else _CLUTTER
        if name not in (*SEMANTIC_NAMES, _STAIRS):
            logger.warning("%s: %r is none of the 13 classes, and counts as clutter", path, name)
        points.append(table[:, :3].copy())
        colour.append(colours(table, 255, path.name))
        semantic.append(np.full(len(table), label, np.int16))
        instance.append(np.full(len(table), -1 if ignored else number, np.int32))
    return PointCloud(
        np.concatenate(points),
        colour=np.concatenate(colour),
        semantic_label=np.concatenate(semantic),
        instance_label=np.concatenate(instance),
    )


def read_array(path: Path) -> PointCloud:
    """All points of a room from an array (n, 7): x, y, z, red, green, blue, label. Raises ``UnusableShapeError``."""
    table = read_npy(path, (None, 7), "f")
    label = table[:, 6]
    if not ((label >= 0) & (label < len(SEMANTIC_NAMES)) & (label == np.round(label))).all():
        raise UnusableShapeError(f"{path.name}: a label is no whole number from 0 to {len(SEMANTIC_NAMES) - 1}")
    colour = colours(table[:, :6], 255, path.name)
    return PointCloud(table[:, :3].astype(np.float64), colour=colour, semantic_label=label.astype(np.int16))


def _read_object(path: Path, repair: bool) -> Array:
    """The lines of one object, (n, 6)."""
    try:
        content = read_bytes(path)
    except UnusableShapeError as error:
        raise UnusableShapeError(f"{path.name}: {error}") from None
    damaged = [place for byte in _DAMAGED if byte in content for place in _places(content, byte)]
    if damaged:
        content = _mend(path, content, sorted(damaged), repair)
    return parse_table(content, path.name, 6, None)


def _places(content: bytes, byte: int) -> list[int]:
    """Where a byte stands, a few of the places at most."""
    found: list[int] = []
    start = content.find(byte)
    while start >= 0 and len(found) <= _MOST_DAMAGED:
        found.append(start)
        start = content.find(byte, start + 1)
    return found


def _mend(path: Path, content: bytes, damaged: list[int], repair: bool) -> bytes:
    """The content with the lost bits set again, each told in the log."""
    first = f"{path.name}, line {_line(content, damaged[0])}: byte 0x{content[damaged[0]]:02x} is no text"
    if len(damaged) > _MOST_DAMAGED:
        raise UnusableShapeError(f"{first}, and more than {_MOST_DAMAGED} are damaged; get the file again")
    if not repair:
        raise UnusableShapeError(f"{first}; mend the file, or say `repair: true` in the dataset's block")
    for place in damaged:
        number, byte = _line(content, place), content[place]
        logger.warning("%s, line %d: byte 0x%02x is read as %r", path, number, byte, chr(byte | _LOST_BIT))
    return content.translate(_MENDED)


def _line(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1
