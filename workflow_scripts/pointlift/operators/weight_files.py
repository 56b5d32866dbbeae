"""Local weight files with a network's own key names, read without pickle and loaded only when they fit exactly."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from pointlift.contracts.errors import ArtifactError

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".t7", ".bin", ".npz")
#: What readers raise for a file that is cut short, of another format, or holds more than tensors.
UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    AssertionError,
    RuntimeError,
    ValueError,
    LookupError,
    MemoryError,
    EOFError,
    OSError,
    StopIteration,
    AttributeError,
    TypeError,
)
_WRAPPER = "module."
#: Under which key training programs put the tensors of a network beside what else they keep.
_HOLDERS = ("state_dict", "model_state_dict", "base_model")
#: Numbers of numpy, which such programs keep as scores: they are read, and run nothing.
_NUMPY_NUMBERS: list[Any] = [
    *((np.float64(0).__reduce__()[0], f"numpy.{place}.multiarray.scalar") for place in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8")),
]
#: How names of the counters end that batch norms keep.
COUNTER = "num_batches_tracked"
_LARGEST_FILE = 8 * 1024**3
_LONGEST_LINE = 250
_ZIPPED = b"PK\x03\x04"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named float32 tensors of a local file: safetensors, npz, or a torch file holding tensors and numbers alone.

    Names lose the ``module.`` that torch's DataParallel puts before every one of them. Of a checkpoint with more than
    a network's tensors (optimiser, epoch, scores) these are taken. Raises ``ArtifactError`` naming the file and the
    remedy.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no such weights file; put it there, or change weights_file and paths.archives")
    if path.suffix not in SUFFIXES:
        raise ArtifactError(f"{path}: weights are read from {', '.join(SUFFIXES)} files")
    _require_size(path, path.stat().st_size)
    try:
        _require_size(path, _unpacked_size(path))
        found = _read(path)
        wrapped = all(name.startswith(_WRAPPER) for name in found)
        return {name.removeprefix(_WRAPPER if wrapped else ""): as_float(tensor) for name, tensor in found.items()}
    except UNREADABLE as error:
        raise ArtifactError(f"{path}: not a readable weights file ({_told(error)}") from None


def load_strictly(network: nn.Module, path: Path) -> None:
    """Fill ``network`` from a file that holds exactly its tensors; see ``fill``."""
    fill(network, read_weights(path), path)


def fill(network: nn.Module, found: Mapping[str, Tensor], path: Path) -> None:
    """Fill ``network`` with exactly its tensors, read from ``path`` (batch counters may be missing).

    Raises ``ArtifactError`` that lists missing, unexpected and wrongly shaped keys; nothing is loaded then.
    """
    found = without_counters(found)
    problems = misfits({name: tensor.shape for name, tensor in without_counters(network.state_dict()).items()}, found)
    if problems:
        raise ArtifactError(
            f"{path}: does not hold the weights of this architecture: {'; '.join(problems)}; "
            "choose the architecture the file was made with"
        )
    network.load_state_dict(found, strict=False)


def without_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All but the counters that batch norms keep: older files lack them, and nothing in eval mode reads them."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith(COUNTER)}


def misfits(wanted: Mapping[str, Sequence[int]], found: Mapping[str, Tensor]) -> list[str]:
    """What keeps ``found`` from being exactly the tensors of these names and shapes, a phrase per kind of mistake."""
    reshaped = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != tuple(shape)
    ]
    return [
        *listed("missing", sorted(set(wanted) - set(found))),
        *listed("unexpected", sorted(set(found) - set(wanted))),
        *listed("of another shape", reshaped),
    ]


def as_float(tensor: Tensor) -> Tensor:
    """Float tensors of any width as float32, others as they are."""
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def first_line(error: BaseException) -> str:
    """What an error says, on one line of bounded length."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST_LINE else f"{words[:_LONGEST_LINE]} ..."


def listed(what: str, names: list[str]) -> list[str]:
    """One phrase for an error, ``what: first, second, third and 7 more``; none where there is no name."""
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what}: {', '.join(names[:3])}{more}"]


def _told(error: BaseException) -> str:
    """Why a file was not read, and what to do. A damaged file may look as if it held an object of some name."""
    refused = re.search(r"unsupported global:? (?:GLOBAL )?(\S+)", str(error), re.IGNORECASE)
    if not isinstance(error, pickle.UnpicklingError) or refused is None:
        return f"{first_line(error)}); fetch it again"
    return (
        f"it holds {refused.group(1)}, neither a tensor nor a number: loading it could run code, so it is not); "
        "fetch it again, or get a file of the network's tensors (its state_dict) alone"
    )


def _require_size(path: Path, size: int) -> None:
    if size > _LARGEST_FILE:
        raise ArtifactError(f"{path}: {size} bytes; weights files are at most {_LARGEST_FILE} bytes")


def _unpacked_size(path: Path) -> int:
    """Bytes of all that an npz or zipped torch file holds, as it says itself; of other files 0."""
    with path.open("rb") as stream:
        zipped = path.suffix != ".safetensors" and stream.read(len(_ZIPPED)) == _ZIPPED
    if not zipped:
        return 0
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    with safe_globals(_NUMPY_NUMBERS):
        found = torch.load(path, map_location="cpu", weights_only=True)
    return next((found[key] for key in _HOLDERS if isinstance(found.get(key), Mapping)), found)
