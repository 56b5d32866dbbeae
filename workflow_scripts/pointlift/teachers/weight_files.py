"""Local weight files with a network's own key names, read without pickle and loaded only when they fit exactly."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".npz")
#: What readers raise for a file that is cut short, of another format, or holds more than tensors.
UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    KeyError,
    EOFError,
    OSError,
    StopIteration,
    AttributeError,
    TypeError,
)
_LONGEST_LINE = 250


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named float32 tensors of a local file: safetensors, npz, or a torch file holding tensors alone.

    Raises ``ArtifactError`` naming the file and the remedy.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no such weights file; put it there, or change weights_file and paths.archives")
    if path.suffix not in SUFFIXES:
        raise ArtifactError(f"{path}: weights are read from {', '.join(SUFFIXES)} files")
    try:
        found = _read(path)
        return {name: as_float(tensor) for name, tensor in found.items()}
    except UNREADABLE as error:
        raise ArtifactError(f"{path}: not a readable weights file ({first_line(error)}); fetch it again") from None


def load_strictly(network: nn.Module, path: Path) -> None:
    """Fill ``network`` from a file that holds exactly its tensors; see ``fill``."""
    fill(network, read_weights(path), path)


def fill(network: nn.Module, found: Mapping[str, Tensor], path: Path) -> None:
    """Fill ``network`` with exactly its tensors, read from ``path`` (batch counters may be missing).

    Raises ``ArtifactError`` that lists missing, unexpected and wrongly shaped keys; nothing is loaded then.
    """
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = {name: tensor for name, tensor in found.items() if not name.endswith("num_batches_tracked")}
    problems = [
        *_listed("missing", sorted(set(wanted) - set(found))),
        *_listed("unexpected", sorted(set(found) - set(wanted))),
        *_listed(
            "of another shape",
            [
                f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
                for name, tensor in wanted.items()
                if name in found and found[name].shape != tensor.shape
            ],
        ),
    ]
    if problems:
        raise ArtifactError(
            f"{path}: does not hold the weights of this architecture: {'; '.join(problems)}; "
            "choose the architecture the file was made with"
        )
    network.load_state_dict(found, strict=False)


def as_float(tensor: Tensor) -> Tensor:
    """Float tensors of any width as float32, others as they are."""
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def first_line(error: BaseException) -> str:
    """What an error says, on one line of bounded length."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST_LINE else f"{words[:_LONGEST_LINE]} ..."


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    found = torch.load(path, map_location="cpu", weights_only=True)
    return found.get("state_dict", found)


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what}: {', '.join(names[:3])}{more}"]
