"""Statistics of batch norms estimated anew: a plain mean over some passes through the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a network, in its order."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def collecting(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Inside, each pass adds its mean and variance to what these norms keep; afterwards they are in eval mode.

    What they kept before is forgotten. Variances are means of those within a pass: what passes differ in is left out.
    """
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain mean over the passes
        norm.reset_running_stats()
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
