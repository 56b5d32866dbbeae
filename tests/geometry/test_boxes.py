"""Boxes against shapely's polygons, closed forms, and what turning, moving and scaling a scene must not change."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import box as rectangle

from pointlift.geometry import boxes as geometry
from pointlift.geometry.boxes import (
    axis_aligned_iou,
    bounding,
    corners,
    count_inside,
    oriented_iou,
    points_inside,
    volumes,
)

ULP = 1e-12


def random_boxes(count, seed=0, spread=0.7):
    rng = np.random.default_rng(seed)
    centre, edges = rng.normal(0.0, spread, (count, 3)), rng.uniform(0.2, 2.0, (count, 3))
    return np.column_stack([centre, edges, rng.uniform(-7.0, 7.0, count)])


def moved(boxes, angle=0.0, shift=(0.0, 0.0, 0.0), scale=1.0):
    """The boxes of a scene that is scaled, then turned about z, then shifted."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    centre = scale * boxes[:, :3] @ turn.T + np.array(shift)
    return np.column_stack([centre, scale * boxes[:, 3:6], boxes[:, 6] + angle])


def footprint(box):
    x, y, _, long, wide, _, heading = box
    level = rectangle(-long / 2, -wide / 2, long / 2, wide / 2)
    return affinity.translate(affinity.rotate(level, heading, origin=(0, 0), use_radians=True), x, y)


def iou_by_shapely(one, other):
    bottom = max(one[2] - one[5] / 2, other[2] - other[5] / 2)
    top = min(one[2] + one[5] / 2, other[2] + other[5] / 2)
    shared = footprint(one).intersection(footprint(other)).area * max(top - bottom, 0.0)
    return shared / (one[3:6].prod() + other[3:6].prod() - shared)


def test_corners_of_a_box_by_hand():
    """Edges 4, 2, 6 turned by a quarter: 2 along x and 4 along y; the first corner, along both, turns to (-1, 2)."""
    found = corners(np.array([[1.0, 2.0, 3.0, 4.0, 2.0, 6.0, np.pi / 2]]))[0] - [1.0, 2.0, 3.0]
    level = [[-1, 2], [-1, -2], [1, -2], [1, 2]]
    np.testing.assert_allclose(found, [[*xy, z] for z in (-3, 3) for xy in level], atol=1e-12)


def test_corners_are_those_of_shapely():
    for box, found in zip(random_boxes(20), corners(random_boxes(20)), strict=True):
        assert footprint(box).symmetric_difference(type(footprint(box))(found[:4, :2])).area < 1e-12
        np.testing.assert_allclose(found[4:, :2], found[:4, :2])


def test_oriented_iou_is_that_of_shapely_on_1200_pairs():
    one = random_boxes(40)
    other = np.concatenate([random_boxes(20, seed=1), one[:10] + 0.1])
    wanted = np.array([[iou_by_shapely(a, b) for b in other] for a in one])
    assert 400 < (wanted > 0).sum() < 1200
    assert wanted.max() > 0.5
    np.testing.assert_allclose(oriented_iou(one, other), wanted, atol=1e-12)


@pytest.mark.parametrize("tilt", [0.0, 1e-16, 1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("heading", [0.0, 0.3, np.pi / 4, np.pi / 2, 3.0])
def test_nearly_equal_and_nearly_parallel_boxes(heading, tilt):
    """Sides on top of each other, and corners on sides, up to rounding and a little above it."""
    one = np.array([[3.0, -2.0, 1.0, 2.0, 1.0, 0.5, heading]])
    step = np.array([np.cos(heading), np.sin(heading)])
    for along, size in [(0.0, 1.0), (1.0, 1.0), (0.5, 0.5), (0.75, 0.5), (0.0, 2.0)]:
        other = one.copy()
        other[0, :2] += along * step + tilt
        other[0, 3:5] *= size
        other[0, 6] += tilt
        found, wanted = oriented_iou(one, other)[0, 0], iou_by_shapely(one[0], other[0])
        assert abs(found - wanted) < 1e-12, (along, size)


def test_a_box_and_itself():
    boxes = random_boxes(50)
    np.testing.assert_allclose(np.diag(oriented_iou(boxes, boxes)), 1.0, rtol=ULP)
    np.testing.assert_allclose(np.diag(axis_aligned_iou(boxes, boxes)), 1.0, rtol=ULP)
    turned = boxes + np.array([0, 0, 0, 0, 0, 0, np.pi])
    np.testing.assert_allclose(np.diag(oriented_iou(boxes, turned)), 1.0, rtol=ULP)


def test_a_square_turned_by_an_eighth_leaves_an_octagon():
    """A regular octagon around a circle of radius 1/2 has area 2 (sqrt 2 - 1)."""
    one, other = np.array([[0, 0, 0, 1, 1, 1, 0.2]]), np.array([[0, 0, 0, 1, 1, 1, 0.2 + np.pi / 4]])
    octagon = 2 * (np.sqrt(2) - 1)
    assert oriented_iou(one, other)[0, 0] == pytest.approx(octagon / (2 - octagon), abs=1e-14)
    assert axis_aligned_iou(one, other)[0, 0] == 1.0  # which looks at no heading


def test_touching_contained_apart_and_flat():
    unit = np.array([[0.0, 0, 0, 1, 1, 1, 0]])
    others = np.array(
        [
            [1.0, 0, 0, 1, 1, 1, 0],  # shares a face
            [1.0, 1.0, 1.0, 1, 1, 1, 0],  # shares a corner
            [0.5 + np.sqrt(0.5), 0, 0, 1, 1, 1, np.pi / 4],  # a corner on a side
            [0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.7],  # inside
            [5.0, 0, 0, 1, 1, 1, 0.5],  # apart
            [0.0, 0, 3.0, 1, 1, 1, 0],  # above
            [0.0, 0, 0, 1, 0, 1, 0.3],  # flat
            [0.0, 0, 0, 0, 0, 0, 0.3],  # a point
        ]
    )
    found = oriented_iou(unit, others)[0]
    np.testing.assert_allclose(found, [0, 0, 0, 0.125, 0, 0, 0, 0], atol=1e-15)
    np.testing.assert_array_equal(oriented_iou(others[-2:], others[-2:]), np.zeros((2, 2)))
    np.testing.assert_array_equal(axis_aligned_iou(others[-2:], others[-2:]), np.zeros((2, 2)))


def test_a_box_across_another_of_the_same_width():
    """Two sides on two sides, up to rounding: GEOS 3.14 finds two points in the place of the quarter that is shared."""
    one = np.array([[0.0, 1.5, 0.0, 0.5, 0.5, 1.0, -7 * np.pi / 8]])
    other = np.array([[0.0, 1.5, 0.5, 0.5, 1.5, 1.0, 5 * np.pi / 8]])
    assert oriented_iou(one, other)[0, 0] == pytest.approx(0.125 / (0.25 + 0.75 - 0.125), abs=1e-14)


def test_boxes_along_the_axes_have_one_value_in_both_forms():
    one, other = random_boxes(30), random_boxes(20, seed=1)
    one[:, 6], other[:, 6] = 0.0, np.pi * np.arange(20)
    np.testing.assert_allclose(oriented_iou(one, other), axis_aligned_iou(one, other), atol=1e-14)


def test_axis_aligned_iou_by_hand():
    """Shifted by half an edge along each axis: an eighth shared, of 15 eighths."""
    one = np.array([[0.0, 0, 0, 1, 2, 3, 0.4]])
    other = one + np.array([0.5, 1.0, 1.5, 0, 0, 0, 1.0])
    assert axis_aligned_iou(one, other)[0, 0] == pytest.approx(1 / 15)


finite = st.floats(-20.0, 20.0)


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(-10, 10),
    shift=st.tuples(finite, finite, finite),
    scale=st.floats(0.05, 20),
    seed=st.integers(0, 99),
)
def test_a_moved_scene_keeps_every_iou(angle, shift, scale, seed):
    one, other = random_boxes(6, seed), random_boxes(5, seed + 100)
    before = oriented_iou(one, other)
    there = moved(one, angle, shift, scale), moved(other, angle, shift, scale)
    np.testing.assert_allclose(oriented_iou(*there), before, atol=1e-10)
    np.testing.assert_allclose(oriented_iou(other, one).T, before, atol=1e-13)
    assert (before >= 0).all()
    assert (before <= 1 + 1e-13).all()


def test_many_pairs_are_those_of_few(monkeypatch):
    one, other = random_boxes(20), random_boxes(15, seed=1)
    wanted = oriented_iou(one, other)
    monkeypatch.setattr(geometry, "_PAIRS_AT_ONCE", 7)
    np.testing.assert_array_equal(oriented_iou(one, other), wanted)


def test_bounding_boxes_touch_the_corners():
    boxes = random_boxes(30)
    around, places = bounding(boxes), corners(boxes)
    np.testing.assert_allclose(around[:, :3] - around[:, 3:6] / 2, places.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(around[:, :3] + around[:, 3:6] / 2, places.max(axis=1), atol=1e-12)
    assert not around[:, 6].any()


def test_points_are_inside_by_the_planes_of_the_faces():
    """A point is inside if it is on the inner side of the plane through each face, made of corners alone."""
    boxes, points = random_boxes(8), np.random.default_rng(3).normal(size=(500, 3))
    inside = points_inside(points, boxes)
    for box, found in zip(corners(boxes), inside, strict=True):
        first = box[0]
        along = np.stack([box[1] - first, box[3] - first, box[4] - first])
        share = (points - first) @ along.T / (along**2).sum(axis=1)
        np.testing.assert_array_equal(found, ((share >= 0) & (share <= 1)).all(axis=1))
    assert 100 < inside.sum() < 2000
    np.testing.assert_array_equal(count_inside(points, boxes), inside.sum(axis=1))


def test_faces_belong_to_the_box():
    box = np.array([[1.0, 0, 0, 2, 2, 2, 0]])
    points = np.array([[0.0, 0, 0], [2.0, 1, 1], [2.0 + 1e-9, 0, 0], [-1e-9, 0, 0]], dtype=np.float64)
    assert points_inside(points, box).tolist() == [[True, True, False, False]]
    assert count_inside(points, box).tolist() == [2]


def test_points_on_faces_far_from_the_origin_are_counted_alike():
    """What a box may look at is a little wider than the box: rounding of its bounds loses no point."""
    boxes = random_boxes(40)
    boxes[:, :3] += 1000.0
    boxes[::2, 6] = np.pi / 2 * np.arange(20)
    inward = np.nextafter(corners(boxes), boxes[:, None, :3])
    points = np.concatenate([corners(boxes).reshape(-1, 3), inward.reshape(-1, 3)])
    inside = points_inside(points, boxes)
    assert inside.sum() > 160
    np.testing.assert_array_equal(count_inside(points, boxes), inside.sum(axis=1))
    rounded = points.astype(np.float32)
    np.testing.assert_array_equal(count_inside(rounded, boxes), points_inside(rounded, boxes).sum(axis=1))


def test_share_of_points_is_that_of_volume():
    boxes = random_boxes(5)
    points = np.random.default_rng(0).uniform(-5.0, 5.0, (400_000, 3)).astype(np.float32)
    wanted = 400.0 * volumes(boxes)
    assert (np.abs(count_inside(points, boxes) - wanted) < 4 * np.sqrt(wanted)).all()


def test_many_points_need_no_memory_for_every_box(monkeypatch):
    points = np.random.default_rng(0).uniform(-5.0, 5.0, (300_000, 3)).astype(np.float32)
    boxes = random_boxes(40)
    tracemalloc.start()
    count_inside(points, boxes)
    counted = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    monkeypatch.setattr(geometry, "_POINTS_AT_ONCE", 10_000)
    inside = points_inside(points, boxes)
    told = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counted < 60 * len(points)  # 40 boxes with three coordinates in float64 would be 960 bytes a point
    assert told < inside.nbytes + 2_000_000
    np.testing.assert_array_equal(inside.sum(axis=1), count_inside(points, boxes))


def test_no_boxes_and_no_points():
    none, some = np.zeros((0, 7)), random_boxes(3)
    assert oriented_iou(none, some).shape == (0, 3)
    assert axis_aligned_iou(some, none).shape == (3, 0)
    assert corners(none).shape == (0, 8, 3)
    assert points_inside(np.zeros((0, 3)), some).shape == (3, 0)
    assert count_inside(np.zeros((0, 3)), some).tolist() == [0, 0, 0]
    assert count_inside(np.zeros((2, 3)), none).shape == (0,)


@pytest.mark.parametrize(
    "boxes", [np.zeros((2, 6)), np.zeros(7), np.full((1, 7), np.nan), np.array([[0.0, 0, 0, 1, -1, 1, 0]])]
)
def test_what_is_no_box_is_refused(boxes):
    with pytest.raises(ValueError, match="boxes are"):
        corners(boxes)
