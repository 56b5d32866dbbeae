import numpy as np

from pointlift.geometry.boxes import oriented_iou
from pointlift.geometry.footprints import corners_of, too_near


def rectangles(count, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-2, 2, (count, 2)), rng.uniform(0.1, 2, (count, 2)), rng.uniform(-np.pi, np.pi, count)


def as_boxes(centre, size, heading):
    flat = np.zeros(len(centre))
    return np.column_stack([centre, flat, size, flat + 1.0, heading])


def outline(corners, steps=60):
    """Points along the edges of one rectangle."""
    share = np.linspace(0, 1, steps)[:, None]
    return np.concatenate([(1 - share) * corners[i] + share * corners[(i + 1) % 4] for i in range(4)])


def nearest(one, other):
    return np.linalg.norm(outline(one)[:, None] - outline(other)[None], axis=-1).min()


def test_corners_go_round_counterclockwise():
    corners = corners_of(*rectangles(50, 0))
    following = np.roll(corners, -1, axis=1)
    area = (corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]).sum(axis=1) / 2
    np.testing.assert_allclose(area, rectangles(50, 0)[1].prod(axis=1))


def test_they_overlap_exactly_when_clipping_leaves_some_area():
    first, second = rectangles(80, 1), rectangles(90, 2)
    clipped = oriented_iou(as_boxes(*first), as_boxes(*second)) > 1e-9
    found = too_near(corners_of(*first), corners_of(*second))
    assert 0.1 < clipped.mean() < 0.9
    assert (found == clipped).mean() > 0.999 and (found >= clipped).all()


def test_one_set_against_itself_is_symmetric():
    corners = corners_of(*rectangles(40, 3))
    found = too_near(corners, corners, 0.2)
    assert (found == found.T).all() and found.diagonal().all() and not found.all()


def test_nothing_nearer_than_the_clearance_passes_and_nothing_far_is_refused():
    clearance = 0.3
    first, second = corners_of(*rectangles(30, 4)), corners_of(*rectangles(30, 5))
    refused = too_near(first, second, clearance)
    gaps = np.array([[nearest(one, other) for other in second] for one in first])
    assert gaps[~refused].min() >= clearance
    centres = np.linalg.norm(first.mean(axis=1)[:, None] - second.mean(axis=1)[None], axis=-1)
    reach = np.add.outer(*(np.linalg.norm(each[:, 0] - each[:, 2], axis=-1) / 2 for each in (first, second)))
    far = centres > np.sqrt(2) * (reach + clearance)
    assert far.any() and not refused[far].any()


def test_against_none_nothing_is_too_near():
    assert too_near(corners_of(*rectangles(3, 6)), np.zeros((0, 4, 2))).shape == (3, 0)
