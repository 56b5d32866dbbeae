"""The scene transformer against a slow float64 copy of its formula, wherever a scene stands, and in who reads it."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.distillation.concept import Settings as ConceptSettings
from pointlift.distillation.concept import build as build_concept
from pointlift.geometry.sampling import farthest_point_order
from pointlift.operators.extent import extent, placed_within
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics
from pointlift.students.scene_transformer import Settings, build
from pointlift.tasks.point_classifier import PointClassifier
from pointlift.tasks.semantic_segmentation import Settings as SemanticSettings

SMALL = {"num_tokens": 12, "radius": 0.8, "num_neighbours": 6, "aggregation_widths": [5, 7], "width": 8, "heads": 2}
SMALL = {**SMALL, "mlp_width": 6, "depth": 2}


def student(**values):
    torch.manual_seed(0)
    return build(parse(Settings, {"kind": "scene_transformer", **SMALL, **values}, "student"))


def rooms(batch=2, count=150, seed=0):
    """Points of boxes as rooms are: metres, a corner at the origin; multiples of 1/1024, so that shifts are exact."""
    points = torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([5.0, 4.0, 2.5])
    return (points * 1024).round() / 1024


def test_parameters_are_those_of_the_published_sizes():
    """Set aggregation 64, 128, 256; three layers of 256 with an MLP of 128; the place; the last norm."""
    c = 256
    aggregation = 3 * 64 + 64 * 128 + 128 * c + 2 * (64 + 128 + c)
    layer = 2 * 2 * c + 3 * c * c + c * c + c + c * 128 + 128 + 128 * c + c
    place = 3 * c + c + c * c + c
    found = build(parse(Settings, {"kind": "scene_transformer"}, "student"))
    assert sum(each.numel() for each in found.parameters()) == aggregation + 3 * layer + place + 2 * c
    assert (found.settings.num_tokens, found.settings.num_neighbours, found.settings.radius) == (2048, 64, 0.2)
    assert found.width == 512 and shape_of(found).token_width == 256


def slow_rows(found, cloud):
    """Rows of one cloud behind the set aggregation, ball by ball, in float64 and eval mode."""
    settings, tree, rows = found.settings, cKDTree(cloud), []
    index = farthest_point_order(cloud, settings.num_tokens, start=0)
    for centre in index:
        distance, near = tree.query(cloud[centre], k=settings.num_neighbours)
        inside = near[distance <= settings.radius]
        hidden = torch.from_numpy((cloud[inside] - cloud[centre]) / settings.radius)
        for linear, norm in zip(found.aggregation.layers[::3], found.aggregation.layers[1::3], strict=True):
            hidden = (hidden @ linear.weight.T - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
            hidden = (hidden * norm.weight + norm.bias).relu()
        rows.append(hidden.amax(dim=0))
    return index, torch.stack(rows)


def test_rows_of_balls_are_those_of_the_formula():
    found, points = student().double(), rooms().double()
    found(points)
    with torch.no_grad():
        index, rows = found.eval().aggregation(points)
        for cloud, one_index, one_rows in zip(points.numpy(), index, rows, strict=True):
            wanted_index, wanted = slow_rows(found, cloud)
            np.testing.assert_array_equal(one_index, wanted_index)
            torch.testing.assert_close(one_rows, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("position", ["extent", "none"])
def test_where_the_origin_is_changes_nothing(position):
    found, points = student(position=position).eval(), rooms()
    moved = points + torch.tensor([64.0, -128.0, 8.0])
    with torch.no_grad():
        here, there = found(points), found(moved)
    assert torch.equal(here.token_index, there.token_index)
    torch.testing.assert_close(there.tokens, here.tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there.embedding, here.embedding, rtol=1e-4, atol=1e-5)


def test_with_no_position_equal_surroundings_have_equal_tokens():
    corners = torch.tensor([[0.0, 0, 0], [4, 0, 0], [0, 4, 0], [4, 4, 1]])
    points = corners.repeat(10, 1)[None]
    for position, same in (("none", True), ("extent", False)):
        with torch.no_grad():
            output = student(position=position, num_tokens=4, pool="max").eval()(points)
        spread = output.tokens[0].std(dim=0).max()
        assert (spread < 1e-4) == same


def test_shares_of_the_extent_hold_for_flat_and_single_clouds():
    points = rooms(1, 50)
    shares = placed_within(points, extent(points))
    assert shares.min() == 0.0 and shares.max() == 1.0
    flat = points * torch.tensor([1.0, 1.0, 0.0])
    assert torch.isfinite(placed_within(flat, extent(flat))).all()
    assert (placed_within(points[:, :1], extent(points[:, :1])) == 0).all()


@pytest.mark.parametrize("pool", ["max_mean", "max", "mean"])
def test_the_embedding_is_what_its_pool_says(pool):
    with torch.no_grad():
        output = student(pool=pool).eval()(rooms())
    parts = {"max": output.tokens.amax(dim=1), "mean": output.tokens.mean(dim=1)}
    torch.testing.assert_close(output.embedding, torch.cat([parts[word] for word in pool.split("_")], dim=1))
    assert output.levels == () and output.summary is None


def test_concept_distillation_reads_it():
    found = student()
    target = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    settings = parse(ConceptSettings, {"kind": "concept", "num_queries": 3, "num_views": None, "heads": 2}, "method")
    method = build_concept(settings, shape_of(found), target_statistics(target.numpy()))
    values = method(found(rooms()), {"target": target})
    sum(value for name, value in values.items() if name.endswith("_loss")).backward()
    assert all(each.grad is not None for each in found.parameters())


def test_semantic_segmentation_reads_it():
    recipe = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    block = {"kind": "semantic_segmentation", "dataset": "rooms", "recipe": recipe, "num_points": 150}
    model = PointClassifier(student(), 3, parse(SemanticSettings, block, "task"))
    label = torch.arange(150).expand(2, -1) % 4 - 1
    values = model({"points": rooms(), "semantic_label": label})
    values["task_loss"].backward()
    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in model.parameters())


@pytest.mark.parametrize(("changed", "message"), [({"width": 9}, "multiple of heads"), ({"radius": 0.0}, "radius")])
def test_impossible_sizes_are_named(changed, message):
    with pytest.raises(ConfigError, match=message):
        student(**changed)


def test_fewer_points_than_tokens_is_an_error():
    with pytest.raises(ValueError, match="12 of 11 points"):
        student()(rooms(count=11))
