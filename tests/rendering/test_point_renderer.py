"""Pictures of points against closed forms, ray tracing, and pictures of the mesh that the points lie on."""

from pathlib import Path

import numpy as np
import pytest

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.rig_blocks import Cameras, CloudVisibility
from pointlift.contracts.settings import parse
from pointlift.geometry import cameras
from pointlift.geometry.visibility import depth_by_rays
from pointlift.rendering.points import Settings, depth_pictures
from pointlift.rendering.surfaces import cloud_of, surface_of
from pointlift.rooms import settings_class
from rendering import subjects

RIG = Cameras(num_views=4)
PICTURES = ("splats", "depth", "bright")


@pytest.fixture(scope="module")
def photos(render_process, tmp_path_factory):
    """Two independent runs of splat_session.py, each a dict of arrays."""
    folder, runs = tmp_path_factory.mktemp("splats"), []
    for name in ("first.npz", "second.npz"):
        done = render_process(Path(__file__).parent / "splat_session.py", folder / name)
        assert done.returncode == 0, done.stderr
        with np.load(folder / name) as arrays:
            runs.append(dict(arrays))
    return runs


@pytest.mark.render
def test_two_processes_give_the_same_bytes(photos):
    first, second = photos
    assert sorted(first) == sorted(second)
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.render
@pytest.mark.parametrize("picture", PICTURES)
def test_a_spheres_foreground_is_the_area_of_its_outline(photos, picture):
    # From distance d a circle of radius f / sqrt(d^2 - 1); the discs stand out over it by a little.
    focal = 0.5 / np.tan(np.radians(RIG.field_of_view_degrees) / 2)
    area = np.pi * focal**2 / (RIG.distance**2 - 1)
    assert np.allclose(photos[0][f"sphere.{picture}.foreground"], 1.03 * area, rtol=0.03)


@pytest.mark.render
def test_depth_is_what_rays_through_the_pixel_centres_meet(photos):
    surface = surface_of(Settings(kind="points", cameras=RIG), subjects.points(2048), 0)
    matrices, pinhole = cameras.world_to_camera(RIG), cameras.intrinsics(RIG, 96)
    expected = depth_by_rays(surface.vertices, surface.faces, matrices, pinhole, 96)
    found = photos[0]["chair.range"]
    wrong = np.isfinite(expected) != np.isfinite(found)
    both = np.isfinite(expected) & np.isfinite(found)
    wrong[both] = np.abs(expected[both] - found[both]) > 0.005
    assert both.mean() > 0.05 and wrong.mean() <= 0.002


@pytest.mark.render
def test_the_grey_of_a_depth_picture_is_the_depth_of_the_sphere(photos):
    # A ray whose square at depth 1 is 1 + slope meets the unit sphere, seen from 2.7, where this polynomial is 0.
    images, shown = photos[0]["sphere.depth"], np.isfinite(photos[0]["sphere.range"])
    assert (images[~shown] == 255).all() and (images[shown] <= round(255 * 0.8)).all()
    y, x = np.mgrid[:96, :96] + 0.5 - 48
    slope = (x**2 + y**2) / cameras.intrinsics(RIG, 96)[0, 0] ** 2
    root = 2.7**2 - (1 + slope) * (2.7**2 - 1)
    depth = (2.7 - np.sqrt(np.maximum(root, 0))) / (1 + slope)
    off = np.abs(images[..., 0] - 255 * 0.8 * (depth - 1.7) / 2)[:, root > 0.3]
    assert (off < 2).mean() > 0.95 and np.median(off) < 1
    assert np.array_equal(photos[0]["sphere.bright"], 255 - images)


def test_depth_pictures_have_one_scale():
    depth = np.array([[[1.7, 2.7], [3.7, np.inf]]], dtype=np.float32)
    assert depth_pictures(depth, 2.7, "dark")[0, ..., 0].tolist() == [[0, 102], [204, 255]]
    assert depth_pictures(depth, 2.7, "bright")[0, ..., 1].tolist() == [[255, 153], [51, 0]]
    assert depth_pictures(depth, 2.7, "dark").dtype == np.uint8


@pytest.mark.render
@pytest.mark.parametrize("picture", PICTURES)
def test_units_and_place_of_a_cloud_change_nothing(photos, picture):
    unit, metres = (photos[0][f"chair.{name}.{picture}"].astype(int) for name in ("unit", "metres"))
    assert (np.abs(unit - metres) > 2).mean() < 0.005  # float32 in metres, far off: outlines move by rounding


@pytest.mark.render
@pytest.mark.parametrize(("name", "alike"), [("unit", 0.6), ("bare", 0.25)])
def test_splats_are_a_picture_of_the_mesh(photos, name, alike):
    mesh, splats = photos[0]["chair.mesh"].astype(int), photos[0][f"chair.{name}.splats"].astype(int)

    def shared(one, other):
        return ((one < 255) & (other < 255)).sum() / ((one < 255) | (other < 255)).sum()

    assert shared(mesh, splats) > 0.75
    assert shared(mesh, np.roll(splats, 1, axis=0)) < shared(mesh, splats) - 0.1
    on_both = (mesh < 255) & (splats < 255)
    # Lit alike; points without normals tell those of legs and boards, thinner than their spacing, only roughly.
    assert np.corrcoef(mesh[on_both], splats[on_both])[0, 1] > alike


def test_at_most_so_many_points_are_drawn_and_which_the_id_alone_says():
    rig = Settings(kind="points", max_points=500)
    shard = subjects.points(2048)
    first = surface_of(rig, shard, 0)
    assert len(first.faces) == 500 * 4
    assert np.array_equal(first.vertices, surface_of(rig, shard, 0).vertices)
    other = surface_of(rig, type(shard)(("table",), shard.arrays), 0)
    assert not np.array_equal(first.vertices, other.vertices)
    assert len(surface_of(Settings(kind="points"), shard, 0).faces) == 2048 * 4


def test_clouds_are_drawn_in_the_unit_sphere():
    points, normals = cloud_of(Settings(kind="points"), subjects.points(300, unit=90.0, shift=-40.0), 0)
    assert np.isclose(np.linalg.norm(points, axis=1).max(), 1.0)
    assert np.allclose(points.min(axis=0), -points.max(axis=0))
    assert np.array_equal(normals, subjects.points(300)["normals"])


def test_the_word_for_the_picture_is_the_rigs_image_source():
    assert Settings(kind="points").image_source() == "splats"
    assert Settings(kind="points", picture="depth").image_source() == "depth"
    assert settings_class("rendering", "mesh")(kind="mesh").image_source() is None


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"picture": "depth", "albedo": 0.5}, "albedo changes nothing in a picture of depth; leave it out"),
        ({"picture": "splats", "near": "bright"}, "near changes nothing in a picture of splats; leave it out"),
        ({"picture": "sketch"}, "rigs.r.picture: 'sketch' is not allowed"),
        ({"splat_size": 0}, "rigs.r.splat_size: 0"),
    ],
)
def test_what_changes_nothing_is_a_mistake(block, message):
    with pytest.raises(ConfigError) as caught:
        parse(settings_class("rendering", "points"), {"kind": "points", **block}, "rigs.r")
    assert message in str(caught.value)


def test_a_block_that_says_its_defaults_is_the_same_block():
    # Jobs carry every key of a rig.
    rig = Settings(kind="points", picture="depth")
    again = parse(settings_class("rendering", "points"), rig.model_dump(mode="json"), "rig")
    assert again.model_dump() == rig.model_dump()
    assert rig.visibility == CloudVisibility()
