"""CurveNet against slow float64 copies of its formulas, walks by hand, and its parameter count by hand."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.geometry.sampling import farthest_point_order
from pointlift.operators.neighbours import nearest_neighbours
from pointlift.students.curvenet import LocalAggregation, Settings, build
from pointlift.students.curves import CurveAggregation, CurveGrouping, crossover_multiplier, take_step

STAGES = [
    {"num_points": 16, "radius": 0.8, "width": 8, "num_curves": 5, "curve_length": 4},
    {"num_points": 7, "radius": 1.2, "width": 12},
]
SMALL = {"first_width": 6, "stages": STAGES, "bottleneck": 2, "token_width": 9, "num_neighbours": 4}


def student(**values):
    return build(parse(Settings, {"kind": "curvenet", **values}, "student"))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_count_is_that_of_its_layers():
    """Convolutions without bias, two numbers a norm; a block is four times narrower inside than its output."""

    def normed(width, wider):
        return width * wider + 2 * wider

    def grouping(c):
        start, neighbour, descriptor, preference, momentum = c + 1, c * c + c, c * c, c, 2 * c * 2 + 2
        return start + neighbour + descriptor + preference + momentum

    def aggregation(c):
        query, relation = c * c, c + c * c + c * c  # score, key, value
        return query + 2 * relation + normed(2 * c, c)

    def block(width, wider, curves):
        c = wider // 4
        local = 2 * 3 * c + 2 * c + normed(c, c)
        extra = grouping(c) + aggregation(c) if curves else 0
        shortcut = normed(width, wider) if width != wider else 0
        return normed(width, c) + extra + local + normed(c, wider) + shortcut

    widths = [(32, 64, True), (64, 64, False), (64, 128, True), (128, 128, False)]
    widths += [(128, 256, False), (256, 256, False), (256, 512, False), (512, 512, False)]
    assert count(student()) == normed(2 * 3, 32) + sum(block(*sizes) for sizes in widths) + normed(512, 1024)


def bend(x):
    return torch.where(x > 0, x, 0.2 * x)


def normed(norm, x):
    return (x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias


def nearest(places_N3, i, many):
    return (places_N3 - places_N3[i]).norm(dim=1).argsort(stable=True)[:many].tolist()


def slow_first(layer, places, many):
    def edge(i, j):
        return bend(normed(layer.norm, layer.linear.weight @ torch.cat([places[i], places[j] - places[i]])))

    return torch.stack(
        [torch.stack([edge(i, j) for j in nearest(places, i, many)]).amax(0) for i in range(len(places))]
    )


def slow_local(layer, rows, places, many):
    norm, _, linear, second, _ = layer.layers
    found = []
    for i in range(len(places)):
        edges = []
        for j in nearest(places, i, many):
            embedded = layer.own.weight @ places[i] + layer.other.weight @ (places[j] - places[i])
            hidden = bend(normed(norm, rows[j] - rows[i] + embedded))
            edges.append(bend(normed(second, linear.weight @ hidden)))
        found.append(sum(edges) / many)
    return torch.stack(found)


def angle(u, v):
    return math.acos(max(-1.0, min(1.0, float(u @ v / (u.norm() * v.norm())))))


def slow_walks(layer, rows, neighbours):
    """Scored rows, and the path of every curve, in eval mode."""
    score = 1 / (1 + torch.exp(-(rows @ layer.start.weight[0] + layer.start.bias)))
    rows = rows * score[:, None]
    starts = sorted(range(len(rows)), key=lambda i: (-score[i], i))[: layer.num_curves]
    first = torch.cat([layer.neighbour.weight, layer.descriptor.weight], dim=1)
    paths = []
    for start in starts:
        path, descriptor, before = [start], rows[start], None
        while len(path) < layer.length:
            here, weights = rows[path[-1]], []
            for j in neighbours[path[-1]]:
                state = torch.cat([rows[j], descriptor])
                weight = math.exp(layer.preference.weight[0] @ bend(first @ state + layer.neighbour.bias))
                if before is not None:
                    weight *= min(1.0, 1.0 + math.cos(angle(here - before, rows[j] - here)))
                weights.append(weight)
            path.append(neighbours[path[-1]][weights.index(max(weights))])
            before, here = descriptor, rows[path[-1]]
            blend = layer.momentum.weight @ torch.cat([descriptor, here]) + layer.momentum.bias
            share = blend.exp() / blend.exp().sum()
            descriptor = share[0] * descriptor + share[1] * here
        paths.append(path)
    return rows, paths


def slow_aggregation(layer, rows, curves_mlC):
    def attended(relation, groups):
        pooled = []
        for group in groups:
            weight = torch.stack([relation.score.weight[0] @ row for row in group]).exp()
            pooled.append((weight / weight.sum()) @ group)
        pooled = torch.stack(pooled)
        weight = torch.stack([(layer.query.weight @ row) @ relation.key.weight @ pooled.T for row in rows]).exp()
        return weight / weight.sum(1, keepdim=True) @ pooled @ relation.value.weight.T

    inter, intra = attended(layer.inter, curves_mlC), attended(layer.intra, curves_mlC.transpose(0, 1))
    return bend(rows + normed(layer.norm, torch.cat([inter, intra], dim=1) @ layer.merge.weight.T))


def slow(net, places):
    """One cloud in eval mode, point by point, from the weights alone: tokens, their points, rows of all levels."""
    many = net.settings.num_neighbours
    rows, index = slow_first(net.first, places, many), torch.arange(len(places))
    levels = [rows]
    for stage, blocks in zip(net.settings.stages, net.stages, strict=True):
        chosen = torch.from_numpy(farthest_point_order(places.numpy(), stage.num_points))
        pooled = []
        for centre in chosen:
            ball = [j for j in nearest(places, centre, many) if (places[j] - places[centre]).norm() <= stage.radius]
            pooled.append(rows[ball].amax(0))
        rows, places, index = torch.stack(pooled), places[chosen], index[chosen]
        for block in blocks:
            hidden = bend(normed(block.down[1], rows @ block.down[0].weight.T))
            if block.grouping is not None:
                neighbours = [nearest(places, i, many + 1)[1:] for i in range(len(places))]
                hidden, paths = slow_walks(block.grouping, hidden, neighbours)
                hidden = slow_aggregation(block.aggregation, hidden, hidden[torch.tensor(paths)])
            hidden = slow_local(block.local, hidden, places, many)
            around = rows
            if rows.shape[1] != stage.width:
                around = normed(block.shortcut[1], rows @ block.shortcut[0].weight.T)
            rows = bend(normed(block.up[1], hidden @ block.up[0].weight.T) + around)
        levels.append(rows)
    return normed(net.last[1], rows @ net.last[0].weight.T).relu(), index, levels[:-1]


def test_equals_its_formula_in_float64():
    torch.manual_seed(0)
    net = student(**SMALL).double()
    for _ in range(3):  # running statistics away from 0 and 1
        net(torch.randn(4, 24, 3, dtype=torch.float64))
    points = torch.randn(2, 20, 3, dtype=torch.float64)
    with torch.no_grad():
        output = net.eval()(points)
        wanted = [slow(net, cloud) for cloud in points]
    torch.testing.assert_close(output.tokens, torch.stack([tokens for tokens, _, _ in wanted]), rtol=1e-9, atol=1e-11)
    assert torch.equal(output.token_index, torch.stack([index for _, index, _ in wanted]))
    assert torch.equal(output.embedding, output.tokens.amax(dim=1))
    for number, (level, width) in enumerate(zip(output.levels, net.level_widths, strict=True)):
        rows = torch.stack([levels[number] for _, _, levels in wanted])
        assert rows.shape[2] == width
        torch.testing.assert_close(level.rows, rows, rtol=1e-9, atol=1e-11)
        assert torch.equal(level.xyz, points.gather(1, level.point_index[..., None].expand(-1, -1, 3)))


def test_local_aggregation_takes_the_mean_over_neighbours():
    layer, rows, places = LocalAggregation(4).double(), torch.randn(3, 12, 4).double(), torch.randn(3, 12, 3).double()
    with torch.no_grad():
        layer(rows, places, nearest_neighbours(places, places, 5))
        found = layer.eval()(rows, places, nearest_neighbours(places, places, 5))
        wanted = torch.stack([slow_local(layer, r, p, 5) for r, p in zip(rows, places, strict=True)])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_aggregation_is_softmax_attention():
    layer, rows, curves = CurveAggregation(4).double(), torch.randn(2, 9, 4).double(), torch.randn(2, 3, 5, 4).double()
    with torch.no_grad():
        found = layer.eval()(rows, curves)
        wanted = torch.stack([slow_aggregation(layer, r, c) for r, c in zip(rows, curves, strict=True)])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def guided(length, weight=1.0):
    """A grouping over rows of two columns that starts at the largest first column and prefers a large second one."""
    layer = CurveGrouping(2, num_curves=1, length=length).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.start.weight[0, 0] = 1e-3  # scores a hair around 1/2: the order of starts, and half of every row
        layer.neighbour.weight.copy_(torch.eye(2))
        layer.preference.weight[0, 1] = weight
    return layer


def test_a_walk_goes_to_the_neighbour_of_the_best_score():
    """A tree 0 - 1 - 2 and 0 - 3 - 4: the second columns call to 3 first, from there on to 4, from there back to 3."""
    rows = torch.tensor([[[5.0, 0.0], [0.0, 2.0], [0.0, 9.0], [0.0, 3.0], [0.0, 2.9]]])
    neighbours = torch.tensor([[[1, 3], [0, 2], [1, 1], [0, 4], [3, 3]]])
    walks = guided(4)(rows, neighbours)
    assert walks.path.tolist() == [[[0, 3, 4, 3]]]
    assert torch.equal(walks.curves[0, 0], walks.rows[0, [0, 3, 4, 3]])
    away = guided(4, weight=-1.0)(rows, neighbours)  # the small ones call
    assert away.path[0, 0, :2].tolist() == [0, 1]


def test_a_walk_does_not_turn_back_where_it_can_go_on():
    """Points along a line: the score alone, higher towards 0, would go 1, 0, 1; having come from 0 it goes on."""
    rows = torch.tensor([[[9.0, 1.0], [8.0, 0.4], [7.0, 0.2], [6.0, 0.1]]])
    neighbours = torch.tensor([[[1, 1], [0, 2], [1, 3], [2, 2]]])
    assert guided(4)(rows, neighbours).path.tolist() == [[[0, 1, 2, 3]]]


def test_crossover_suppression_in_closed_form():
    ahead = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0], [-1.0, math.sqrt(3.0)], [1.0, -1.0], [0.0, 0.0]])
    multiplier = crossover_multiplier(torch.tensor([[[0.5, 0.0]]]), ahead[None, None])
    torch.testing.assert_close(multiplier[0, 0], torch.tensor([1.0, 1.0, 0.0, 0.5, 1.0, 1.0]))


def test_the_step_is_hard_forward_and_soft_backward():
    score = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    ahead = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    taken, row = take_step(score, ahead, draw=False)
    one_hot = functional.one_hot(taken, 4).double()
    assert torch.equal(taken, score.argmax(dim=2))
    assert torch.equal(row, (one_hot[..., None] * ahead).sum(2))
    upward = torch.randn(row.shape, dtype=torch.float64)
    row.backward(upward)
    torch.testing.assert_close(ahead.grad, one_hot[..., None] * upward[:, :, None])
    soft = score.detach().requires_grad_()
    ((soft.softmax(2)[..., None] * ahead.detach()).sum(2) * upward).sum().backward()
    torch.testing.assert_close(score.grad, soft.grad)


def test_steps_are_drawn_with_their_softmax_probability():
    torch.manual_seed(0)
    probability = torch.tensor([0.5, 0.3, 0.2, 0.0])
    taken, _ = take_step(probability.log().expand(1, 20_000, 4), torch.zeros(1, 20_000, 4, 1), draw=True)
    shares = taken.flatten().bincount(minlength=4) / 20_000
    torch.testing.assert_close(shares, probability, rtol=0, atol=0.015)  # 4 standard deviations
    assert shares[3] == 0


@pytest.mark.parametrize("training", [True, False])
def test_walks_stay_on_the_graph_and_starts_differ(training):
    torch.manual_seed(0)
    points = torch.randn(3, 30, 3)
    neighbours = nearest_neighbours(points, points, 6)[..., 1:]
    walks = CurveGrouping(4, num_curves=12, length=7).train(training)(torch.randn(3, 30, 4), neighbours)
    assert walks.path.shape == (3, 12, 7)
    for cloud, paths in zip(neighbours, walks.path, strict=True):
        assert len(set(paths[:, 0].tolist())) == 12
        for path in paths.tolist():
            assert all(there in cloud[here].tolist() for here, there in itertools.pairwise(path))


def test_training_repeats_with_its_seed_and_eval_draws_nothing():
    points, net = torch.randn(2, 20, 3), student(**SMALL)

    def run(seed):
        torch.manual_seed(seed)
        return net(points).tokens

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    net.eval()
    assert torch.equal(run(1), run(2))


def test_with_all_points_in_every_stage_their_order_does_not_matter():
    stages = [{**STAGES[0], "num_points": 20, "curve_blocks": 2}, {**STAGES[1], "num_points": 20}]
    net, points = student(**{**SMALL, "stages": stages}).double().eval(), torch.randn(2, 20, 3).double()
    order = torch.randperm(20)
    with torch.no_grad():
        output, permuted = net(points), net(points[:, order])
    torch.testing.assert_close(permuted.tokens, output.tokens[:, order], rtol=1e-9, atol=1e-11)
    assert torch.equal(output.token_index, torch.arange(20).expand(2, -1))


def test_equal_points_give_finite_values_and_gradients():
    net, points = student(**SMALL), torch.zeros(2, 20, 3).requires_grad_()
    output = net(points)
    output.embedding.sum().backward()
    assert torch.isfinite(output.tokens).all() and torch.isfinite(points.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": STAGES[::-1]}, "must not grow"),
        ({"num_neighbours": 7}, "above num_neighbours .7., one is 7"),
        ({"stages": [{**STAGES[0], "num_curves": 17}]}, "17 curves cannot start at 16 points"),
        ({"stages": [{**STAGES[0], "curve_blocks": 3}]}, "curves in 3 of 2 blocks"),
        ({"stages": [{**STAGES[0], "curve_length": 2}]}, "curve_length"),
        ({"bottleneck": 3}, "width 8 must be a multiple of bottleneck"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        student(**{**SMALL, **values})


def test_a_cloud_with_fewer_points_than_the_first_stage_is_refused():
    with pytest.raises(ValueError, match="1024 of 100 points"):
        student()(torch.randn(2, 100, 3))
