"""What a teacher says about every view of a shard: embeddings, or tokens of patches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.teacher_blocks import TeacherSettings
from pointlift.teachers.teacher import Teacher, prepare_torch
from pointlift.teachers.views import ahead, decode, num_views, usable_images

_log = logging.getLogger(__name__)


def frozen(member: ModuleType, settings: TeacherSettings, weights: Path | None, threads: int, device: str) -> Teacher:
    """The teacher of these settings on its device. member : its kind's file; weights : what its ``build`` takes."""
    prepared = prepare_torch(threads, device)
    if weights is not None:
        weights = weights.parent.resolve() / weights.name  # as the user knows it, not by a link
    teacher: Teacher = member.build(settings, weights)
    return teacher.to(prepared)


def extract(teacher: Teacher, views: Shard, batch_size: int) -> Array:
    """Embed every view of the valid shapes of a shard of views: float16 (S, V, D); zeros for the other shapes.

    Batches run across shapes, and the next ones are decoded while the network works. Raises ``ArtifactError`` naming
    the shape when a value is not finite or does not fit into float16.
    """
    return _extract(lambda images: teacher.encode(images).embedding, (teacher.width,), views, batch_size)


def extract_tokens(teacher: Teacher, views: Shard, batch_size: int) -> Array:
    """Patches of every view in the space of the embedding: float16 (S, V, P, D), otherwise as ``extract``.

    Raises ``ConfigError`` for a teacher that has none (``Teacher.encode_patches``).
    """
    size = teacher.preprocessing.size
    blank = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    return _extract(teacher.encode_patches, tuple(teacher.encode_patches(blank).shape[1:]), views, batch_size)


def _extract(encode: Callable[[Tensor], Tensor], shape: tuple[int, ...], views: Shard, batch_size: int) -> Array:
    started = time.perf_counter()
    numbers = usable_images(views)
    batches = [numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size)]
    found = np.zeros((len(views.ids) * num_views(views), *shape), dtype=np.float16)
    for batch, images in zip(batches, ahead(lambda batch: decode(views, batch), batches), strict=True):
        values = encode(torch.from_numpy(images)).cpu().numpy()
        _check(values.reshape(len(batch), -1), [views.ids[number // num_views(views)] for number in batch])
        found[batch] = values.astype(np.float16)
    seconds = time.perf_counter() - started
    _log.info("%d views in %.1f s: %.0f images/s", len(numbers), seconds, len(numbers) / max(seconds, 1e-9))
    return found.reshape(len(views.ids), num_views(views), *shape)


def _check(values_BX: Array, shape_ids: list[str]) -> None:
    largest = np.finfo(np.float16).max
    wrong = ~(np.abs(values_BX) <= largest).all(axis=1)  # False for NaN too
    if wrong.any():
        shape_id = shape_ids[int(np.flatnonzero(wrong)[0])]
        value = np.abs(values_BX[wrong]).max()
        raise ArtifactError(
            f"shape {shape_id}: the teacher gives {value:g}, which float16 (largest {largest:g}) cannot hold; "
            "check its weights and preprocessing (mean, std, pixel scale, precision)"
        )
