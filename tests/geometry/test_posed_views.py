"""Posed pictures: cutting and scaling keep projections, depth maps say what rays say, and what is none is refused."""

from dataclasses import replace

import numpy as np
import pytest

from frame_layouts import look_at, pinhole, room
from pointlift.contracts.dataset import PosedViews
from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.cameras import pixel_rays, project
from pointlift.geometry.posed_views import centre_square, check, scaled, visible_on_depth
from pointlift.geometry.visibility import depth_by_rays, visible_by_rays

EYES = ([0.5, 0.6, 1.5], [0.7, 3.4, 1.2])


def views_of(surface, eyes=EYES, size=(60, 84), focal=70.0):
    """Pictures of a surface, each pixel's colours telling its own place."""
    poses = np.stack([look_at(eye, [2.9, 1.9, 0.7]) for eye in eyes])
    transform, camera = np.linalg.inv(poses), pinhole(size, focal)
    depth = depth_by_rays(*surface, transform, camera, size)
    row, column = np.indices(size)
    images = np.stack([row, column, row + column], axis=-1).astype(np.uint8)
    return PosedViews(np.stack([images] * len(eyes)), depth, transform, np.stack([camera] * len(eyes)))


@pytest.mark.parametrize("size", [(60, 84), (85, 60), (61, 61)])
def test_the_square_shows_what_it_showed_and_scaling_scales_pixels(size):
    views = views_of(room(), size=size)
    square, points = centre_square(views), np.random.default_rng(0).random((200, 3)) * [5, 4, 2.6]
    side, (top, left) = min(size), ((size[0] - min(size)) // 2, (size[1] - min(size)) // 2)
    assert square.images.shape == (2, side, side, 3) and square.depth.shape == (2, side, side)
    np.testing.assert_array_equal(square.images[0, :, :, 0], np.indices((side, side))[0] + top)
    np.testing.assert_array_equal(square.images[0, :, :, 1], np.indices((side, side))[1] + left)
    for view in range(2):
        pose = views.world_to_camera[view : view + 1]
        whole, depth = project(points, pose, views.intrinsics[view])
        cut, same = project(points, pose, square.intrinsics[view])
        np.testing.assert_allclose(cut, whole - [left, top], atol=1e-9)
        np.testing.assert_array_equal(same, depth)
        small, _ = project(points, pose, scaled(square.intrinsics, 0.4)[view])
        np.testing.assert_allclose(small, (whole - [left, top]) * 0.4, atol=1e-9)


def test_points_of_a_depth_map_are_seen_there_and_behind_it_nothing_is():
    views = views_of(room())
    for view in range(2):
        one = replace(views, **{name: getattr(views, name)[view : view + 1] for name in vars(views)})
        ray = pixel_rays(one.world_to_camera, one.intrinsics[0], one.depth.shape[1:])[0]
        eye = np.array(EYES[view])
        seen = np.isfinite(one.depth[0])
        assert seen.mean() > 0.7
        shown = (eye + one.depth[0][..., None] * ray)[seen]
        assert visible_on_depth(shown, one, 1e-4).all()
        beyond = (eye + (one.depth[0][..., None] + 0.06) * ray)[seen]
        nearer = (eye + (one.depth[0][..., None] - 0.06) * ray)[seen]
        for moved in (beyond, nearer):
            assert not visible_on_depth(moved, one, 0.05).any()
            assert visible_on_depth(moved, one, 0.07).all()
        assert not visible_on_depth(2 * eye - shown, one, 0.05).any()  # behind the camera
        nothing = replace(one, depth=np.full_like(one.depth, np.inf))
        assert not visible_on_depth(shown, nothing, 1.0).any()


def test_behind_a_block_the_depth_map_says_what_rays_say():
    """Away from the edges of the picture: there the pixel that a point falls into may be of another surface."""
    surface, views = room(), views_of(room(), size=(240, 336), focal=280.0)
    rng = np.random.default_rng(1)
    wall = np.column_stack([np.full(3000, 5.0), 4 * rng.random(3000), 2.6 * rng.random(3000)])
    floor = np.column_stack([5 * rng.random(3000), 4 * rng.random(3000), np.zeros(3000)])
    block = np.column_stack([np.full(800, 2.2), 1.5 + 0.8 * rng.random(800), 0.9 * rng.random(800)])
    under = (np.abs(floor[:, :2] - [2.8, 1.9]) < [0.7, 0.5]).all(axis=1)  # nearer to its sides than the tolerance
    points = np.concatenate([wall, floor[~under], block])
    truth = visible_by_rays(*surface, points, np.array(EYES), 0.01)
    found = visible_on_depth(points, views, 0.06)
    compared = 0
    for view in range(2):
        pixels, _ = project(points, views.world_to_camera[view : view + 1], views.intrinsics[view])
        inside = ((pixels[0] >= 2) & (pixels[0] < np.array([336, 240]) - 2)).all(axis=1)
        column, row = np.where(inside[:, None], np.floor(pixels[0]), 2).astype(int).T
        around = np.stack([views.depth[view, row + i, column + j] for i in (-2, 0, 2) for j in (-2, 0, 2)])
        calm = inside & (np.ptp(around, axis=0) < 0.25)
        hidden, shown = (~truth[view] & calm).sum(), (truth[view] & calm).sum()
        assert hidden > 200 and shown > 1000
        assert calm.sum() > 0.85 * inside.sum()
        np.testing.assert_array_equal(found[view, calm], truth[view, calm])
        compared += calm.sum()
    assert compared > 5000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": lambda a: a.astype(float)}, "pictures are float64"),
        ({"images": lambda a: a[..., 0]}, r"must be uint8 \(V, H, W, 3\)"),
        ({"images": lambda a: a[:, :0]}, "must be uint8"),
        ({"depth": lambda a: a[:, 1:]}, r"depth has the shape \(2, 59, 84\), must be \(2, 60, 84\)"),
        ({"depth": lambda a: np.where(a == a.max(), 0, a)}, "not in front of the camera"),
        ({"depth": lambda a: np.where(a == a.max(), np.nan, a)}, "a value is NaN"),
        ({"world_to_camera": lambda a: a[:1]}, "world_to_camera has the shape"),
        ({"world_to_camera": lambda a: a * np.inf}, "not finite: the camera was lost"),
        ({"world_to_camera": lambda a: a * [[2.0], [2], [2], [1]]}, "no rotation and translation"),
        ({"world_to_camera": lambda a: a * [[-1.0], [1], [1], [1]]}, "no rotation and translation"),
        ({"intrinsics": lambda a: -a}, "no pinhole camera"),
        ({"intrinsics": lambda a: a * np.nan}, "no pinhole camera"),
        ({"intrinsics": lambda a: np.where(a == 0, 70.0, a)}, "no pinhole camera"),
        ({"intrinsics": lambda a: np.maximum(a, [[70], [70], [0]])}, "no pinhole camera"),  # it has no inverse
    ],
)
def test_what_is_no_posed_picture_is_refused(changes, reason):
    views = views_of(room())
    check(replace(views, depth=np.where(views.depth > 3, np.inf, views.depth)))
    with np.errstate(invalid="ignore"):
        broken = replace(views, **{name: change(getattr(views, name)) for name, change in changes.items()})
    with pytest.raises(UnusableShapeError, match=reason):
        check(broken)
