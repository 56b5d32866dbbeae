"""A student outside the pipeline: clouds in, embeddings out, the numbers that ``embed_shapes`` would write.

``pointlift.load`` gives one; docs/students.md shows how it is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from pointlift import rooms
from pointlift.contracts.blocks import MethodSettings, StudentSettings
from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.contracts.settings import parse
from pointlift.contracts.shards import Array
from pointlift.distillation.methods import method_settings
from pointlift.distillation.projector import load_projector
from pointlift.distillation.training import DistillationSettings
from pointlift.geometry import clouds as geometry
from pointlift.operators.checkpoint import load_student, read_student_settings, read_weights
from pointlift.operators.student_output import StudentOutput, shape_of
from pointlift.training.inference import embed_clouds
from pointlift.training.machine import choose_device, reproducible

WEIGHTS, SETTINGS, PROJECTOR = "weights.safetensors", "settings.json", "projector.safetensors"
LARGEST_SETTINGS = 1_000_000

Clouds: TypeAlias = "Array | Tensor | Sequence[Array | Tensor]"
"""One cloud (N, 3), a batch of them (B, N, 3), or a list of clouds of different lengths."""


class Encoder:
    """A student in eval mode. Its embeddings have no gradient; ``student`` is the module itself, to train it on."""

    def __init__(self, folder: Path, student: nn.Module, settings: DistillationSettings, device: torch.device) -> None:
        self.folder, self.settings, self.device = folder, settings, device
        self.student = student.to(device).eval()
        self.run = settings.run
        self.shape = shape_of(student)
        self.width = self.shape.width

    def __call__(self, points: Clouds, normalise: bool = True) -> Tensor:
        """One embedding per cloud, (B, C) float32 on the encoder's device; B = 1 for a single cloud.

        normalise : the bounding-box centre goes to the origin and the farthest point to radius 1, as for clouds that
        the pipeline reads (of meshes it is the whole mesh). False for clouds as they stand in its shards.

        Raises ``UnusableShapeError`` that says which cloud is empty, not finite, of a wrong shape, without extent, or
        of too few points for this student.
        """
        return self._seen(points, normalise, lambda output: output.embedding)

    def project(self, points: Clouds, normalise: bool = True) -> Tensor:
        """Each cloud in the teacher's own space, (B, D) float32, as the teacher gives it: not of unit length.

        Raises ``ConfigError`` where the student has no such head, and what ``__call__`` raises.
        """
        method: Any = self._method
        return self._seen(points, normalise, method.project)

    def tokens(self, points: Clouds, normalise: bool = True) -> StudentOutput:
        """All that the student says of clouds of one length, in a single batch: embedding, tokens, where they stand.

        ``token_xyz`` is in the units of the normalised cloud. Raises what ``__call__`` raises, and ``ConfigError`` for
        clouds of several lengths.
        """
        found = _read(points, normalise)
        lengths = sorted({len(cloud) for cloud in found})
        if len(lengths) > 1:
            raise ConfigError(
                f"clouds of {_listed(lengths)} points have no common tokens; ask for each length by itself"
            )
        with reproducible(self.device, torch.get_num_threads()), torch.no_grad(), _told(lengths):
            output: StudentOutput = self.student.eval()(torch.from_numpy(np.stack(found)).to(self.device))
        return output

    def __repr__(self) -> str:
        taught = "never trained" if self.settings.method is None else f"taught by {self.settings.method['kind']}"
        if self.settings.released is not None:
            taught = f"weights of {self.settings.released.file}"
        kind, seed = self.settings.student["kind"], self.settings.seed
        return f"Encoder({self.run}, seed {seed}: {kind}, width {self.width}, {taught}, on {self.device})"

    def _seen(self, points: Clouds, normalise: bool, seen: Callable[[StudentOutput], Tensor]) -> Tensor:
        found = _read(points, normalise)
        lengths = sorted({len(cloud) for cloud in found})
        with reproducible(self.device, torch.get_num_threads()), _told(lengths):
            rows = embed_clouds(self.student, found, self.device, seen)
        return torch.from_numpy(rows).to(self.device)

    @cached_property
    def _method(self) -> nn.Module:
        """The method that has the head, checked to be the one this student was trained with."""
        told = f"{self.run}: it has no head into a teacher's space, so that it can embed and not project"
        if self.settings.method is None:
            raise ConfigError(f"{told}: no method trained it (arm {self.settings.arm})")
        path, block = self.folder / PROJECTOR, method_settings(self.settings.method)
        header, _ = read_weights(path, "method")
        if header["method"] is None or method_settings(header["method"]) != block:
            raise ArtifactError(f"{path}: left by another method than {SETTINGS} says; run snakemake to make both anew")
        if header.get("student") != list(self.shape):
            raise ArtifactError(f"{path}: made for another student; run snakemake to make it anew")
        method = load_projector(path)
        if method is None:
            raise ConfigError(f"{told}: its method {block.kind} keeps none ({_shown(block)})")
        return method.to(self.device)


def load(folder: str | Path, device: str = "auto") -> Encoder:
    """The encoder of a folder that ``train_student`` made: ``results/students/<run>/seed<n>``.

    device : auto (CUDA where there is one), cpu or cuda. Raises ``ArtifactError`` that names the file when one is
    missing, damaged, or not of the student that the others are of; ``MachineError`` for cuda where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {device!r} is not allowed: auto, cpu or cuda")
    place = Path(folder)
    if not place.is_dir():
        raise ArtifactError(
            f"{place}: no such folder; name one like results/students/<run>/seed0, which snakemake makes"
        )
    block = _student_block(place / WEIGHTS)
    settings = _read_settings(place / SETTINGS)
    found = _student_settings(block, place / WEIGHTS)
    if found != _student_settings(settings.student, place / SETTINGS):
        raise ArtifactError(
            f"{place}: {WEIGHTS} and {SETTINGS} are of two student blocks; run snakemake to make both anew"
        )
    with torch.random.fork_rng(devices=[]):  # first weights are drawn; the caller's next random number stays the same
        student = rooms.load("students", block["kind"]).build(found)
    load_student(place / WEIGHTS, student)
    return Encoder(place, student, settings, choose_device(device))


def _student_block(path: Path) -> dict[str, Any]:
    """The block in a weights file's header. Raises ``ArtifactError`` where it is not a student alone."""
    block = read_student_settings(path)
    if isinstance(block, dict) and "task" in block:
        start = f"results/students/{block.get('run', '<run>')}/seed{block.get('seed', '<n>')}"
        raise ArtifactError(
            f"{path}: a student finetuned with a task's head, which is not opened here; {start} is, where it began"
        )
    if not isinstance(block, dict) or "kind" not in block:
        raise ArtifactError(f"{path}: its header has no student's block; run snakemake to make it anew")
    return block


def _student_settings(block: dict[str, Any], path: Path) -> StudentSettings:
    """The block, checked by its kind; keys that came later have their defaults."""
    settings: StudentSettings = parse(rooms.load("students", block["kind"]).Settings, block, f"{path}: student")
    return settings


def _read_settings(path: Path) -> DistillationSettings:
    """What ``train_student`` was told, checked whole."""
    try:
        if path.stat().st_size > LARGEST_SETTINGS:
            raise ArtifactError(f"{path}: larger than {LARGEST_SETTINGS:,} bytes, hence not a student's settings")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; keep it beside {WEIGHTS}, or run snakemake to make both") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ArtifactError(f"{path}: not readable as JSON ({error}); run snakemake to make it anew") from None
    if isinstance(values, dict):
        values.pop("origins", None)  # where tensors came from, of students that start from 2D weights: nobody's setting
    return parse(DistillationSettings, values, str(path))


def _read(points: Clouds, normalise: bool) -> list[Array]:
    """The clouds as float32, checked, each normalised in float64 first where asked for."""
    if isinstance(points, list | tuple):
        rows = [_array(cloud, f"cloud {number}") for number, cloud in enumerate(points)]
    else:
        array = _array(points, "points")
        if array.ndim not in (2, 3):
            raise UnusableShapeError(f"points have the shape {array.shape}, must be (N, 3) or (B, N, 3), or a list")
        rows = list(array) if array.ndim == 3 else [array]
    if not rows:
        raise UnusableShapeError("there are no clouds to embed")
    found = []
    for number, row in enumerate(rows):
        try:
            cloud = geometry.check(PointCloud(row))
        except UnusableShapeError as error:
            raise UnusableShapeError(f"cloud {number}: {error}") from None
        found.append((geometry.normalise(cloud) if normalise else cloud).points.astype(np.float32))
    return found


def _array(value: Any, name: str) -> Array:
    """Numbers as float64, from numpy or torch, of any device and any real type."""
    if isinstance(value, Tensor):
        real = not (value.is_complex() or value.dtype == torch.bool or value.is_sparse or value.is_quantized)
        value = value.detach().cpu().double().numpy() if real else value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        kind = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise UnusableShapeError(f"{name}: a {kind}; clouds are numpy arrays or torch tensors of real numbers")
    with np.errstate(over="ignore"):  # beyond float64 a number is infinite, which is told
        return value.astype(np.float64)


@contextmanager
def _told(lengths: Sequence[int]) -> Iterator[None]:
    """Within: what a student says of clouds it cannot take, of too few points above all, is the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise UnusableShapeError(f"this student cannot take clouds of {_listed(lengths)} points: {error}") from error


def _shown(settings: MethodSettings) -> str:
    return ", ".join(f"{key}: {value}" for key, value in settings.model_dump(mode="json").items() if key != "kind")


def _listed(lengths: Sequence[int]) -> str:
    return str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
