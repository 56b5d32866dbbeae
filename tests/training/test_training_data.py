"""The order of training data: every row once an epoch, another order each epoch, the same on every machine."""

import numpy as np
import pytest
import torch

from pointlift.training.data import TensorData


def order(data, epoch, batch_size, seed, start=0):
    return [batch["index"].tolist() for batch in data.batches(epoch, batch_size, seed, start)]


def test_every_row_at_most_once_and_the_last_partial_batch_dropped():
    data = TensorData({"value": np.arange(10)})
    batches = order(data, 0, 4, 0)
    assert [len(batch) for batch in batches] == [4, 4]
    assert len({row for batch in batches for row in batch}) == 8
    assert data.num_batches(4) == 2


def test_the_only_batch_is_kept_although_partial():
    data = TensorData({"value": np.arange(3)})
    assert sorted(order(data, 0, 8, 0)[0]) == [0, 1, 2]
    assert data.num_batches(8) == 1


def test_order_is_fixed_by_seed_and_epoch():
    data = TensorData({"value": np.arange(12)})
    assert order(data, 1, 4, 7) == order(data, 1, 4, 7)
    assert order(data, 1, 4, 7) != order(data, 2, 4, 7)
    assert order(data, 1, 4, 7) != order(data, 1, 4, 8)
    assert order(data, 1, 4, 7, start=2) == order(data, 1, 4, 7)[2:]


def test_the_order_never_changes_between_versions():
    assert order(TensorData({"value": np.arange(6)}), 0, 6, 0) == [[4, 0, 3, 5, 1, 2]]


def test_rows_stay_together_and_keep_their_dtype():
    rng = np.random.default_rng(0)
    arrays = {"points": rng.normal(size=(9, 4, 3)).astype(np.float32), "target": rng.normal(size=(9, 2)).astype("f2")}
    for batch in TensorData(arrays).batches(0, 3, 0):
        rows = batch["index"].numpy()
        np.testing.assert_array_equal(batch["points"].numpy(), arrays["points"][rows])
        np.testing.assert_array_equal(batch["target"].numpy(), arrays["target"][rows])
        assert (batch["points"].dtype, batch["target"].dtype) == (torch.float32, torch.float16)


def test_prepare_sees_each_batch():
    data = TensorData({"bits": np.array([[128], [1]], np.uint8)}, lambda batch: {"twice": batch["bits"].int() * 2})
    found = next(data.batches(0, 2, 0))["twice"]
    assert sorted(found.flatten().tolist()) == [2, 256]


def test_the_stored_arrays_are_never_written_to():
    values = np.zeros((4, 2), np.float32)
    for batch in TensorData({"value": values}).batches(0, 4, 0):
        batch["value"].add_(1.0)
    assert not values.any()


def test_checksum_sees_content_shape_and_name():
    base = TensorData({"a": np.arange(6.0)}).checksum()
    assert base == TensorData({"a": np.arange(6.0)}).checksum()
    others = [{"a": np.arange(6.0)[::-1]}, {"a": np.arange(6.0).reshape(6, 1)}, {"b": np.arange(6.0)}]
    assert base not in {TensorData(arrays).checksum() for arrays in others}


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(3), "b": np.zeros(4)}, {"a": np.zeros((0, 2))}])
def test_arrays_that_do_not_fit_are_refused(arrays):
    with pytest.raises(ValueError, match="arrays"):
        TensorData(arrays)
