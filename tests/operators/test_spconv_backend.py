"""spconv behind our interface: refused where it cannot work, equal to our own convolution where it is installed."""

import importlib.util
import sys

import pytest
import torch
from voxel_clouds import random_tensor

from pointlift.contracts.errors import MachineError
from pointlift.operators import spconv_backend
from pointlift.operators.sparse_convolution import SparseConvolution3d, sparse_convolution
from pointlift.operators.sparse_tensor import sparse_tensor

INSTALLED = importlib.util.find_spec("spconv") is not None
with_spconv = pytest.mark.skipif(not INSTALLED, reason="spconv, an optional package, is not installed")
on_cuda = pytest.mark.skipif(not (INSTALLED and torch.cuda.is_available()), reason="no spconv, or no CUDA device")


def compare(convolve, tensor, kernel_size):
    weight = torch.randn(5, 4, *[kernel_size] * 3, device=tensor.rows.device, requires_grad=True)
    rows = tensor.rows.requires_grad_()
    wanted = sparse_convolution(rows, weight, tensor.levels.kernel_map(tensor.stride, kernel_size))
    found = convolve(tensor, weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), (rows, weight)),
        torch.autograd.grad(wanted.square().sum(), (rows, weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-2)


def test_without_the_package_the_backend_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "spconv", None)
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)
    with pytest.raises(MachineError, match="take the backend torch"):
        SparseConvolution3d(3, 4, 3, backend="spconv")
    with pytest.raises(ValueError, match="allowed are torch, spconv"):
        SparseConvolution3d(3, 4, 3, backend="cudnn")


def test_rows_on_a_cpu_are_refused():
    with pytest.raises(MachineError, match="CUDA alone"):
        spconv_backend.submanifold_convolution(random_tensor(), torch.zeros(4, 3, 3, 3, 3))


@with_spconv
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stride", [1, 2])
def test_on_a_cpu_its_numbers_are_ours(monkeypatch, stride):
    """Its backward pass asks for a CUDA stream, whatever the device; here it is told 0."""
    from spconv.pytorch import ops

    monkeypatch.setattr(ops, "get_current_stream", lambda: 0)
    tensor = random_tensor(channels=4, dtype=torch.float32)
    places = (tensor.coordinates - torch.tensor([0, 3, 4, 5])) * torch.tensor([1, stride, stride, stride])
    moved = sparse_tensor(places, tensor.rows, 2, stride)
    for kernel_size in (3, 5, 3):
        compare(spconv_backend.convolve, moved, kernel_size)
    spconv_backend._require_equal.__wrapped__(torch.device("cpu"))


@on_cuda
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_on_cuda_its_numbers_are_ours(kernel_size):
    tensor = random_tensor(channels=4, dtype=torch.float32)
    there = sparse_tensor(tensor.coordinates.cuda(), tensor.rows.cuda(), 2)
    compare(spconv_backend.submanifold_convolution, there, kernel_size)


@with_spconv
@pytest.mark.filterwarnings("ignore")
def test_it_takes_only_what_it_computes_as_we_do():
    for words, taken in (((3, 1), True), ((1, 1), False), ((5, 1), True), ((2, 1), False), ((3, 2), False)):
        layer = SparseConvolution3d(3, 4, *words, backend="spconv")
        assert layer.uses_spconv == taken
        assert layer.state_dict().keys() == {"weight"}
    assert not SparseConvolution3d(3, 4, 3, transposed=True, backend="spconv").uses_spconv
