"""PointNet++ against a slow float64 copy of its formula, and its parameter count by hand."""

import pytest
import torch

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.geometry.sampling import farthest_point_order
from pointlift.students.pointnet2 import Settings, build

LEVELS = [
    {"num_centres": 10, "radius": 0.9, "num_neighbours": 4, "widths": [5, 6]},
    {"num_centres": 4, "radius": 1.2, "num_neighbours": 3, "widths": [7, 8]},
]


def student(**values):
    return build(parse(Settings, {"kind": "pointnet2", **values}, "student"))


def test_parameter_count_is_that_of_its_layers():
    """Widths of the paper's classification network; convolutions without bias, two numbers a norm."""
    layers = [(3, 64), (64, 64), (64, 128), (131, 128), (128, 128), (128, 256), (259, 256), (256, 512), (512, 1024)]
    assert sum(p.numel() for p in student().parameters()) == sum(i * o + 2 * o for i, o in layers)


def slow(net, points_N3):
    """One cloud in eval mode, ball by ball, from the weights alone: the first layer sees [x_j - c_i, f_j]."""

    def layer(weight, norm, x):
        x = weight @ x
        return ((x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias).relu()

    def layers(sequence, x):
        for linear, norm in zip(sequence[0::3], sequence[1::3], strict=True):
            x = layer(linear.weight, norm, x)
        return x

    places, rows, index = points_N3, torch.zeros(len(points_N3), 0, dtype=torch.float64), torch.arange(len(points_N3))
    for level in net.levels:
        chosen = torch.from_numpy(farthest_point_order(places.numpy(), level.settings.num_centres))
        weight = torch.cat([level.place.weight] + ([level.row.weight] if level.row is not None else []), dim=1)
        found = []
        for centre in places[chosen]:
            distance = (places - centre).norm(dim=1)
            near = [j for j in distance.argsort(stable=True).tolist() if distance[j] <= level.settings.radius]
            ball = near[: level.settings.num_neighbours]
            ball += [ball[0]] * (level.settings.num_neighbours - len(ball))
            edges = [layer(weight, level.norm[0], torch.cat([places[j] - centre, rows[j]])) for j in ball]
            found.append(torch.stack([layers(level.rest, edge) for edge in edges]).amax(dim=0))
        places, rows, index = places[chosen], torch.stack(found), index[chosen]
    merged = torch.cat([places, rows], dim=1)
    return torch.stack([layers(net.last, row) for row in merged]), index


def test_equals_its_formula_in_float64():
    net = student(levels=LEVELS, widths=[9, 11]).double()
    for _ in range(3):  # running statistics away from 0 and 1
        net(torch.randn(4, 20, 3, dtype=torch.float64))
    points = torch.randn(2, 16, 3, dtype=torch.float64)
    with torch.no_grad():
        output = net.eval()(points)
        wanted = [slow(net, cloud) for cloud in points]
    torch.testing.assert_close(output.tokens, torch.stack([tokens for tokens, _ in wanted]), rtol=1e-9, atol=1e-11)
    assert torch.equal(output.token_index, torch.stack([index for _, index in wanted]))
    assert torch.equal(output.token_xyz, torch.stack([c[i] for c, (_, i) in zip(points, wanted, strict=True)]))
    torch.testing.assert_close(output.embedding, output.tokens.amax(dim=1))


def test_small_balls_keep_their_digits_in_half_precision():
    """Their points and centre are near each other: products of both in bfloat16 would cancel."""
    net = student(levels=[{"num_centres": 60, "radius": 0.1, "num_neighbours": 8, "widths": [16]}], widths=[16])
    level, points = net.levels[0], torch.nn.functional.normalize(torch.randn(2, 600, 3), dim=2)
    with torch.no_grad():
        wanted = level(points[:, :60], points, points)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = level(points[:, :60], points, points)
    assert (found - wanted).abs().mean() < 0.01 * wanted.std()


def test_moving_a_cloud_changes_only_the_places_of_the_last_layer():
    """Balls see differences alone: with the last layer's place columns at 0, a shift is not seen at all."""
    net, points = student(levels=LEVELS, widths=[9]).double().eval(), torch.randn(2, 16, 3, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(net(points + 0.5).embedding, net(points).embedding, rtol=1e-3)
        net.last[0].weight[:, :3] = 0.0
        torch.testing.assert_close(net(points + 0.5).embedding, net(points).embedding, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="must not grow"):
        student(levels=LEVELS[::-1])
    with pytest.raises(ValueError, match="512 of 100 points"):
        student()(torch.randn(2, 100, 3))
