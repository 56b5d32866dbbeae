"""The shard store: named arrays for many shapes in one safetensors file, checked on write and on read.

Axis letters of the whole project: S shapes in a shard, B batch, V views, H W pixels, P image patches, N points,
G student tokens, D teacher width, C student width, K classes. A packed axis such as ``sum N`` holds all shapes one
after another, with ``(S + 1,) int64`` offsets beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import atomic_path
from pointlift.contracts.hashing import canonical_json

_METADATA_KEY = "pointlift"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ArraySpec:
    """What one array must be: its dtype, its axes (letters, or numbers for fixed lengths), may it be absent."""

    dtype: str
    axes: tuple[str | int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Shard:
    """The content of one shard file.

    ids : shape ids in the manifest's order; arrays : by name; attributes : small JSON values, among them
    ``quarantine`` (shape id -> reason) for the shapes this stage found unusable.
    """

    ids: tuple[str, ...]
    arrays: dict[str, Array]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]


def check(kind: str, specs: Mapping[str, ArraySpec], shard: Shard) -> None:
    """Raise ``ArtifactError`` unless every array has its dtype, axes that agree with one another, and finite values."""
    sizes: dict[str, int] = {"S": len(shard.ids), "S+1": len(shard.ids) + 1}
    if len(set(shard.ids)) != len(shard.ids):
        raise ArtifactError(f"{kind}: a shape id stands twice in one shard")
    unknown = sorted(set(shard.arrays) - set(specs))
    if unknown:
        raise ArtifactError(f"{kind}: unknown arrays {unknown}; allowed: {sorted(specs)}")
    for name, spec in specs.items():
        if name in shard.arrays:
            _check_array(f"{kind}.{name}", spec, shard.arrays[name], sizes)
        elif not spec.optional:
            raise ArtifactError(f"{kind}: array {name} is missing")


def _check_array(name: str, spec: ArraySpec, array: Array, sizes: dict[str, int]) -> None:
    if array.dtype != np.dtype(spec.dtype):
        raise ArtifactError(f"{name}: dtype {array.dtype}, must be {spec.dtype}")
    if array.ndim != len(spec.axes):
        raise ArtifactError(f"{name}: shape {array.shape}, must have the axes {spec.axes}")
    for axis, length in zip(spec.axes, array.shape, strict=True):
        wanted = axis if isinstance(axis, int) else sizes.setdefault(axis, length)
        if length != wanted:
            raise ArtifactError(f"{name}: axis {axis} has length {length}, must be {wanted} (shape {array.shape})")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ArtifactError(f"{name}: holds values that are not finite")


def write_shard(path: Path, kind: str, specs: Mapping[str, ArraySpec], shard: Shard) -> None:
    """Check the shard, then write it atomically; the same content gives the same bytes."""
    check(kind, specs, shard)
    arrays = {name: np.ascontiguousarray(array) for name, array in shard.arrays.items()}
    header = {"kind": kind, "ids": list(shard.ids), "attributes": shard.attributes}
    header["checksum"] = _checksum(header, arrays)
    with atomic_path(path) as temporary:
        # One metadata key: safetensors keeps several in an order that changes from run to run.
        save_file(arrays, temporary, metadata={_METADATA_KEY: canonical_json(header)})


def read_shard(path: Path, kind: str, specs: Mapping[str, ArraySpec], ids: Sequence[str] | None = None) -> Shard:
    """Read and verify a shard: kind, checksum, dtypes, axes and, when given, that it holds exactly these ids.

    Raises ``ArtifactError`` naming the file and the remedy.
    """
    try:
        with safe_open(str(path), framework="numpy") as stream:
            header = json.loads((stream.metadata() or {})[_METADATA_KEY])
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        stored = header.pop("checksum")
        found = Shard(tuple(header["ids"]), arrays, header["attributes"])
        intact = stored == _checksum(header, arrays)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable pointlift shard ({error}); {_REMEDY}") from None
    if not intact:
        raise ArtifactError(f"{path}: its content does not match its checksum; {_REMEDY}")
    if header["kind"] != kind:
        raise ArtifactError(f"{path}: holds {header['kind']}, {kind} was expected")
    if ids is not None and tuple(ids) != found.ids:
        raise ArtifactError(f"{path}: its shape ids are not those of the manifest; {_REMEDY}")
    check(f"{path}: {kind}", specs, found)
    return found


def read_header(path: Path, kind: str) -> Shard:
    """Ids and attributes of a shard, without its arrays and so without their verification: quick on large files.

    Raises ``ArtifactError`` naming the file and the remedy.
    """
    header = _header(path, kind)
    return Shard(tuple(header["ids"]), {}, header["attributes"])


def stored_checksum(path: Path, kind: str) -> str:
    """What a shard says its checksum is, unverified: whoever reads its arrays verifies it.

    Raises ``ArtifactError`` naming the file and the remedy.
    """
    return str(_header(path, kind)["checksum"])


def _header(path: Path, kind: str) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="numpy") as stream:
            header: dict[str, Any] = json.loads((stream.metadata() or {})[_METADATA_KEY])
        found = {key: header[key] for key in ("kind", "ids", "attributes", "checksum")}
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable pointlift shard ({error}); {_REMEDY}") from None
    if found["kind"] != kind:
        raise ArtifactError(f"{path}: holds {found['kind']}, {kind} was expected")
    return found


_REMEDY = "delete it and run snakemake again to make it anew"


def _checksum(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    state = xxhash.xxh3_128()
    state.update(canonical_json({key: header[key] for key in ("kind", "ids", "attributes")}).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(canonical_json([name, str(array.dtype), list(array.shape)]).encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()
