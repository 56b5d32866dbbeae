"""Clouds: checked, turned, normalised, and taken by a rule that a seed makes repeatable."""

from dataclasses import replace

import numpy as np
import pytest

from pointlift.contracts.dataset import Boxes, PointCloud
from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.clouds import arrange, check, normalise, take, turn_up
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.meshes import normalise as normalise_mesh
from pointlift.geometry.sampling import farthest_point_order


def cloud(count=50, seed=0):
    rng = np.random.default_rng(seed)
    return PointCloud(rng.normal(size=(count, 3)) * [1, 2, 3] + 5, rng.normal(size=(count, 3)), np.arange(count) % 7)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_points_are_normalised_like_the_vertices_of_a_mesh():
    made = cloud()
    mesh, _, _ = normalise_mesh(Mesh(made.points, np.zeros((0, 3), np.int64)))
    points = normalise(made).points
    np.testing.assert_allclose(points, mesh.vertices, atol=1e-15)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0)
    np.testing.assert_allclose(points.min(axis=0) + points.max(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize(("axis", "up"), [("x", 0), ("y", 1), ("z", 2)])
def test_what_was_up_is_z_and_nothing_is_mirrored(axis, up):
    made = cloud()
    turned = turn_up(made, axis)
    np.testing.assert_allclose(turned.points[:, 2], made.points[:, up])
    np.testing.assert_allclose(turned.normals[:, 2], made.normals[:, up])
    corners = turn_up(PointCloud(np.eye(3)), axis).points
    assert np.linalg.det(corners) == pytest.approx(1.0)
    assert turn_up(made, None) is made


@pytest.mark.parametrize("rule", ["first", "random", "farthest"])
def test_rows_stay_together_and_a_seed_repeats(rule):
    made = cloud()
    taken, again = take(made, rule, 20, rng(3)), take(made, rule, 20, rng(3))
    np.testing.assert_array_equal(taken.points, again.points)
    rows = [int(np.flatnonzero((made.points == point).all(axis=1))[0]) for point in taken.points]
    assert len(set(rows)) == 20
    np.testing.assert_array_equal(taken.normals, made.normals[rows])
    np.testing.assert_array_equal(taken.part_label, made.part_label[rows])
    if rule == "first":
        assert rows == list(range(20))
    else:
        assert rows != list(range(20))
        assert not np.array_equal(take(made, rule, 20, rng(4)).points, taken.points)


@pytest.mark.parametrize("rule", ["first", "random", "farthest"])
def test_a_small_cloud_gives_all_its_points_and_then_repeats(rule):
    made = cloud(12)
    taken = take(made, rule, 40, rng()).points
    assert len(taken) == 40
    assert {tuple(point) for point in taken[:12]} == {tuple(point) for point in made.points}
    assert {tuple(point) for point in taken} == {tuple(point) for point in made.points}


def test_farthest_points_of_farthest_points_are_the_same():
    points = cloud(300).points
    start = 17
    many = farthest_point_order(points, 200, start=start)
    np.testing.assert_array_equal(many[farthest_point_order(points[many], 50)], many[:50])
    assert many[0] == start
    rolled = farthest_point_order(np.roll(points, -start, axis=0), 200)
    np.testing.assert_array_equal((rolled + start) % 300, many)


def with_value(value, row=3):
    points = cloud().points.copy()
    points[row, 1] = value
    return points


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (PointCloud(np.zeros((0, 3))), "must be"),
        (PointCloud(np.zeros((5, 2))), "must be"),
        (PointCloud(with_value(np.nan)), "1 points are not finite"),
        (PointCloud(with_value(1e13)), "beyond"),
        (PointCloud(np.ones((9, 3))), "no extent"),
        (PointCloud(cloud().points, cloud().normals[:4]), "normals of the shape"),
        (PointCloud(cloud().points, with_value(np.inf)), "normals: a value is not finite"),
        (PointCloud(cloud().points, None, np.zeros(4, np.int16)), r"part label of the shape \(4,\)"),
    ],
)
def test_what_cannot_be_used_says_why(made, reason):
    with pytest.raises(UnusableShapeError, match=reason):
        check(made)


def scene():
    """A cloud with everything a scene may have."""
    boxes = Boxes(np.array([[5.0, 5, 5]]), np.array([[1.0, 2, 3]]), np.array([0.3]), np.array([4]))
    count = np.arange(50)
    return PointCloud(
        cloud().points,
        colour=np.stack([count, count, count], axis=1).astype(np.uint8),
        intensity=count / 50,
        semantic_label=count % 13,
        instance_label=count * 70_000,
        boxes=boxes,
    )


def test_every_attribute_of_a_point_goes_where_the_point_goes():
    made = check(scene())
    taken = take(made, "random", 20, rng(1))
    rows = taken.colour[:, 0].astype(int)
    np.testing.assert_array_equal(taken.points, made.points[rows])
    np.testing.assert_array_equal(taken.semantic_label, rows % 13)
    np.testing.assert_array_equal(taken.instance_label, rows * 70_000)
    np.testing.assert_allclose(taken.intensity, rows / 50)
    assert taken.boxes is made.boxes and taken.normals is None
    assert take(made, "all", 20, rng(1)) is made


def test_boxes_shrink_with_their_scene():
    made, unit = scene(), normalise(scene())
    factor = np.linalg.norm(made.points[1] - made.points[0]) / np.linalg.norm(unit.points[1] - unit.points[0])
    np.testing.assert_allclose(unit.boxes.size * factor, made.boxes.size)
    np.testing.assert_allclose(unit.boxes.heading, made.boxes.heading)
    ahead = (made.boxes.centre[0] - made.points[0]) / factor
    np.testing.assert_allclose(unit.boxes.centre[0] - unit.points[0], ahead, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": np.zeros((50, 4), np.uint8)}, r"colour of the shape \(50, 4\)"),
        ({"colour": np.full((50, 3), 256)}, "colour: a value is not within 0 to 255"),
        ({"instance_label": np.full(50, 2**40)}, "instance label: a value is not within"),
        ({"intensity": np.full(50, np.nan)}, "intensity: a value is not finite"),
        ({"boxes": replace(scene().boxes, size=np.array([[1.0, 0, 1]]))}, "a box has no size"),
        ({"boxes": replace(scene().boxes, heading=np.zeros(2))}, "boxes have arrays of the shapes"),
        ({"boxes": replace(scene().boxes, centre=np.full((1, 3), np.inf))}, "a number of a box is not finite"),
    ],
)
def test_attributes_that_cannot_be_say_why(change, reason):
    with pytest.raises(UnusableShapeError, match=reason):
        check(replace(scene(), **change))


def test_a_number_that_cannot_be_stored_is_one_shapes_fault_and_stops_no_shard():
    points = np.random.default_rng(0).normal(size=(20, 3))
    for name, value in (("normals", np.full((20, 3), 1e300)), ("intensity", np.full(20, -1e39))):
        with pytest.raises(UnusableShapeError, match="too large for float32"):
            check(PointCloud(points, **{name: value}))
        assert getattr(check(PointCloud(points, **{name: value * 0 + 1e38})), name).max() == pytest.approx(1e38)


def test_attributes_go_with_their_points_into_the_stored_order():
    made = cloud(40)
    assert arrange(made, "sampled") is made
    stored = arrange(made, "farthest_first")
    rows = [int(np.flatnonzero((made.points == point).all(axis=1))[0]) for point in stored.points]
    assert sorted(rows) == list(range(40)) != rows
    np.testing.assert_array_equal(stored.normals, made.normals[rows])
    np.testing.assert_array_equal(stored.part_label, made.part_label[rows])
    np.testing.assert_array_equal(farthest_point_order(stored.points.astype(np.float32), 40), np.arange(40))
