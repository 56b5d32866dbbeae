"""Random weights for the random-teacher arm: the same for a seed, and at a scale at which images can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pointlift.contracts.hashing import stable_seed


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
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain mean over the batches
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for _ in range(num_batches):
            coarse = torch.randn(8, 3, 6, 6)
            forward(nn.functional.interpolate(coarse, size=(size, size), mode="bicubic"))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
