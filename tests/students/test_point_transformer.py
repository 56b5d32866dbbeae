"""The point transformer against a slow float64 copy of its formula, its parameter count by hand, and hidden groups."""

import pytest
import torch
from torch.nn import functional

from pointlift import rooms
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.geometry.sampling import farthest_point_order
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics
from pointlift.students.group_tokenizer import GroupTokenizer, draw_hidden
from pointlift.students.point_transformer import Settings, build
from pointlift.tasks.segmenter import SegmentationHead

GROUPS, SIZE, WIDTH = 8, 5, 12
SMALL = {"num_groups": GROUPS, "group_size": SIZE, "width": WIDTH, "depth": 3, "heads": 3, "position_width": 7}
SMALL = {**SMALL, "tokenizer_widths": [6, 8, 10], "drop_path": 0.0}


def student(**values):
    return build(parse(Settings, {"kind": "point_transformer", **values}, "student"))


def clouds(batch=3, count=40, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 3, generator=generator, dtype=torch.float64).to(dtype)


def test_parameter_count_is_that_of_its_layers():
    """The small encoder of Point-MAE; its classifier brings it to the 22.1 M that are reported for it."""

    def linear(width, wider, bias=True):
        return width * wider + bias * wider

    c, norm = 384, 2 * 384
    tokenizer = linear(3, 128, False) + 2 * 128 + linear(128, 256)
    tokenizer += linear(512, 512, False) + 2 * 512 + linear(512, c)
    position, class_token = linear(3, 128) + linear(128, c), 2 * c
    block = norm + linear(c, 3 * c, False) + linear(c, c) + norm + linear(c, 4 * c) + linear(4 * c, c)
    wanted = tokenizer + position + class_token + 12 * block + norm
    assert sum(parameter.numel() for parameter in student().parameters()) == wanted
    classifier = linear(2 * c, 256) + 2 * 256 + linear(256, 256) + 2 * 256 + linear(256, 40)
    assert round((wanted + classifier) / 1e6, 1) == 22.1


def slow_token(tokenizer, group_k3):
    """One group, point by point, in eval mode; the layer after the maximum reads [maximum, point]."""

    def normed(norm, x):
        return ((x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias).relu()

    first, norm, _, second = tokenizer.before
    rows = [second.weight @ normed(norm, first.weight @ point) + second.bias for point in group_k3]
    whole = torch.stack(rows).amax(dim=0)
    norm, _, last = tokenizer.after
    rows = [normed(norm, tokenizer.joined.weight @ torch.cat([whole, row])) for row in rows]
    return torch.stack([last.weight @ row + last.bias for row in rows]).amax(dim=0)


def slow(net, points_N3):
    """One cloud in eval mode: rows (1 + G, C) behind the norm of each level and of the last block, and the centres."""
    index = farthest_point_order(points_N3.numpy(), GROUPS).tolist()
    tokens, places = [net.class_token[0, 0]], [net.class_position[0, 0]]
    for number in index:
        centre = points_N3[number]
        near = (points_N3 - centre).norm(dim=1).argsort(stable=True)[:SIZE]
        tokens.append(slow_token(net.tokenizer, points_N3[near] - centre))
        hidden = functional.gelu(net.position.first.weight @ centre + net.position.first.bias)
        places.append(net.position.second.weight @ hidden + net.position.second.bias)
    rows, places, found = torch.stack(tokens)[None], torch.stack(places)[None], []
    for number, block in enumerate(net.blocks, start=1):
        rows = block(rows + places)  # compared with its formula beside the operators
        if number in (*net.level_depths, len(net.blocks)):
            found.append(functional.layer_norm(rows[0], (WIDTH,), net.norm.weight, net.norm.bias))
    return found, index


def trained(**values):
    """A student in float64 and eval mode whose norms are away from 0 and 1."""
    net = student(**{**SMALL, **values}).double()
    for seed in range(3):
        net(clouds(seed=seed, dtype=torch.float64))
    with torch.no_grad():
        for parameter in (net.norm.weight, net.norm.bias):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net.eval()


@pytest.mark.parametrize("pool", ["class_max", "class", "max"])
def test_equals_its_formula_in_float64(pool):
    net, points = trained(pool=pool), clouds(2, seed=5, dtype=torch.float64)
    with torch.no_grad():
        output = net(points)
        wanted = [slow(net, cloud) for cloud in points]
    close = {"rtol": 1e-9, "atol": 1e-11}
    rows = torch.stack([found[-1] for found, _ in wanted])
    torch.testing.assert_close(output.summary, rows[:, 0], **close)
    torch.testing.assert_close(output.tokens, rows[:, 1:], **close)
    assert output.token_index.tolist() == [index for _, index in wanted]
    largest = output.tokens.amax(dim=1)
    parts = {"class": [output.summary], "max": [largest], "class_max": [output.summary, largest]}[pool]
    assert torch.equal(output.embedding, torch.cat(parts, dim=1))
    assert net.width == output.embedding.shape[1]
    assert net.level_depths == (1, 2) and len(output.levels) == 2
    for number, level in enumerate(output.levels):
        torch.testing.assert_close(level.rows, torch.stack([found[number][1:] for found, _ in wanted]), **close)
        assert torch.equal(level.point_index, output.token_index) and torch.equal(level.xyz, output.token_xyz)
        assert level.rows.shape[2] == net.level_widths[number]


@pytest.mark.parametrize(("depth", "levels"), [(12, (4, 8)), (4, (1, 3)), (3, (1, 2)), (2, (1,)), (1, ())])
def test_levels_stand_at_thirds_of_the_depth(depth, levels):
    assert student(**{**SMALL, "depth": depth}).level_depths == levels
    assert student(**{**SMALL, "depth": 12, "level_depths": [2, 11]}).level_depths == (2, 11)
    assert student(**{**SMALL, "level_depths": []}).level_widths == ()


def test_the_order_of_points_in_a_group_does_not_matter():
    tokenizer, groups = GroupTokenizer((6, 8, 10), WIDTH).eval(), torch.randn(2, 4, SIZE, 3)
    found = tokenizer(groups)
    torch.testing.assert_close(tokenizer(groups[:, :, torch.randperm(SIZE)]), found, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(tokenizer(groups + 0.1), found, rtol=1e-2)


def test_the_order_of_points_behind_the_first_does_not_matter():
    """Farthest points begin at the first; the others are chosen by where they lie."""
    net, points = trained(), clouds(dtype=torch.float64)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(points.shape[1] - 1)])
    with torch.no_grad():
        moved, output = net(points[:, order]), net(points)
    torch.testing.assert_close(moved.tokens, output.tokens, rtol=1e-9, atol=1e-11)
    assert torch.equal(order[moved.token_index], output.token_index)


def test_a_shift_is_seen_by_the_places_alone():
    """Groups see differences: once places are the same for all, a cloud that moved is the same cloud."""
    net, points = trained(), clouds(dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(net(points + 0.5).embedding, net(points).embedding, rtol=1e-3)
        net.position.second.weight.zero_()
        torch.testing.assert_close(net(points + 0.5).embedding, net(points).embedding, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"heads": 5}, r"width 12 must be a multiple of heads \(5\)"),
        ({"level_depths": [3]}, r"from 1 to below depth \(3\)"),
        ({"level_depths": [2, 1]}, "must grow"),
        ({"level_depths": [0, 1]}, "from 1"),
        ({"tokenizer_widths": [6, 0, 10]}, "above 0"),
        ({"tokenizer_widths": [6, 8]}, "tokenizer_widths"),
        ({"num_groups": 1}, "num_groups"),
    ],
)
def test_what_cannot_be_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        student(**{**SMALL, **values})


def test_clouds_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="8 of 7 points"):
        student(**SMALL)(clouds(count=7))
    with pytest.raises(ValueError, match="30 neighbours of 20 points"):
        student(**{**SMALL, "group_size": 30})(clouds(count=20))
    for ratio in (1.0, -0.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            student(**SMALL)(clouds(), mask_ratio=ratio)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.6, 5), (0.01, 1), (0.99, 7), (0.5, 4)])
def test_as_many_groups_are_hidden_as_the_ratio_says(ratio, hidden):
    output = student(**SMALL)(clouds(), mask_ratio=ratio)
    assert output.masked.centres.shape == (3, hidden, 3)
    assert output.masked.points.shape == (3, hidden, SIZE, 3)
    assert output.tokens.shape == (3, GROUPS - hidden, WIDTH)
    assert output.token_xyz.shape == (3, GROUPS - hidden, 3)
    assert output.levels == () and output.summary.shape == (3, WIDTH)


@pytest.mark.parametrize("training", [True, False])
def test_shown_and_hidden_groups_are_those_of_the_cloud(training):
    net, points = student(**SMALL).train(training), clouds()
    whole, output = net(points), net(points, mask_ratio=0.6)
    for number, cloud in enumerate(points):
        assert torch.equal(output.token_xyz[number], cloud[output.token_index[number]])
        centres = torch.cat([output.token_xyz[number], output.masked.centres[number]])
        assert sorted(centres.tolist()) == sorted(whole.token_xyz[number].tolist()), "each group on one side"
        for centre, group in zip(output.masked.centres[number], output.masked.points[number], strict=True):
            near = (cloud - centre).norm(dim=1).argsort(stable=True)[:SIZE]
            assert torch.equal(group, cloud[near] - centre)


def separate_clouds():
    """Tight heaps of one group each, so that no point is of two groups."""
    generator = torch.Generator().manual_seed(3)
    heaps = functional.normalize(torch.randn(2, GROUPS, 1, 3, generator=generator), dim=3)
    return (heaps + 0.01 * torch.randn(2, GROUPS, SIZE, 3, generator=generator)).flatten(1, 2)


@pytest.mark.parametrize("training", [True, False])
def test_shown_tokens_hang_on_shown_points_alone(training):
    net, points = student(**SMALL).train(training), separate_clouds().requires_grad_()
    output = net(points, mask_ratio=0.5)
    (output.tokens * torch.randn(output.tokens.shape)).sum().backward()
    felt = points.grad.abs().sum(dim=2).unflatten(1, (GROUPS, SIZE)).sum(dim=2) > 0
    shown = torch.zeros_like(felt).scatter_(1, output.token_index.div(SIZE, rounding_mode="floor"), True)
    assert torch.equal(felt, shown) and shown.sum(dim=1).tolist() == [4, 4]


def test_hidden_points_that_change_leave_the_shown_tokens_as_they_are():
    net, points = student(**SMALL).eval(), separate_clouds()
    before, every = net(points, mask_ratio=0.5), net(points).token_index.tolist()
    changed = points.clone().unflatten(1, (GROUPS, SIZE))
    for cloud, shown in enumerate(before.token_index.div(SIZE, rounding_mode="floor").tolist()):
        for heap in set(range(GROUPS)) - set(shown):
            (chosen,) = [number for number in every[cloud] if number // SIZE == heap]
            centre = points[cloud, chosen]
            changed[cloud, heap] = centre + 0.5 * (changed[cloud, heap] - centre)
    after = net(changed.flatten(1, 2), mask_ratio=0.5)
    assert torch.equal(after.token_index, before.token_index)
    assert not torch.equal(after.masked.points, before.masked.points)
    assert torch.equal(after.tokens, before.tokens)


def test_what_is_hidden_is_drawn_in_training_and_fixed_in_eval_mode():
    net, points = student(**SMALL), clouds(64)
    torch.manual_seed(1)
    first = net(points, mask_ratio=0.5)
    torch.manual_seed(1)
    again, other = net(points, mask_ratio=0.5), net(points, mask_ratio=0.5)
    assert torch.equal(again.token_index, first.token_index) and torch.equal(again.tokens, first.tokens)
    assert not torch.equal(other.token_index, first.token_index)
    net.eval()
    state = torch.get_rng_state()
    fixed, alone = net(points, mask_ratio=0.5), net(points[5:6], mask_ratio=0.5)
    assert torch.equal(torch.get_rng_state(), state), "evaluation draws nothing"
    assert torch.equal(alone.token_index[0], fixed.token_index[5]), "a cloud's hidden groups hang on no other cloud"


def test_every_group_is_hidden_equally_often():
    shown, hidden = draw_hidden(20_000, GROUPS, 0.5, torch.device("cpu"), fixed=False)
    assert torch.equal(torch.cat([shown, hidden], dim=1).sort(dim=1).values[0], torch.arange(GROUPS))
    # A share of 1/2 in n draws has sd 0.5 / sqrt(n) = 0.0035.
    share = torch.bincount(hidden.flatten(), minlength=GROUPS) / 20_000
    assert (share - 0.5).abs().max() < 0.02


def test_the_class_token_and_all_else_get_a_gradient_from_shown_tokens():
    net = student(**SMALL)
    output = net(clouds(), mask_ratio=0.6)
    (output.tokens * torch.randn(output.tokens.shape)).sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_pointmcd_reads_signed_tokens_and_their_masks():
    """Tokens that may be negative are pooled by view, told to a signed teacher, and the student learns from it."""
    net, points = student(**SMALL), clouds()
    member = rooms.load("distillation", "pointmcd")
    target = torch.randn(3, 4, 6)
    method = member.build(
        parse(member.Settings, {"kind": "pointmcd"}, "method"), shape_of(net), target_statistics(target.numpy())
    )
    visible = torch.rand(3, 4, points.shape[1]) < 0.5
    output = net(points)
    assert (output.tokens < 0).any()
    loss = method(output, {"points": points, "visible": visible, "target": target})["view_loss"]
    loss.backward()
    assert loss > 0
    assert all(parameter.grad.any() for parameter in net.blocks.parameters())


def test_a_segmentation_head_reads_three_depths():
    member = rooms.load("tasks", "part_segmentation")
    recipe = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    block = {"kind": "part_segmentation", "dataset": "d", "head_widths": [9], "recipe": recipe}
    net, points = student(**SMALL), clouds()
    head = SegmentationHead(shape_of(net), net.level_widths, 2, 5, parse(member.Settings, block, "task"))
    output = net(points)
    read = [output.tokens, *(level.rows for level in output.levels)]
    for rows in read:
        rows.retain_grad()
    scores = head(output, points, torch.tensor([0, 1, 0]))
    assert scores.shape == (3, points.shape[1], 5)
    (scores * torch.randn(scores.shape)).sum().backward()
    assert len(read) == 3 and all(rows.grad.any() for rows in read)


def test_without_a_class_token_the_embedding_is_the_maximum_of_tokens_alone():
    bare = student(**SMALL, class_token=False, pool="max").eval()
    assert not [name for name in bare.state_dict() if "class" in name]
    found = bare(clouds())
    assert found.summary is None and found.tokens.shape == (3, GROUPS, WIDTH)
    assert torch.equal(found.embedding, found.tokens.amax(dim=1))
    assert all(level.rows.shape == found.tokens.shape for level in found.levels)
    hidden = bare(clouds(), mask_ratio=0.5)
    assert hidden.tokens.shape[1] + hidden.masked.centres.shape[1] == GROUPS
    with pytest.raises(ConfigError, match="without a class token pool is max, it is class_max"):
        student(**SMALL, class_token=False)


def test_the_tokenizers_width_may_be_another_one_before_a_linear_layer():
    torch.manual_seed(3)
    narrow = student(**SMALL, group_width=5).eval()
    assert narrow.tokenizer.after[2].out_features == 5 and narrow.reduce.weight.shape == (WIDTH, 5)
    assert shape_of(narrow).width == 2 * WIDTH and narrow(clouds()).tokens.shape == (3, GROUPS, WIDTH)
