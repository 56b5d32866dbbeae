"""Sparse tensors, their batch norm and pooling, against dense grids and loops over clouds."""

import pytest
import torch
from voxel_clouds import random_tensor

from pointlift.operators.sparse_pooling import SparseBatchNorm, pool_children, pool_clouds
from pointlift.operators.sparse_tensor import SparseTensor, sparse_tensor

REDUCE = {"sum": lambda rows: rows.sum(0), "mean": lambda rows: rows.mean(0), "max": lambda rows: rows.amax(0)}


def test_rows_stand_in_the_order_of_their_voxels():
    rows = torch.arange(4.0)[:, None]
    tensor = sparse_tensor(torch.tensor([[1, 0, 0, 0], [0, 0, 0, 3], [0, -1, 9, 9], [0, 0, -2, 5]]), rows, 3)
    assert tensor.coordinates.tolist() == [[0, -1, 9, 9], [0, 0, -2, 5], [0, 0, 0, 3], [1, 0, 0, 0]]
    assert tensor.coordinates.dtype == torch.int32
    assert tensor.rows[:, 0].tolist() == [2, 3, 1, 0] and tensor.counts.tolist() == [3, 1, 0]


@pytest.mark.parametrize(
    ("voxels", "batch_size", "stride", "told"),
    [
        ([[0, 1, 1, 1], [0, 1, 1, 1]], 1, 1, "1 voxels stand there twice"),
        ([[0, 1, 1, 1], [2, 1, 1, 1]], 2, 1, "cloud 2 of a batch of 2"),
        ([[0, 2, 2, 2], [0, 1, 2, 2]], 1, 2, "no multiple of the stride 2"),
        ([[0, 2, 2, 2]], 1, 1, "2 rows for 1 voxels"),
    ],
)
def test_what_is_no_sparse_tensor_is_refused(voxels, batch_size, stride, told):
    with pytest.raises(ValueError, match=told):
        sparse_tensor(torch.tensor(voxels), torch.zeros(2, 3), batch_size, stride)


def test_tensors_join_and_add_where_they_lie_at_the_same_places():
    tensor = random_tensor()
    other = sparse_tensor(tensor.coordinates, tensor.rows * 2, 2)
    assert torch.equal(tensor.join(other).rows, torch.cat([tensor.rows, tensor.rows * 2], dim=1))
    assert torch.equal(tensor.add(other).rows, tensor.rows * 3)
    for elsewhere in (random_tensor(seed=1), pool_children(tensor, 2, "sum")):
        with pytest.raises(ValueError, match="same places"):
            tensor.add(elsewhere)
    with pytest.raises(ValueError, match="must be"):
        tensor.with_rows(tensor.rows[1:])


def test_a_grid_holds_the_rows_and_zeros():
    tensor = random_tensor(5)
    grid = tensor.dense(6)
    assert grid.shape == (2, 3, 6, 6, 6)
    for (cloud, x, y, z), row in zip(tensor.coordinates.tolist(), tensor.rows, strict=True):
        assert torch.equal(grid[cloud, :, x, y, z], row)
    assert (grid != 0).any(dim=1).sum() == len(tensor.rows)
    with pytest.raises(ValueError, match="outside a grid of 4"):
        tensor.dense(4)


def test_batch_norm_counts_active_rows_alone():
    torch.manual_seed(0)
    tensor, sparse, plain = random_tensor(), SparseBatchNorm(3).double(), torch.nn.BatchNorm1d(3).double()
    assert torch.equal(sparse(tensor).rows, plain(tensor.rows))
    torch.testing.assert_close(sparse.running_mean, 0.1 * tensor.rows.mean(0))
    torch.testing.assert_close(sparse.running_var, 0.9 + 0.1 * tensor.rows.var(0))
    assert sparse.state_dict().keys() == plain.state_dict().keys()
    before = sparse.running_mean.clone()
    empty = SparseTensor(tensor.rows[:0], sparse_tensor(tensor.coordinates[:0], tensor.rows[:0], 2).levels)
    assert sparse(empty).rows.shape == (0, 3) and torch.equal(sparse.running_mean, before)
    assert torch.isfinite(sparse.eval()(tensor.with_rows(tensor.rows * 0)).rows).all()


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_clouds_are_pooled_over_their_own_voxels(reduction):
    tensor = random_tensor(batch=3)
    kept = tensor.coordinates[:, 0] != 1  # the one in the middle has no voxels then
    tensor = sparse_tensor(tensor.coordinates[kept], tensor.rows[kept].requires_grad_(), 4)
    found = pool_clouds(tensor, reduction)
    for number, row in enumerate(found):
        mine = tensor.rows[tensor.coordinates[:, 0] == number]
        torch.testing.assert_close(row, REDUCE[reduction](mine) if len(mine) else torch.zeros(3).double())
    assert torch.autograd.gradcheck(lambda rows: pool_clouds(tensor.with_rows(rows), reduction), tensor.rows)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_children_are_pooled_into_the_voxel_that_holds_them(reduction, stride):
    tensor = random_tensor(7, share=0.3)
    tensor = sparse_tensor(tensor.coordinates - torch.tensor([0, 3, 3, 3]), tensor.rows.requires_grad_(), 2)
    found = pool_children(tensor, stride, reduction)
    parents = torch.cat([tensor.coordinates[:, :1], tensor.coordinates[:, 1:] // stride * stride], dim=1)
    assert found.stride == stride and torch.equal(found.coordinates, parents.unique(dim=0))
    for place, row in zip(found.coordinates, found.rows, strict=True):
        torch.testing.assert_close(row, REDUCE[reduction](tensor.rows[(parents == place).all(dim=1)]))
    assert torch.autograd.gradcheck(
        lambda rows: pool_children(tensor.with_rows(rows), stride, reduction).rows, tensor.rows
    )


def test_the_mean_of_a_full_sheet_is_the_average_pooling_of_its_image():
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    places = torch.ones(1, 8, 8, 1).nonzero()
    sheet = sparse_tensor(places, image.movedim(1, 3).reshape(64, 3), 1)
    wanted = torch.nn.functional.avg_pool2d(image, 2)
    torch.testing.assert_close(pool_children(sheet, 2, "mean").rows, wanted.movedim(1, 3).reshape(16, 3))


def test_nothing_is_pooled_to_nothing():
    empty = sparse_tensor(torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0, 3), 2)
    for reduction in ("sum", "mean", "max"):
        assert torch.equal(pool_clouds(empty, reduction), torch.zeros(2, 3))
        assert pool_children(empty, 2, reduction).rows.shape == (0, 3)


def test_another_reduction_is_refused():
    with pytest.raises(ValueError, match="sum, mean, max"):
        pool_clouds(random_tensor(), "median")
