"""Rows that are gone through again and again: as often as wanted, in the orders of ``TensorData``, from anywhere."""

import itertools

import numpy as np
import pytest

from pointlift.training.data import TensorData
from pointlift.training.repeated import RepeatedData


def rows(data, epochs, batch_size, seed=0, start=0):
    return [batch["index"].tolist() for epoch in epochs for batch in data.batches(epoch, batch_size, seed, start)]


@pytest.mark.parametrize(("number", "batch_size", "length"), [(7, 3, 5), (3, 8, 4), (12, 4, 2), (12, 4, 3), (12, 4, 1)])
def test_batches_are_those_of_the_rows_one_pass_after_another(number, batch_size, length):
    once = TensorData({"value": np.arange(number)})
    repeated = RepeatedData(once, length)
    assert repeated.num_batches(batch_size) == length and len(repeated) == number
    endless = (batch for passed in itertools.count() for batch in rows(once, [passed], batch_size))
    assert rows(repeated, range(6), batch_size) == list(itertools.islice(endless, 6 * length))


@pytest.mark.parametrize("start", range(6))
def test_an_epoch_goes_on_from_any_batch(start):
    data = RepeatedData(TensorData({"value": np.arange(7)}), 5)
    assert rows(data, [3], 2, start=start) == rows(data, [3], 2)[start:]


def test_its_checksum_is_of_rows_and_length():
    one, other = TensorData({"value": np.arange(4)}), TensorData({"value": np.arange(5)})
    sums = {RepeatedData(data, length).checksum() for data in (one, other) for length in (1, 2)}
    assert len(sums) == 4
    assert RepeatedData(one, 2).checksum() == RepeatedData(TensorData({"value": np.arange(4)}), 2).checksum()
