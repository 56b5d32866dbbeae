"""DGCNN against the published parameter counts and a slow float64 copy of its formula."""

import pytest
import torch
from torch import nn

from pointlift.contracts.settings import parse
from pointlift.students.dgcnn import Settings, build


def student(**values):
    return build(parse(Settings, {"kind": "dgcnn", **values}, "student"))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_those_of_pointmcd():
    encoder = student()
    head = nn.Sequential(nn.Linear(1024, 512, bias=False), nn.BatchNorm1d(512))
    classifier = nn.Linear(512, 40, bias=False)
    assert count(encoder) == 617_856
    assert count(encoder) + count(head) + count(classifier) == 1_163_648
    assert count(encoder) + 2 * count(head) + count(classifier) == 1_688_960


def slow(net, points_N3):
    """One cloud in eval mode, edge by edge, from the weights alone."""

    def normed(norm, x):
        return (x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias

    hidden, found = points_N3, []
    for layer in net.edges:
        rows = []
        for centre in hidden:
            order = (hidden - centre).square().sum(dim=1).argsort(stable=True)[: net.num_neighbours]
            edges = torch.stack([torch.cat([centre, hidden[j] - centre]) for j in order])
            rows.append(nn.functional.leaky_relu(normed(layer.norm, edges @ layer.linear.weight.T), 0.2).amax(dim=0))
        hidden = torch.stack(rows)
        found.append(hidden)
    return normed(net.last[1], torch.cat(found, dim=1) @ net.last[0].weight.T).relu()


def test_equals_its_formula_in_float64():
    net = student(widths=[5, 6, 7], token_width=9, num_neighbours=4).double()
    for _ in range(3):  # running statistics away from 0 and 1
        net(torch.randn(4, 20, 3, dtype=torch.float64))
    points = torch.randn(2, 14, 3, dtype=torch.float64)
    with torch.no_grad():
        output = net.eval()(points)
        wanted = torch.stack([slow(net, cloud) for cloud in points])
    torch.testing.assert_close(output.tokens, wanted, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(output.embedding, wanted.amax(dim=1), rtol=1e-9, atol=1e-11)


def test_equal_points_give_finite_values_and_gradients():
    net = student(widths=[5, 6], token_width=9, num_neighbours=4)
    points = torch.zeros(2, 12, 3).requires_grad_()
    output = net(points)
    output.embedding.sum().backward()
    assert torch.isfinite(output.tokens).all() and torch.isfinite(points.grad).all()


def test_a_cloud_with_fewer_points_than_neighbours_is_refused():
    with pytest.raises(ValueError, match="20 neighbours of 19 points"):
        student()(torch.randn(2, 19, 3))
