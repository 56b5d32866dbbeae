"""Which split each item of a made set is in: counts that come out exact, and never change as the set grows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pointlift.contracts.procedural_blocks import SplitSettings
from pointlift.datasets.source_folder import SplitName


def split_of_index(splits: SplitSettings, wanted: int) -> SplitName:
    """Split of item ``wanted`` of a set: from item 0 on, always the one furthest behind its share.

    So a larger set leaves the splits of the first items as they are, and counts come out exact whenever their number is
    the sum of those asked for.
    """
    return _first_splits(splits, 1 << wanted.bit_length())[wanted]


@lru_cache(maxsize=8)
def _first_splits(splits: SplitSettings, count: int) -> tuple[SplitName, ...]:
    """Splits of the first ``count`` items; asked for by powers of two, so that each item costs the same."""
    names: tuple[SplitName, ...] = ("train", "val", "test")
    sizes = np.array([splits.train, splits.val, splits.test])
    shares, given, found = sizes / sizes.sum(), np.zeros(3), list[SplitName]()
    for index in range(count):
        chosen = int(np.argmax(np.round(shares * (index + 1) - given, 9)))
        given[chosen] += 1
        found.append(names[chosen])
    return tuple(found)
