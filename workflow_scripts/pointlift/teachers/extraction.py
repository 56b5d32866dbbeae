"""A teacher's embedding of every view of a shard."""

from __future__ import annotations

import logging
import time

import numpy as np
import torch

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array, Shard
from pointlift.teachers.teacher import Teacher
from pointlift.teachers.views import ahead, decode, num_views, usable_images

_log = logging.getLogger(__name__)


def extract(teacher: Teacher, views: Shard, batch_size: int) -> Array:
    """Embed every view of the valid shapes of a shard of views: float16 (S, V, D); zeros for the other shapes.

    Batches run across shapes, and the next ones are decoded while the network works. Raises ``ArtifactError`` naming
    the shape when a value is not finite or does not fit into float16.
    """
    started = time.perf_counter()
    numbers = usable_images(views)
    batches = [numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size)]
    embedding_ID = np.zeros((len(views.ids) * num_views(views), teacher.width), dtype=np.float16)
    for batch, images in zip(batches, ahead(lambda batch: decode(views, batch), batches), strict=True):
        found_BD = teacher.encode(torch.from_numpy(images)).embedding.cpu().numpy()
        _check(found_BD, [views.ids[number // num_views(views)] for number in batch])
        embedding_ID[batch] = found_BD.astype(np.float16)
    seconds = time.perf_counter() - started
    _log.info("%d views in %.1f s: %.0f images/s", len(numbers), seconds, len(numbers) / max(seconds, 1e-9))
    return embedding_ID.reshape(len(views.ids), num_views(views), teacher.width)


def _check(embedding_BD: Array, shape_ids: list[str]) -> None:
    largest = np.finfo(np.float16).max
    wrong = ~(np.abs(embedding_BD) <= largest).all(axis=1)  # False for NaN too
    if wrong.any():
        shape_id = shape_ids[int(np.flatnonzero(wrong)[0])]
        value = np.abs(embedding_BD[wrong]).max()
        raise ArtifactError(
            f"shape {shape_id}: the teacher gives {value:g}, which float16 (largest {largest:g}) cannot hold; "
            "check its weights and preprocessing (mean, std, pixel scale, precision)"
        )
