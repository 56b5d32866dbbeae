"""Weights of a network in one safetensors file, with the settings it was built from; checked on the way in and out."""

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
    """Write a student and the block it was built from; see ``save_weights``."""
    save_weights(path, student, {"student": dict(settings)})


def save_weights(path: Path, network: nn.Module | None, header: Mapping[str, Any]) -> None:
    """Write weights and buffers of ``network`` (None: none) and a JSON header, atomically; same bytes every time.

    Raises ``ArtifactError`` when a weight is not finite: such a network is never worth keeping.
    """
    state = {} if network is None else network.state_dict()
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ArtifactError(f"{path}: not written, weights that are not finite: {_first(broken)}; lower learning_rate")
    with atomic_path(Path(path)) as temporary:
        # One metadata key: safetensors keeps several in an order that changes from run to run.
        save_file(weights, temporary, metadata={_METADATA_KEY: canonical_json(dict(header))})


def read_student_settings(path: Path) -> dict[str, Any]:
    """The student block a weights file was made from. Raises ``ArtifactError`` for a file that is not one."""
    settings: dict[str, Any] = read_weights(Path(path), "student")[0]["student"]
    return settings


def load_student(path: Path, student: nn.Module, settings: Mapping[str, Any] | None = None) -> None:
    """Fill ``student`` in place with the weights of a file.

    Every name, shape and dtype must agree, and the block in the file with ``settings`` where given; otherwise
    ``ArtifactError`` says what differs and the student is left untouched.
    """
    header, weights = read_weights(Path(path), "student")
    stored = header["student"]
    if settings is not None and canonical_json(stored) != canonical_json(dict(settings)):
        differing = sorted(key for key in {*stored, *settings} if stored.get(key) != settings.get(key))
        raise ArtifactError(f"{path}: made by another student block (differs in {', '.join(differing)}); {_REMEDY}")
    fill(student, weights, path, "student")


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Fill ``network``, a ``what``, in place with exactly its weights and buffers, read from ``path``.

    Raises ``ArtifactError`` that says what does not fit, or is not finite; nothing is loaded then.
    """
    wanted = network.state_dict()
    problems = [f"lacks {name}" for name in wanted if name not in weights]
    problems += [f"has unknown {name}" for name in weights if name not in wanted]
    problems += [
        f"{name} is {_kind(weights[name])}, must be {_kind(wanted[name])}"
        for name in wanted
        if name in weights and _kind(weights[name]) != _kind(wanted[name])
    ]
    problems += [f"{name} is not finite" for name, value in weights.items() if not torch.isfinite(value).all()]
    if problems:
        raise ArtifactError(f"{path}: does not fit this {what}: {_first(problems)}; {_REMEDY}")
    network.load_state_dict(dict(weights))


def read_weights(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and weights of a file whose header has the key ``what``. Raises ``ArtifactError`` for any other file."""
    try:
        with safe_open(str(path), framework="pt") as stream:
            header: dict[str, Any] = json.loads((stream.metadata() or {})[_METADATA_KEY])
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        _ = header[what]
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run snakemake to make it") from None
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise ArtifactError(f"{path}: not a file of {what} weights ({error}); {_REMEDY}") from None
    return header, weights


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _first(problems: list[str], shown: int = 3) -> str:
    rest = len(problems) - shown
    return ", ".join(problems[:shown]) + (f" and {rest} more" if rest > 0 else "")
