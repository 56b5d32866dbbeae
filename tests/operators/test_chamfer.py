"""Chamfer distances against scipy's trees, closed forms, and derivatives by hand."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from pointlift.operators.chamfer import chamfer_distance

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def sets(batch=4, count=50, seed=0):
    return torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("device", DEVICES)
def test_distances_are_those_of_trees(device):
    one, other = sets(count=50), sets(count=31, seed=1)
    found = chamfer_distance(one.to(device), other.to(device)).cpu().numpy()
    wanted = [
        (cKDTree(b).query(a)[0] ** 2).mean() + (cKDTree(a).query(b)[0] ** 2).mean()
        for a, b in zip(one.numpy(), other.numpy(), strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_each_side_has_its_own_mean():
    """Of a point at 0 and points at 1 and 3: (1) + (1 + 9) / 2."""
    one, other = torch.zeros(1, 1, 3), torch.tensor([[[1.0, 0, 0], [3.0, 0, 0]]])
    assert chamfer_distance(one, other).tolist() == [6.0]
    assert chamfer_distance(other, one).tolist() == [6.0]


def test_equal_sets_in_any_order_have_no_distance():
    one = sets().float()
    assert not chamfer_distance(one, one[:, torch.randperm(50)]).any()
    assert (chamfer_distance(one, one + 0.01) > 0).all()


def test_a_shift_of_both_and_a_scale():
    one, other = sets(), sets(seed=1)
    distance = chamfer_distance(one, other)
    torch.testing.assert_close(chamfer_distance(one + 5.0, other + 5.0), distance)
    torch.testing.assert_close(chamfer_distance(3.0 * one, 3.0 * other), 9.0 * distance)


def test_derivatives_are_those_of_differences():
    one, other = sets(2, 6).requires_grad_(), sets(2, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(chamfer_distance, (one, other))


def test_equal_points_have_a_finite_gradient():
    """A root of the distance would have none at 0."""
    one = sets().float().requires_grad_()
    chamfer_distance(one, one.detach().clone()).sum().backward()
    assert not one.grad.any()


def test_half_precision_keeps_the_distance():
    one, other = sets().float() + 1.0, sets(seed=1).float() + 1.0
    wanted = chamfer_distance(one.bfloat16().double(), other.bfloat16().double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = chamfer_distance(one.bfloat16(), other.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=0.0)
