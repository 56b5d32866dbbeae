"""PointNet against the published parameter counts and a slow float64 copy of its formula."""

import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.students.pointnet import Settings, TransformNet, build, orthogonality


def settings(**values):
    return parse(Settings, {"kind": "pointnet", **values}, "student")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_those_of_the_paper():
    encoder = build(settings())
    head = nn.Sequential(nn.Linear(1024, 512, bias=False), nn.BatchNorm1d(512))
    classifier = nn.Linear(512, 40, bias=False)
    assert count(TransformNet(3)) == 43_273
    assert count(TransformNet(64)) == 312_832
    assert count(encoder) == 499_209
    assert count(encoder) + count(head) + count(classifier) == 1_045_001
    assert count(encoder) + 2 * count(head) + count(classifier) == 1_570_313


def test_widths_and_transforms_are_settings():
    tiny = build(settings(widths=[8, 16, 32], input_transform=False, feature_transform=False))
    assert tiny.width == 32
    assert count(tiny) == sum(i * o + o + 2 * o for i, o in [(3, 8), (8, 16), (16, 32)])
    output = tiny(torch.randn(2, 10, 3))
    assert output.losses == {}
    assert output.tokens.shape == (2, 10, 32)


def test_a_single_layer_is_no_encoder():
    with pytest.raises(ConfigError, match="widths"):
        settings(widths=[64])


def slow(student, points_N3):
    """One cloud in eval mode, point by point, from the weights alone."""

    def layers(sequence, x):
        for linear, norm in zip(sequence[0::3], sequence[1::3], strict=True):
            x = linear.weight @ x + linear.bias
            x = (x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
            x = torch.maximum(x, torch.zeros_like(x))
        return x

    def transform(net, rows):
        top = torch.stack([layers(net.per_point, row) for row in rows]).max(dim=0).values
        return (net.last.weight @ layers(net.per_shape, top) + net.last.bias).reshape(net.size, net.size)

    first = transform(student.input_transform, points_N3) + torch.eye(3, dtype=torch.float64)
    hidden = [layers(student.first, row @ first) for row in points_N3]
    second = transform(student.feature_transform, hidden) + torch.eye(len(hidden[0]), dtype=torch.float64)
    return torch.stack([layers(student.rest, row @ second) for row in hidden])


def test_equals_its_formula_in_float64():
    student = build(settings(widths=[6, 7, 9])).double()
    for _ in range(3):  # running statistics away from 0 and 1
        student(torch.randn(4, 20, 3, dtype=torch.float64))
    points = torch.randn(2, 11, 3, dtype=torch.float64)
    with torch.no_grad():
        output = student.eval()(points)
        wanted = torch.stack([slow(student, cloud) for cloud in points])
    torch.testing.assert_close(output.tokens, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(output.embedding, wanted.amax(dim=1), rtol=1e-10, atol=1e-12)


def test_points_may_be_permuted_but_not_moved():
    student, points = build(settings(widths=[6, 7, 9])).double().eval(), torch.randn(2, 11, 3, dtype=torch.float64)
    with torch.no_grad():
        output, permuted, moved = (student(given) for given in (points, points.flip(1), points + 0.3))
    torch.testing.assert_close(permuted.embedding, output.embedding, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(permuted.tokens, output.tokens.flip(1), rtol=1e-12, atol=1e-14)
    assert not torch.allclose(moved.embedding, output.embedding, rtol=1e-3)


def test_batch_norm_runs_over_batch_and_points_together():
    """As a 1x1 convolution with BatchNorm1d over (B, width, N) would."""
    student = build(settings(widths=[5, 4], input_transform=False, feature_transform=False)).double()
    points = torch.randn(3, 8, 3, dtype=torch.float64)
    hidden = points.transpose(1, 2)
    for stage in (student.first, student.rest):
        linear = stage[0]
        convolution = nn.Conv1d(linear.in_features, linear.out_features, 1).double()
        convolution.weight.data, convolution.bias.data = linear.weight.data[..., None], linear.bias.data
        hidden = nn.BatchNorm1d(linear.out_features).double()(convolution(hidden)).relu()
    torch.testing.assert_close(student(points).tokens, hidden.transpose(1, 2))


def test_orthogonality_is_a_norm_not_squared():
    identity = torch.eye(64)[None]
    rotation = torch.linalg.qr(torch.randn(1, 64, 64, dtype=torch.float64)).Q
    assert orthogonality(identity) == 0.0
    assert orthogonality(2 * identity) == pytest.approx(24.0)
    assert orthogonality(rotation) == pytest.approx(0.0, abs=1e-12)
    assert orthogonality(torch.cat([identity, 2 * identity])) == pytest.approx(12.0)


def test_orthogonality_has_a_finite_gradient_at_its_minimum():
    matrix = torch.eye(3)[None].requires_grad_()
    orthogonality(matrix).backward()
    assert torch.isfinite(matrix.grad).all()


def test_orthogonality_stays_exact_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = orthogonality((1 + 2**-7) * torch.eye(4)[None].bfloat16())
    assert value.dtype == torch.float32
    assert value == pytest.approx(((1 + 2**-7) ** 2 - 1) * 2, rel=1e-5)


def test_a_batch_of_one_passes_in_eval_mode():
    output = build(settings()).eval()(torch.randn(1, 16, 3))
    assert torch.isfinite(output.embedding).all()
    assert torch.isfinite(output.losses["orthogonality"])
