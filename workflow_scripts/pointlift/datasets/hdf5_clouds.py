"""Clouds that lie as rows of HDF5 files, with one label a row: checked by their headers, read in small blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.shards import Array
from pointlift.datasets.source_folder import SplitName

POINTS_PER_ROW = 2048
_BLOCK = 256  # rows in memory at a time
_LARGEST_CHUNK = 1 << 28  # bytes; it is read as a whole
_MOST_ROWS = 1_000_000  # of one file; more is a damaged header


class Hdf5Clouds:
    """The rows of a dataset's HDF5 files. Ids are ``<prefix>-<split>-<row>``, rows counted in order.

    The prefix keeps the rows of one dataset apart from those of others: an id means the same shape everywhere.
    """

    def __init__(self, prefix: str, files: Mapping[SplitName, Sequence[Path]], num_classes: int) -> None:
        """Check every header and every label. Raises ``ArtifactError`` naming the file."""
        self._prefix = prefix
        self._starts: dict[str, list[int]] = {}
        self._files = {str(split): list(paths) for split, paths in files.items()}
        self.labels: dict[str, Array] = {}
        for split, paths in self._files.items():
            counts = [num_rows(path) for path in paths]
            self._starts[split] = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()
            self.labels[split] = np.concatenate([_labels(path, num_classes) for path in paths])
        every = [path for paths in self._files.values() for path in paths]
        self.has_normals = all("normal" in _shapes(path) for path in every)
        self._block: tuple[Path, int, dict[str, Array]] | None = None

    def place(self, shape_id: str) -> tuple[str, int, Path, int]:
        """Split, row of the split, file and row of the file. Raises ``ConfigError`` for an id that is none."""
        split, _, digits = shape_id.removeprefix(f"{self._prefix}-").rpartition("-")
        row = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 8 else -1
        known = split in self._starts and 0 <= row < self._starts[split][-1]
        if not known or shape_id != _row_id(self._prefix, split, row):
            raise ConfigError(f"{shape_id!r} is no shape of this dataset; an id is e.g. {self._prefix}-train-00000")
        number = int(np.searchsorted(self._starts[split], row, side="right")) - 1
        return split, row, self._files[split][number], row - self._starts[split][number]

    def cloud(self, shape_id: str) -> PointCloud:
        """Points, and normals where all files have them, as they lie in the file."""
        arrays = self._row(shape_id)
        return PointCloud(arrays["data"], arrays.get("normal"))

    def sha256(self, shape_id: str) -> str:
        """Of the row's points as little-endian float32."""
        return hashlib.sha256(np.ascontiguousarray(self._row(shape_id)["data"], dtype="<f4").tobytes()).hexdigest()

    def _row(self, shape_id: str) -> dict[str, Array]:
        _, _, path, row = self.place(shape_id)
        first = row - row % _BLOCK
        if self._block is None or self._block[:2] != (path, first):
            names = ("data", "normal") if self.has_normals else ("data",)
            self._block = path, first, _read(path, names, slice(first, first + _BLOCK))
        return {name: array[row - first] for name, array in self._block[2].items()}


def row_ids(prefix: str, split: str, count: int) -> tuple[str, ...]:
    """The ids of a split with so many rows."""
    return tuple(_row_id(prefix, split, row) for row in range(count))


def _row_id(prefix: str, split: str, row: int) -> str:
    return f"{prefix}-{split}-{row:05d}"


def num_rows(path: Path) -> int:
    """How many clouds a file holds, by its header alone. Raises ``ArtifactError`` unless it is laid out as it must."""
    shapes = _shapes(path)
    if "data" not in shapes or "label" not in shapes:
        raise ArtifactError(f"{path}: must hold the arrays data and label; it holds {', '.join(shapes) or 'none'}")
    rows = shapes["data"][0] if shapes["data"] else 0
    cloud = (rows, POINTS_PER_ROW, 3)
    wanted: dict[str, list[tuple[int, ...]]] = {"data": [cloud], "label": [(rows,), (rows, 1)], "normal": [cloud]}
    for name, allowed in wanted.items():
        if name in shapes and shapes[name] not in allowed:
            raise ArtifactError(f"{path}: {name} has the shape {shapes[name]}, must be {allowed[-1]}")
    if not 0 < rows <= _MOST_ROWS:
        raise ArtifactError(f"{path}: holds {rows} clouds, must hold 1 to {_MOST_ROWS}")
    return rows


def _labels(path: Path, num_classes: int) -> Array:
    label = _read(path, ("label",), slice(None))["label"].reshape(-1)
    if (label != np.round(label)).any() or label.min() < 0 or label.max() >= num_classes:
        raise ArtifactError(f"{path}: labels must be whole numbers from 0 to {num_classes - 1}; get the file again")
    return label.astype(np.int64)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every numeric array at the top of the file."""
    import h5py

    with _opened(path) as file:
        found = {name: file[name] for name in ("data", "label", "normal") if name in file}
        odd = [
            name for name, item in found.items() if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu"
        ]
        if odd:
            raise ArtifactError(f"{path}: {', '.join(odd)} must be arrays of numbers")
        elsewhere = [name for name, item in found.items() if item.file != file or item.external or item.is_virtual]
        if elsewhere:
            raise ArtifactError(f"{path}: {', '.join(elsewhere)} must lie in this file, not in another one")
        large = [name for name, item in found.items() if prod(item.chunks or ()) * item.dtype.itemsize > _LARGEST_CHUNK]
        if large:
            raise ArtifactError(f"{path}: {', '.join(large)}: a chunk has more than {_LARGEST_CHUNK} bytes")
        return {name: tuple(item.shape or ()) for name, item in found.items()}


def _read(path: Path, names: Sequence[str], rows: slice) -> dict[str, Array]:
    with _opened(path) as file:
        return {name: np.asarray(file[name][rows], dtype=np.float64) for name in names}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, open; whatever the HDF5 library says against it becomes one line.

    Very rarely it says nothing and dies: of 25,000 files with random damage, HDF5 2.0.0 ended 6 by a segmentation
    fault. Only the checksum of a download is proof against that.
    """
    import h5py

    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; put the dataset's files there")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        reason = str(error).split("\n")[0][:120]
        raise ArtifactError(
            f"{path}: not a readable HDF5 file ({type(error).__name__}: {reason}); get it again"
        ) from None
