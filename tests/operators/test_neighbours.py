"""Choosing points against float64 references: the house's own farthest points, scipy's trees, and closed forms."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from pointlift.geometry.sampling import farthest_point_order, stored_order
from pointlift.operators import neighbours
from pointlift.operators.neighbours import (
    ball_query,
    choose_centres,
    farthest_point_sample,
    first_in_ball,
    gather_rows,
    interpolate_rows,
    nearest_neighbours,
    squared_distances,
)

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def clouds(batch=3, count=200, width=3, seed=0, dtype=torch.float64):
    return torch.randn(batch, count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_farthest_points_are_those_of_the_reference(device, dtype):
    points = clouds(dtype=dtype)
    found = farthest_point_sample(points.to(device), 70, start=5).cpu().numpy()
    wanted = [farthest_point_order(cloud, 70, start=5) for cloud in points.double().numpy()]
    np.testing.assert_array_equal(found, wanted)


def test_farthest_points_of_a_grid_take_the_lowest_of_equals():
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0.5, 0.5, 0]])[None]
    assert farthest_point_sample(square, 5).tolist() == [[0, 3, 1, 2, 4]]
    twice = torch.cat([square, square], dim=1)
    assert farthest_point_sample(twice, 5).tolist() == [[0, 3, 1, 2, 4]]


@pytest.mark.parametrize("count", [0, 201])
def test_more_points_than_there_are_is_an_error(count):
    with pytest.raises(ValueError, match="of 200 points"):
        farthest_point_sample(clouds(), count)
    with pytest.raises(ValueError, match="of 200 points"):
        nearest_neighbours(clouds(), clouds(), count)


@pytest.mark.parametrize("width", [1, 3, 8, 9, 64])
def test_squared_distances_are_scipys(width):
    query, points = clouds(count=40, width=width, seed=1), clouds(width=width)
    found = squared_distances(query, points)
    wanted = ((query.numpy()[:, :, None] - points.numpy()[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-11, atol=1e-11)
    half = squared_distances(query.bfloat16(), points.bfloat16())
    assert half.dtype == torch.float32 and (half >= 0).all()


@pytest.mark.parametrize("width", [3, 64])
def test_neighbours_are_found_in_full_precision_under_autocast(width):
    """A product rounded to bfloat16 loses what tells near points apart."""
    points = clouds(width=width, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nearest_neighbours(points, points, 20)
    assert torch.equal(found, nearest_neighbours(points.double(), points.double(), 20))


def test_equal_places_far_from_the_origin_have_no_distance():
    points = clouds(dtype=torch.float32) + 1000.0
    assert (squared_distances(points, points).diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("width", [3, 32])
def test_nearest_neighbours_are_those_of_a_tree(device, width):
    points = clouds(width=width)
    found = nearest_neighbours(points.to(device), points.to(device), 20).cpu().numpy()
    for cloud, index in zip(points.numpy(), found, strict=True):
        np.testing.assert_array_equal(index, cKDTree(cloud).query(cloud, k=20)[1])
    assert (found[:, :, 0] == np.arange(200)).all(), "a point is its own nearest"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_a_cloud_filled_up_with_repeats_the_first_of_equals_are_taken(dtype):
    cloud = clouds(2, 90, dtype=dtype)
    cloud = torch.cat([cloud, cloud[:, :50]], dim=1)
    distances = (cloud[:, :, None] - cloud[:, None]).square().sum(dim=3)
    wanted = distances.sort(dim=2, stable=True).indices
    for count in (1, 2, 7, 139, 140):
        assert torch.equal(nearest_neighbours(cloud, cloud, count), wanted[:, :, :count])


def test_equal_distances_are_taken_by_index_also_at_the_border():
    line = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, -1, 0]])[None]
    assert nearest_neighbours(line[:, 2:3], line, 3).tolist() == [[[2, 0, 1]]]
    assert nearest_neighbours(line[:, 2:3], line, 5).tolist() == [[[2, 0, 1, 3, 4]]]
    same = torch.zeros(1, 50, 3)
    assert nearest_neighbours(same, same, 4)[0].unique(dim=0).tolist() == [[0, 1, 2, 3]]


def test_neighbours_move_with_their_points_and_not_with_a_shift():
    points, order = clouds(), torch.randperm(200, generator=torch.Generator().manual_seed(3))
    found = nearest_neighbours(points, points, 8)
    permuted = nearest_neighbours(points[:, order], points[:, order], 8)
    assert torch.equal(order[permuted], found[:, order])
    assert torch.equal(nearest_neighbours(points + 0.5, points + 0.5, 8), found)


@pytest.mark.parametrize("width", [3, 64])
def test_a_point_is_its_own_nearest_and_the_search_carries_no_gradient(width):
    points = clouds(width=width, dtype=torch.float32).requires_grad_()
    found = nearest_neighbours(points, points, 8)
    assert torch.equal(found[..., 0], torch.arange(200).expand(3, -1))
    assert not squared_distances(points, points).requires_grad


@pytest.mark.parametrize("device", DEVICES)
def test_balls_hold_the_nearest_points_within_their_radius(device):
    points, radius = clouds(), 0.6
    query = points[:, :30]
    found = ball_query(query.to(device), points.to(device), radius, 12).cpu().numpy()
    sizes = set()
    for cloud, places, index in zip(points.numpy(), query.numpy(), found, strict=True):
        tree = cKDTree(cloud)
        for place, row in zip(places, index, strict=True):
            near = [number for number in tree.query(place, k=12)[1] if np.linalg.norm(cloud[number] - place) <= radius]
            assert row.tolist() == near + [near[0]] * (12 - len(near))
            sizes.add(len(near))
    assert min(sizes) < 12 and max(sizes) == 12, "both kinds of ball were seen"


def test_a_ball_without_points_repeats_the_nearest_and_a_small_cloud_is_filled_up():
    points = torch.tensor([[[0.0, 0, 0], [5, 0, 0]]])
    assert ball_query(torch.tensor([[[4.0, 0, 0]]]), points, 0.5, 4).tolist() == [[[1, 1, 1, 1]]]
    assert ball_query(points[:, :1], points, 9.0, 4).tolist() == [[[0, 1, 0, 0]]]


def test_rows_are_gathered_with_their_gradient():
    values = clouds(width=5).requires_grad_()
    index = torch.randint(200, (3, 7, 4), generator=torch.Generator().manual_seed(0))
    taken = gather_rows(values, index)
    wanted = torch.stack([cloud[rows] for cloud, rows in zip(values, index, strict=True)])
    assert torch.equal(taken, wanted)
    counts = torch.stack([torch.bincount(rows.flatten(), minlength=200) for rows in index])
    taken.sum().backward()
    assert torch.equal(values.grad, counts[..., None].expand(-1, -1, 5).double())


def test_interpolation_is_the_inverse_distance_mean_of_three():
    places, query, values = clouds(count=30), clouds(count=50, seed=4), clouds(count=30, width=6, seed=5)
    found = interpolate_rows(values, places, query)
    for row in range(3):
        distance, index = cKDTree(places[row].numpy()).query(query[row].numpy(), k=3)
        weight = distance**-2.0 / (distance**-2.0).sum(axis=1, keepdims=True)
        wanted = (values[row].numpy()[index] * weight[..., None]).sum(axis=1)
        np.testing.assert_allclose(found[row].numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interpolation_at_a_place_is_its_value(dtype):
    places, values = clouds(count=30, dtype=dtype), clouds(count=30, width=6, seed=5, dtype=dtype).requires_grad_()
    found = interpolate_rows(values, places, places)
    torch.testing.assert_close(found, values, rtol=1e-6, atol=1e-6)
    found.sum().backward()
    assert torch.isfinite(values.grad).all()
    assert interpolate_rows(values[:, :1], places[:, :1], places).shape == (3, 30, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_first_points_are_the_farthest_ones_of_clouds_stored_in_that_order(dtype):
    points = clouds(dtype=dtype)
    order = torch.from_numpy(np.stack([stored_order(cloud, "farthest_first") for cloud in points.numpy()]))
    stored = gather_rows(points, order)
    found = choose_centres(stored, 50, "first")
    assert torch.equal(found, torch.arange(50).expand(3, -1))
    assert torch.equal(found, choose_centres(stored, 50, "farthest"))
    assert torch.equal(choose_centres(points, 50, "farthest"), farthest_point_sample(points, 50))
    assert not torch.equal(choose_centres(points, 50, "farthest"), found)
    for rule in ("farthest", "first"):
        with pytest.raises(ValueError, match="201 of 200"):
            choose_centres(points, 201, rule)


def test_many_queries_among_many_points_are_answered_piece_by_piece_alike(monkeypatch):
    points, query = clouds(batch=2, count=300, dtype=torch.float32), clouds(batch=2, count=41, seed=7).float()
    points[:, 100:150] = points[:, :50]  # equal distances, some of them at a border
    whole = nearest_neighbours(query, points, 9), ball_query(query, points, 0.5, 9)
    monkeypatch.setattr("pointlift.operators.neighbours._AT_ONCE", 300 * 4)
    sizes = []
    monkeypatch.setattr(
        "pointlift.operators.neighbours.squared_distances",
        lambda *rows: sizes.append(rows[0].shape[:2]) or squared_distances(*rows),
    )
    parts = nearest_neighbours(query, points, 9), ball_query(query, points, 0.5, 9)
    assert set(sizes) == {(1, 4), (1, 1)}, "never more than four queries of one cloud"
    assert all(torch.equal(*pair) for pair in zip(whole, parts, strict=True))


def test_no_centre_is_taken_near_the_origin_but_the_first_of_the_cloud():
    points = torch.tensor([[0.0, 0.0, 0.01], [1.0, 0, 0], [0.0, 0.03, 0], [0.0, 0.2, 0], [0.0, 0.0, 0.0], [-0.9, 0, 0]])
    assert choose_centres(points[None], 4, "farthest_off_origin").tolist() == [[0, 1, 5, 3]]
    used_up = farthest_point_sample(points[None], 5, hole=1e-3)
    assert used_up.tolist() == [[0, 1, 5, 3, 1]]  # the first of those that are not near the origin
    away = points + 5.0
    assert torch.equal(choose_centres(away[None], 4, "farthest_off_origin"), choose_centres(away[None], 4, "farthest"))


def test_first_points_of_a_ball_are_those_of_a_loop():
    points, queries = clouds(2, 40, seed=3), clouds(2, 7, seed=4)
    found = first_in_ball(queries, points, 0.8, 5)
    for cloud, asked, rows in zip(points, queries, found, strict=True):
        for query, row in zip(asked, rows, strict=True):
            inside = [n for n, p in enumerate(cloud) if float((p - query).square().sum()) <= 0.8**2][:5]
            inside = inside or [int((cloud - query).norm(dim=1).argmin())]
            assert row.tolist() == inside + inside[:1] * (5 - len(inside))
    few = first_in_ball(queries, points[:, :3], 9.0, 5)
    assert few.tolist() == [[[0, 1, 2, 0, 0]] * 7] * 2


def grid(count):
    axis = torch.linspace(-1, 1, round(count ** (1 / 3)))
    return torch.cartesian_prod(axis, axis, axis)[None].repeat(2, 1, 1)


HARD_CLOUDS = {
    "random": clouds(2, 600, dtype=torch.float32),
    "every distance many times": grid(729),
    "filled up with repeats": clouds(2, 60, dtype=torch.float32).repeat(1, 10, 1),
    "far from the origin": clouds(2, 600, dtype=torch.float32) + 1000.0,
    "too small to be squared": clouds(2, 600, dtype=torch.float32) * 1e-21,
    "millions from the origin": clouds(2, 600, dtype=torch.float32) + 1e6,
    "too large to be squared": clouds(2, 600, dtype=torch.float32) * 1e19,
    "on a plane": clouds(2, 600, dtype=torch.float32) * torch.tensor([1.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("name", HARD_CLOUDS)
@pytest.mark.parametrize("among", [True, False])
@pytest.mark.parametrize("count", [1, 7, 32])
def test_a_tree_finds_the_same_bits_as_all_distances(name, among, count, monkeypatch):
    points = HARD_CLOUDS[name]
    query = points[:, ::3] if among else points[:, ::3] * 0.9 + points.mean()
    monkeypatch.setattr(neighbours, "_TREE_PAYS", 2**62)
    wanted = neighbours._nearest_of(query, points, count)
    monkeypatch.setattr(neighbours, "_TREE_PAYS", 0)
    searched = []
    monkeypatch.setattr(neighbours, "cKDTree", lambda *a, **k: searched.append(1) or cKDTree(*a, **k))
    found = neighbours._nearest_of(query, points, count)
    assert len(searched) == len(points)
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])


def test_clouds_of_fewer_points_than_a_tree_has_candidates_are_searched_whole(monkeypatch):
    monkeypatch.setattr(neighbours, "_TREE_PAYS", 0)
    for num_points in (4, 5):
        points = clouds(1, num_points, dtype=torch.float32)
        assert nearest_neighbours(points, points, 1).flatten().tolist() == list(range(num_points))


def test_rows_that_a_tree_leaves_open_are_searched_in_parts(monkeypatch):
    points = clouds(1, 60, dtype=torch.float32).repeat(1, 10, 1)  # every row has more equals than candidates
    wanted = neighbours._nearest_of(points, points, 4)
    monkeypatch.setattr(neighbours, "_TREE_PAYS", 0)
    monkeypatch.setattr(neighbours, "_AT_ONCE", 7 * 600)
    sizes = []
    inner = neighbours._nearest
    monkeypatch.setattr(
        neighbours, "_nearest", lambda squared, count: sizes.append(squared.shape) or inner(squared, count)
    )
    found = neighbours._nearest_of(points, points, 4)
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])
    assert len(sizes) > 80 and max(rows for _, rows, _ in sizes) == 7


def test_points_that_are_no_numbers_are_not_handed_to_a_tree(monkeypatch):
    monkeypatch.setattr(neighbours, "_TREE_PAYS", 0)
    points = clouds(1, 200, dtype=torch.float32)
    points[0, 3, 1] = torch.nan
    assert nearest_neighbours(points, points, 4).shape == (1, 200, 4)
