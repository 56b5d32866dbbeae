from fractions import Fraction

import pytest

from pointlift.contracts.procedural_blocks import SplitSettings
from pointlift.datasets import split_order

NAMES = ("train", "val", "test")


@pytest.mark.parametrize("sizes", [(6, 1, 3), (60, 10, 50), (1, 0, 0), (0, 1, 2), (5, 5, 5), (1, 98, 1)])
def test_the_split_furthest_behind_its_share_comes_next(sizes):
    """By fractions, which round nothing."""
    splits, given, wanted = SplitSettings(**dict(zip(NAMES, sizes, strict=True))), [0, 0, 0], []
    for index in range(2 * sum(sizes)):
        behind = [Fraction(size, sum(sizes)) * (index + 1) - had for size, had in zip(sizes, given, strict=True)]
        chosen = behind.index(max(behind))
        given[chosen] += 1
        wanted.append(NAMES[chosen])
    assert given == [2 * size for size in sizes]
    assert [split_order.split_of_index(splits, index) for index in range(len(wanted))] == wanted


def test_a_large_set_is_gone_through_a_few_times_not_once_an_item():
    split_order._first_splits.cache_clear()
    found = [split_order.split_of_index(SplitSettings(), index) for index in range(5000)]
    assert [found.count(name) for name in NAMES] == [3000, 500, 1500]
    assert split_order._first_splits.cache_info().misses <= 14
