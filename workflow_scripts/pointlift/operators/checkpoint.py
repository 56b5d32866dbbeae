"""Weights of a student in one safetensors file, with the settings it was built from; checked on the way in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import atomic_path
from pointlift.contracts.hashing import canonical_json

_METADATA_KEY = "pointlift"
_REMEDY = "delete it and run snakemake again to make it anew"


def save_student(path: Path, student: nn.Module, settings: Mapping[str, Any]) -> None:
    """Write the weights and buffers of ``student`` and the block it was built from, atomically; same bytes every time.

    Raises ``ArtifactError`` when a weight is not finite: such a student is never worth keeping.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in student.state_dict().items()}
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ArtifactError(f"{path}: not written, weights that are not finite: {_first(broken)}; lower learning_rate")
    with atomic_path(Path(path)) as temporary:
        # One metadata key: safetensors keeps several in an order that changes from run to run.
        save_file(weights, temporary, metadata={_METADATA_KEY: canonical_json({"student": dict(settings)})})


def read_student_settings(path: Path) -> dict[str, Any]:
    """The student block a weights file was made from. Raises ``ArtifactError`` for a file that is not one."""
    return _read(Path(path))[0]


def load_student(path: Path, student: nn.Module, settings: Mapping[str, Any] | None = None) -> None:
    """Fill ``student`` in place with the weights of a file.

    Every name, shape and dtype must agree, and the block in the file with ``settings`` where given; otherwise
    ``ArtifactError`` says what differs and the student is left untouched.
    """
    stored, weights = _read(Path(path))
    if settings is not None and canonical_json(stored) != canonical_json(dict(settings)):
        differing = sorted(key for key in {*stored, *settings} if stored.get(key) != settings.get(key))
        raise ArtifactError(f"{path}: made by another student block (differs in {', '.join(differing)}); {_REMEDY}")
    wanted = student.state_dict()
    problems = [f"lacks {name}" for name in wanted if name not in weights]
    problems += [f"has unknown {name}" for name in weights if name not in wanted]
    problems += [
        f"{name} is {_kind(weights[name])}, must be {_kind(wanted[name])}"
        for name in wanted
        if name in weights and _kind(weights[name]) != _kind(wanted[name])
    ]
    problems += [f"{name} is not finite" for name, value in weights.items() if not torch.isfinite(value).all()]
    if problems:
        raise ArtifactError(f"{path}: does not fit this student: {_first(problems)}; {_REMEDY}")
    student.load_state_dict(weights)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as stream:
            header = json.loads((stream.metadata() or {})[_METADATA_KEY])
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        settings: dict[str, Any] = header["student"]
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise ArtifactError(f"{path}: not a file of student weights ({error}); {_REMEDY}") from None
    return settings, weights


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _first(problems: list[str], shown: int = 3) -> str:
    rest = len(problems) - shown
    return ", ".join(problems[:shown]) + (f" and {rest} more" if rest > 0 else "")
