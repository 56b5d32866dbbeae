"""Building a network so that its first weights depend on words alone, not on what was drawn before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from pointlift.contracts.hashing import stable_seed

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def initialised(build: Callable[[], AnyModule], *words: str | int) -> AnyModule:
    """Call ``build`` with torch's CPU generator seeded from ``words``, e.g. ("student", seed); its state is put back.

    So every arm of one seed starts from the same student, whatever else an arm builds beside it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed("initialise", *words))
        return build()
