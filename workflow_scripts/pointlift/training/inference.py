"""Running a trained network over many clouds, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointlift.contracts.shards import Array


def run_batched(
    function: Callable[[Tensor], Tensor], points: Array, device: torch.device, batch_size: int = 64
) -> Array:
    """``function`` of all clouds (S, N, 3) float32, in batches and without gradients: (S, ...) float32 on the CPU.

    Put the network behind ``function`` in eval mode first: a row must not depend on the rows beside it.
    """
    with torch.no_grad():
        batches = [torch.from_numpy(points[first : first + batch_size]) for first in range(0, len(points), batch_size)]
        answers = [function(batch.to(device)).float().cpu() for batch in batches]
    return torch.cat(answers).numpy()


def embed_clouds(
    student: nn.Module,
    clouds: Sequence[Array],
    device: torch.device,
    seen: Callable[[Any], Tensor] = lambda output: output.embedding,
) -> Array:
    """Embeddings (len(clouds), C) float32 of clouds (n, 3) of any lengths, every point of them used.

    Clouds of one length share batches; ``student`` is put in eval mode and left on ``device``. ``seen``: what is taken
    of a ``StudentOutput``, (B, C).
    """
    student.to(device).eval()
    lengths = np.array([len(cloud) for cloud in clouds])
    embedding = None
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        found = run_batched(lambda batch: seen(student(batch)), np.stack([clouds[int(row)] for row in rows]), device)
        if embedding is None:
            embedding = np.zeros((len(clouds), found.shape[1]), dtype=np.float32)
        embedding[rows] = found
    if embedding is None:
        raise ValueError("there are no clouds to embed")
    return embedding
