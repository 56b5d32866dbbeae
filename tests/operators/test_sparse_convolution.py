"""Sparse convolutions against torch's dense ones on the filled-up grid, and against what must not change them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from voxel_clouds import dense_at, dense_convolution, random_tensor

from pointlift.operators.sparse_convolution import SparseConvolution3d, sparse_convolution
from pointlift.operators.sparse_tensor import sparse_tensor

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
KERNELS = [(3, 1), (3, 2), (2, 2), (1, 1), (1, 2), (2, 1), (5, 1), (5, 2), (4, 2), (3, 3), (7, 4)]


def layer(channels=3, out=4, kernel_size=3, stride=1, seed=0, **words):
    torch.manual_seed(seed)
    return SparseConvolution3d(channels, out, kernel_size, stride, **words).double()


def gradients(loss, *leaves):
    return torch.autograd.grad(loss.square().sum(), leaves)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from(KERNELS),
    size=st.integers(1, 9),
    batch=st.integers(1, 3),
    share=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    channels=st.integers(1, 5),
    out=st.integers(1, 5),
    seed=st.integers(0, 10**6),
)
def test_it_is_the_dense_convolution_at_the_active_voxels(kernel, size, batch, share, channels, out, seed):
    kernel_size, stride = kernel
    tensor, convolution = random_tensor(size, batch, channels, share, seed), layer(channels, out, *kernel, bias=True)
    rows = tensor.rows.requires_grad_()
    found = convolution(tensor)
    wanted = dense_at(dense_convolution(tensor, convolution.weight, kernel_size, stride, size), found)
    wanted = wanted + convolution.bias
    assert found.stride == stride
    torch.testing.assert_close(found.rows, wanted, rtol=0, atol=1e-10)
    leaves = rows, convolution.weight, convolution.bias
    for mine, theirs in zip(gradients(found.rows, *leaves), gradients(wanted, *leaves), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-10)


def test_on_a_sheet_it_is_the_2d_convolution_of_an_image():
    """A kernel that repeats a 2D one along z, on voxels one thick: x are the image's rows, y its columns."""
    flat, image = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False).double(), torch.randn(1, 3, 6, 7).double()
    convolution = layer()
    convolution.weight.data = flat.weight.data[..., None].expand(-1, -1, -1, -1, 3)
    sheet = sparse_tensor(torch.ones(1, 6, 7, 1).nonzero(), image.movedim(1, 3).reshape(42, 3), 1)
    torch.testing.assert_close(convolution(sheet).rows, flat(image).movedim(1, 3).reshape(42, 4), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (2, 2)])
@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 2, 1), (2, 1, 0)])
def test_turning_grid_and_kernel_alike_turns_the_result(kernel_size, stride, axes):
    tensor, plain, turned = random_tensor(), layer(3, 4, kernel_size, stride), layer(3, 4, kernel_size, stride)
    turned.weight.data = plain.weight.data.permute(0, 1, *(2 + axis for axis in axes))
    columns = [0, *(1 + axis for axis in axes)]
    wanted, found = plain(tensor), turned(sparse_tensor(tensor.coordinates[:, columns], tensor.rows, 2))
    back = sparse_tensor(wanted.coordinates[:, columns], wanted.rows, 2, stride)
    assert torch.equal(found.coordinates, back.coordinates)
    torch.testing.assert_close(found.rows, back.rows, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (2, 2), (2, 1), (5, 3)])
def test_transposed_it_is_the_dense_transposed_convolution(kernel_size, stride):
    tensor = random_tensor(8)
    down, up = layer(3, 4, kernel_size, stride), layer(4, 5, kernel_size, stride, seed=1, transposed=True)
    coarse = down(tensor)
    found = up(coarse)
    assert found.stride == 1 and found.coordinates is tensor.coordinates, "the encoder's voxels"
    size = -(-8 // stride)
    dense = functional.conv_transpose3d(coarse.dense(size), up.weight.transpose(0, 1), stride=stride)
    first = kernel_size // 2 if kernel_size % 2 else 0
    dense = functional.pad(dense, (0, 8) * 3)[:, :, first:, first:, first:]
    torch.testing.assert_close(found.rows, dense_at(dense, found), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "stride"), KERNELS)
def test_transposed_with_the_same_weight_it_is_the_adjoint(kernel_size, stride):
    tensor, down = random_tensor(9), layer(3, 4, kernel_size, stride)
    up = layer(4, 3, kernel_size, stride, transposed=True)
    up.weight.data = down.weight.data.transpose(0, 1)
    coarse = down(tensor)
    other = coarse.with_rows(torch.randn_like(coarse.rows))
    ahead, back = (coarse.rows * other.rows).sum(), (tensor.rows * up(other).rows).sum()
    torch.testing.assert_close(ahead, back, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "stride", "transposed"), [(3, 1, False), (3, 2, False), (2, 2, True)])
def test_gradients_are_those_of_finite_differences(kernel_size, stride, transposed):
    tensor = random_tensor(4, channels=2, share=0.3)
    kernel_map = tensor.levels.kernel_map(1, kernel_size, stride)
    kernel_map = kernel_map.reverse() if transposed else kernel_map
    rows = torch.randn(kernel_map.num_inputs, 2, dtype=torch.float64, requires_grad=True)
    weight = layer(2, 3, kernel_size, stride).weight
    assert torch.autograd.gradcheck(lambda rows, weight: sparse_convolution(rows, weight, kernel_map), (rows, weight))


def test_a_frozen_weight_and_a_frozen_input_get_no_gradient():
    tensor, convolution = random_tensor(), layer()
    wanted = gradients(convolution(random_tensor_with_gradient(tensor)).rows, convolution.weight)
    convolution(tensor).rows.square().sum().backward()
    torch.testing.assert_close(convolution.weight.grad, wanted[0])
    assert tensor.rows.grad is None
    convolution.weight.requires_grad_(False)
    again = random_tensor_with_gradient(tensor)
    convolution(again).rows.square().sum().backward()
    assert again.rows.grad.abs().sum() > 0


def test_what_is_kept_for_the_gradient_is_rows_and_weight_alone():
    tensor, convolution, kept = random_tensor_with_gradient(random_tensor(12, share=0.5)), layer(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        convolution(tensor)
    assert sum(value.numel() for value in kept) == tensor.rows.numel() + convolution.weight.numel()


def random_tensor_with_gradient(tensor):
    return tensor.with_rows(tensor.rows.clone().requires_grad_())


@pytest.mark.parametrize("shift", [(8, 0, 0), (-8, 16, -24), (60000, -60000, 64)])
def test_a_shift_by_whole_strides_moves_the_voxels_alone(shift):
    tensor, shift = random_tensor(9), torch.tensor([0, *shift])
    moved = sparse_tensor(tensor.coordinates + shift, tensor.rows, 2)
    layers = torch.nn.Sequential(layer(3, 4), layer(4, 4, 3, 2), layer(4, 5, 2, 2), layer(5, 6, 3, 2))
    found, wanted = layers(moved), layers(tensor)
    assert torch.equal(found.rows, wanted.rows)
    assert torch.equal(found.coordinates, (wanted.coordinates + shift).int())
    assert found.stride == 8


def test_clouds_of_a_batch_do_not_meet():
    tensor, layers = random_tensor(8, batch=3), torch.nn.Sequential(layer(3, 4, 5), layer(4, 4, 3, 2), layer(4, 5))
    together = layers(tensor)
    for number in range(3):
        mine = tensor.coordinates[:, 0] == number
        alone = tensor.coordinates[mine] * torch.tensor([0, 1, 1, 1])
        found = layers(sparse_tensor(alone, tensor.rows[mine], 1)).rows
        torch.testing.assert_close(found, together.rows[together.coordinates[:, 0] == number], rtol=0, atol=1e-14)


def test_the_order_of_the_rows_makes_no_difference():
    tensor, convolution = random_tensor(), layer()
    order = torch.randperm(len(tensor.rows), generator=torch.Generator().manual_seed(1))
    mixed = sparse_tensor(tensor.coordinates[order], tensor.rows[order], 2)
    assert torch.equal(mixed.coordinates, tensor.coordinates) and torch.equal(mixed.rows, tensor.rows)
    assert torch.equal(convolution(mixed).rows, convolution(tensor).rows)


def test_one_voxel_meets_the_middle_of_the_kernel():
    alone = sparse_tensor(torch.tensor([[0, -7, 5, 3]]), torch.ones(1, 3).double(), 1)
    convolution = layer()
    assert torch.equal(convolution(alone).rows, convolution.weight[:, :, 1, 1, 1].sum(dim=1)[None])
    strided = layer(3, 4, 2, 2)
    found = strided(alone)
    assert found.coordinates.tolist() == [[0, -8, 4, 2]], "floor, below 0 too"
    assert torch.equal(found.rows, strided.weight[:, :, 1, 1, 1].sum(dim=1)[None])


def test_no_voxels_give_no_rows_and_gradients_of_zero():
    empty = sparse_tensor(torch.zeros(0, 4, dtype=torch.int32), torch.zeros(0, 3).double().requires_grad_(), 2)
    layers = torch.nn.Sequential(layer(3, 4), layer(4, 5, 3, 2), layer(5, 6, 3, 2, transposed=True))
    found = layers(empty)
    assert found.rows.shape == (0, 6)
    found.rows.sum().backward()
    assert all((parameter.grad == 0).all() for parameter in layers.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2)])
def test_the_same_input_gives_the_same_bits(device, kernel_size, stride):
    tensor = random_tensor(24, share=0.9, channels=16, dtype=torch.float32)
    assert len(tensor.rows) > 2 * 8192, "more than one block"
    convolution = layer(16, 16, kernel_size, stride).float().to(device)
    coordinates, rows = tensor.coordinates.to(device), tensor.rows.to(device).requires_grad_()
    runs = []
    for _ in range(2):
        found = convolution(sparse_tensor(coordinates, rows, 2)).rows
        runs.append((found, *gradients(found, rows, convolution.weight)))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@pytest.mark.parametrize("device", DEVICES)
def test_on_every_device_it_is_the_dense_convolution(device):
    tensor, convolution = random_tensor(), layer()
    there = sparse_tensor(tensor.coordinates.to(device), tensor.rows.to(device), 2)
    found = convolution.to(device)(there).rows.cpu()
    wanted = dense_at(dense_convolution(tensor, convolution.weight.cpu(), 3, 1, 7), tensor)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_half_precision_is_added_up_in_full():
    tensor, convolution = random_tensor(16, channels=32, share=0.5, dtype=torch.float32), layer(32, 32).float()
    rows = tensor.rows.requires_grad_()
    exact = convolution(tensor).rows
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = convolution(tensor).rows
    assert half.dtype == torch.bfloat16
    error = (half.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error < 6e-3, "about one rounding of bfloat16 in, one out"
    (gradient,) = torch.autograd.grad(half.float().sum(), rows)
    (wanted,) = torch.autograd.grad(exact.sum(), rows)
    assert gradient.dtype == torch.float32
    assert (gradient - wanted).norm() < 0.02 * wanted.norm()


def test_weights_start_and_are_stored_as_those_of_conv3d():
    convolution, dense = SparseConvolution3d(8, 16, 3, bias=True), torch.nn.Conv3d(8, 16, 3)
    assert convolution.weight.shape == dense.weight.shape and convolution.bias.shape == dense.bias.shape
    bound = (8 * 27) ** -0.5
    assert 0.95 * bound < convolution.weight.abs().max() <= bound
    convolution.load_state_dict(dense.state_dict())
    assert torch.equal(convolution.weight, dense.weight)
    kernel_first = convolution.weight.permute(2, 3, 4, 1, 0)
    assert kernel_first.is_contiguous(), "loading leaves one matrix per offset in one piece"


def test_a_transposed_layer_without_its_level_is_an_error():
    tensor = random_tensor()
    with pytest.raises(ValueError, match="at the level of stride 1"):
        layer(3, 4, 2, 2, transposed=True)(tensor)
    coarse = sparse_tensor(tensor.coordinates * torch.tensor([1, 4, 4, 4]), tensor.rows, 2, stride=4)
    with pytest.raises(ValueError, match=r"no layer has reached stride 2; reached are \[4\]"):
        layer(3, 4, 2, 2, transposed=True)(coarse)


def test_rows_that_do_not_fit_and_kernels_without_a_size_are_errors():
    with pytest.raises(ValueError, match="the convolution takes"):
        layer(5)(random_tensor())
    with pytest.raises(ValueError, match="at least 1"):
        SparseConvolution3d(3, 4, 0)
