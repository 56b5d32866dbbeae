"""Bags and EdgeConv against the plain formulas that make every edge."""

import pytest
import torch
from torch import nn

from pointlift.operators.bags import bag_maximum, bag_sum
from pointlift.operators.edge_convolution import DeepEdgeConvolution, EdgeConvolution, edge_statistics
from pointlift.operators.neighbours import nearest_neighbours

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
BATCH, POINTS, WIDTH, NEAREST = 3, 40, 6, 7


def rows(width=WIDTH, seed=0, offset=0.0):
    made = torch.randn(BATCH, POINTS, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made + offset


def graph():
    places = rows(3, seed=1)
    return nearest_neighbours(places, places, NEAREST)


def edges_of(values, index):
    return torch.stack([cloud[near] for cloud, near in zip(values, index, strict=True)])  # (B, N, k, C)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("bag", "reduce"), [(bag_sum, torch.sum), (bag_maximum, torch.amax)])
def test_bags_and_their_gradients_equal_the_gathered_rows(device, bag, reduce):
    values, weights = rows().to(device).requires_grad_(), rows(seed=2).to(device)
    other = values.detach().clone().requires_grad_()
    index = graph().to(device)
    found, wanted = bag(values, index), reduce(edges_of(other, index), dim=2)
    torch.testing.assert_close(found, wanted)
    (found * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(values.grad, other.grad)


@pytest.mark.parametrize("device", DEVICES)
def test_weighted_sums_and_their_gradients_equal_the_gathered_rows(device):
    values, share = rows().to(device).requires_grad_(), torch.rand(BATCH, 9, 4, dtype=torch.float64, device=device)
    other = values.detach().clone().requires_grad_()
    index = torch.randint(POINTS, (BATCH, 9, 4), generator=torch.Generator().manual_seed(6)).to(device)
    found, wanted = bag_sum(values, index, share), (edges_of(other, index) * share[..., None]).sum(dim=2)
    torch.testing.assert_close(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(values.grad, other.grad)


def test_a_bag_may_hold_a_row_twice_and_clouds_do_not_mix():
    values = rows().requires_grad_()
    index = torch.zeros(BATCH, 2, 3, dtype=torch.int64)
    index[:, 1] = torch.tensor([4, 4, 5])
    torch.testing.assert_close(bag_sum(values, index)[:, 1], 2 * values[:, 4] + values[:, 5])
    bag_sum(values[:1], index[:1]).sum().backward()
    assert values.grad[0, 0, 0] == 3 and values.grad[0, 4, 0] == 2 and not values.grad[1:].any()


def slow(layer, values, index):
    """Every edge, as the paper writes it: a convolution on [x_i, x_j - x_i], its norm, LeakyReLU, maximum."""
    centre = values[:, :, None].expand(-1, -1, NEAREST, -1)
    edge = torch.cat([centre, edges_of(values, index) - centre], dim=-1)
    hidden = layer.linear(edge).flatten(0, 2)
    return nn.functional.leaky_relu(layer.norm(hidden), layer.negative_slope).unflatten(0, edge.shape[:3]).amax(dim=2)


def two_equal_layers():
    layers = [EdgeConvolution(WIDTH, 9).double() for _ in range(2)]
    with torch.no_grad():
        layers[0].norm.weight.copy_(torch.linspace(-1.5, 1.4, 9))  # norms may turn a channel over
        layers[0].norm.bias.uniform_(-1, 1)
    layers[1].load_state_dict(layers[0].state_dict())
    return layers


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_equals_the_convolution_over_all_edges(device, offset):
    layer, plain = (each.to(device) for each in two_equal_layers())
    values, other = (rows(offset=offset).to(device).requires_grad_() for _ in range(2))
    index, weights = graph().to(device), rows(9, seed=3).to(device)
    for mode in (True, True, False):
        layer.train(mode), plain.train(mode)
        found, wanted = layer(values, index), slow(plain, other, index)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        (found * weights).sum().backward()
        (wanted * weights).sum().backward()
    torch.testing.assert_close(values.grad, other.grad, rtol=1e-7, atol=1e-9)
    for (name, one), two in zip(layer.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-7, atol=1e-7, msg=name)
    for (name, one), two in zip(layer.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12, msg=name)


def test_rows_move_with_their_points():
    layer, _ = two_equal_layers()
    values, order = rows(), torch.randperm(POINTS, generator=torch.Generator().manual_seed(7))
    plain = layer(values, nearest_neighbours(values, values, NEAREST))
    moved = values[:, order]
    torch.testing.assert_close(layer(moved, nearest_neighbours(moved, moved, NEAREST)), plain[:, order])


def test_a_points_edge_to_itself_has_no_difference():
    """With one neighbour, itself, only the half of the weights that meets x_i is left."""
    layer, _ = two_equal_layers()
    values = rows()
    alone = layer.eval()(values, nearest_neighbours(values, values, 1))
    own = layer.norm(values.flatten(0, 1) @ layer.linear.weight[:, :WIDTH].T).unflatten(0, (BATCH, POINTS))
    torch.testing.assert_close(alone, nn.functional.leaky_relu(own, layer.negative_slope))


def test_statistics_keep_their_digits_far_from_the_origin():
    centre, ahead = rows(seed=4, offset=3e3).float(), rows(seed=5, offset=-1e3).float()
    index = graph()
    mean, variance, count = edge_statistics(centre, ahead, index)
    every = (centre.double()[:, :, None] + edges_of(ahead.double(), index)).flatten(0, 2)
    assert count == len(every)
    torch.testing.assert_close(mean.double(), every.mean(dim=0), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), every.var(dim=0, unbiased=False), rtol=1e-4, atol=0)


def test_parameters_are_those_of_the_convolution():
    layer = EdgeConvolution(64, 128)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * 64 * 128 + 2 * 128


def test_several_layers_equal_the_plain_formula():
    layer = DeepEdgeConvolution(WIDTH, [9, 5]).double()
    values, index = rows(), graph()
    centre = values[:, :, None].expand(-1, -1, NEAREST, -1)
    edge = torch.cat([centre, edges_of(values, index) - centre], dim=-1).flatten(0, 2)
    weight = torch.cat([layer.own.weight, layer.other.weight], dim=1)
    first = nn.functional.leaky_relu(nn.functional.batch_norm(edge @ weight.T, None, None, training=True), 0.2)
    second = nn.functional.batch_norm(first @ layer.layers[2].weight.T, None, None, training=True)
    wanted = nn.functional.leaky_relu(second, 0.2).unflatten(0, (BATCH, POINTS, NEAREST)).amax(dim=2)
    torch.testing.assert_close(layer(values, index), wanted, rtol=1e-9, atol=1e-11)
