"""Random weights for the random-teacher arm: the same for a seed, and at a scale at which images can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pointlift.contracts.hashing import stable_seed
from pointlift.operators.norm_statistics import batch_norms, collecting


@contextmanager
def seeded(*words: str | int) -> Iterator[None]:
    """Inside, torch's global generator is seeded from words (networks draw their first weights from it)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(*words))
        yield


def settle_batch_norm(network: nn.Module, forward: Callable[[Tensor], object], size: int, num_batches: int = 2) -> None:
    """Give the batch norms of an untrained network the statistics of random smooth pictures.

    With the initial ones (mean 0, variance 1) an untrained MobileNetV2 shrinks its input to 1e-9 and half precision
    would store zeros for every image; a comparison with such a teacher would say nothing. ``forward`` calls the network
    with pixels (8, 3, size, size); no shape is looked at. Draws from torch's global generator: call it in ``seeded``.
    """
    norms = batch_norms(network)
    if not norms:
        return
    network.eval()
    with torch.no_grad(), collecting(norms):
        for _ in range(num_batches):
            coarse = torch.randn(8, 3, 6, 6)
            forward(nn.functional.interpolate(coarse, size=(size, size), mode="bicubic"))
