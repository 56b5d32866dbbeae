"""The state of a run that was stopped, from which it goes on to the same bits."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from pointlift.contracts.files import atomic_path

log = logging.getLogger(__name__)


@dataclass
class Position:
    """Where a run stands: ``step`` steps of ``epoch`` are done; sums of their values; history lines of whole epochs."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class Checkpoint:
    """One file, ``state.pt``, plain tensors and numbers; written at most every ``seconds``, removed on success.

    ``identity`` is a digest of all that the run depends on: a file of another identity is left aside, with a warning.
    """

    def __init__(self, folder: Path, identity: str, seconds: float) -> None:
        self._path, self._identity, self._seconds = Path(folder) / "state.pt", identity, seconds
        self._written = time.monotonic()

    def due(self) -> bool:
        """Is it time to write again?"""
        return time.monotonic() - self._written >= self._seconds

    def save(self, position: Position, states: dict[str, Any]) -> None:
        """Write atomically. ``states``: state dicts by name, tensors anywhere inside."""
        content = {"identity": self._identity, "position": vars(position), "states": states}
        with atomic_path(self._path) as temporary:
            torch.save(content, temporary)
        self._written = time.monotonic()

    def load(self) -> tuple[Position, dict[str, Any]] | None:
        """What an earlier try of this run left, tensors on the CPU; None when there is nothing that fits."""
        if not self._path.is_file():
            return None
        try:
            content = torch.load(self._path, map_location="cpu", weights_only=True)
            fits = content["identity"] == self._identity
            found = Position(**content["position"]), content["states"]
        except Exception as error:  # a damaged file must never stop a run that can start anew
            log.warning("%s: not a readable checkpoint (%s); starting anew", self._path, type(error).__name__)
            return None
        if not fits:
            log.warning("%s: made by other settings, weights or data; starting anew", self._path)
            return None
        log.info("%s: going on at epoch %d, step %d", self._path, found[0].epoch, found[0].step)
        return found

    def remove(self) -> None:
        """Forget it, with what a kill in the middle of writing left: the run is complete."""
        for path in (self._path, *self._path.parent.glob(f".{self._path.name}.*.part")):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # someone else's files are in it, or it was never made
            self._path.parent.rmdir()


def weights_checksum(model: nn.Module) -> str:
    """Digest of names, shapes and values of a model's parameters and buffers."""
    state = xxhash.xxh3_128()
    for name, tensor in model.state_dict().items():
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        state.update(_bytes(tensor))
    return state.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
