"""The machine a run computes on: its device, its threads, and the promise that the same run gives the same bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pointlift.contracts.errors import MachineError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def choose_device(device: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU. Raises ``MachineError`` when ``cuda`` is asked for in vain."""
    if device == "cuda" and not torch.cuda.is_available():
        raise MachineError("device cuda was asked for, but torch finds no CUDA device; allowed here: auto, cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def build_fabric(device: str, precision: str) -> Fabric:
    """Lightning Fabric on one device; under ``torchrun`` on as many processes as that started (DDP)."""
    from lightning_fabric import Fabric

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = "cuda" if choose_device(device).type == "cuda" else "cpu"
    strategy = "ddp" if processes > 1 else "auto"
    return Fabric(accelerator=accelerator, devices=processes, strategy=strategy, precision=precision)  # type: ignore[arg-type]


@contextmanager
def reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """Within: this many torch threads, deterministic algorithms, random state forked. Everything is put back after.

    On CUDA an operation without a deterministic form warns instead of failing: identical bits are promised on the CPU.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    try:
        torch.set_num_threads(threads)
        _deterministic(True, warn_only=device.type == "cuda")
        memory.fill_uninitialized_memory = False
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before[0])
        _deterministic(before[1], warn_only=warned)
        memory.fill_uninitialized_memory = filled


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed what dropout and the like draw from on this device, and on the CPU.

    The same numbers as after ``torch.manual_seed``, which also asks every other kind of accelerator, 1 ms at each step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def _deterministic(mode: bool, warn_only: bool) -> None:
    """As ``torch.use_deterministic_algorithms``, which also imports torch's compiler (1 s), used by nothing here."""
    torch._C._set_deterministic_algorithms(mode, warn_only=warn_only)
