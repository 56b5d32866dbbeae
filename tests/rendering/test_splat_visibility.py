"""What cameras see of points alone: against the mesh they lie on, by rays, and against a sphere's closed form."""

import numpy as np
import pytest

from pointlift.contracts.rig_blocks import Cameras, CloudVisibility
from pointlift.contracts.shards import Shard, check
from pointlift.contracts.stages import STAGES
from pointlift.geometry import cameras
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from pointlift.geometry.visibility import depth_by_rays, visible_by_rays
from pointlift.rendering.point_visibility import see_shapes
from pointlift.rendering.points import Settings
from rendering import subjects

RIG = Cameras()
METHODS = ("hidden_points", "rays", "z_buffer")
POSITIONS = cameras.camera_positions(cameras.world_to_camera(RIG))


class RayDepth:
    """A renderer's depth, by rays: these tests need no OpenGL."""

    def __init__(self):
        self.world_to_camera, self.intrinsics = cameras.world_to_camera(RIG), cameras.intrinsics(RIG, 96)

    def depth(self, vertices, faces):
        return depth_by_rays(vertices, faces, self.world_to_camera, self.intrinsics, 96)


def cloud(name, count=1024):
    """Points of a subject as a shard, in the unit sphere; and what rays against its mesh say: (V, N) bool."""
    vertices, faces = getattr(subjects, name)()
    points, _, normals = sample_surface(Mesh(vertices, faces), count, np.random.default_rng(0))
    arrays = {"points": points, "point_offsets": np.array([0, count]), "normals": normals, "valid": np.array([True])}
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max()
    placed = (vertices - centre) / radius, faces, (points - centre) / radius
    return Shard((name,), arrays), visible_by_rays(*placed, POSITIONS, 0.005), placed[2]


def seen(shard, method, *, normals=True, **visibility):
    rig = Settings(kind="points", cameras=RIG, visibility=CloudVisibility(method=method, **visibility))
    if not normals:
        shard = Shard(shard.ids, {name: array for name, array in shard.arrays.items() if name != "normals"})
    arrays = see_shapes(rig, shard, shard, RayDepth)
    check("visibility", STAGES["visibility"], Shard(shard.ids, arrays))
    return np.unpackbits(arrays["visible"][0], axis=-1, count=int(arrays["num_points"][0])).astype(bool)


@pytest.mark.parametrize(("method", "agreement"), [("hidden_points", 0.95), ("rays", 0.88), ("z_buffer", 0.9)])
@pytest.mark.parametrize("normals", [True, False])
def test_of_a_sphere_the_points_that_look_at_the_camera_are_seen(method, agreement, normals):
    shard, _, points = cloud("sphere")
    expected = np.einsum("vnd,nd->vn", POSITIONS[:, None] - points, points) > 0  # n . (camera - p) > 0, with n = p
    found = seen(shard, method, normals=normals)
    assert np.mean(found == expected) > agreement - 0.02 * (not normals)
    assert np.mean(found == ~expected) < 0.2


# Measured on six views of 19 shapes (these three, 16 procedural ones), as the defaults are: agreement of 256, 1,024 and
# 4,096 points with the rays of their mesh. hidden_points .80 .89 .91; with normals rays .78 .85 .89, z_buffer .78 .85
# .90; without .75 .82 .88 and .75 .82 .87. hidden_points with factor 10: .84 .87 .88, with factor 100: .65 .85 .92.
@pytest.mark.parametrize(
    ("name", "method", "agreement"),
    [
        ("torus", "hidden_points", 0.90), ("torus", "rays", 0.85), ("torus", "z_buffer", 0.90),
        ("chair", "hidden_points", 0.80), ("chair", "rays", 0.78), ("chair", "z_buffer", 0.78),
    ],
)  # fmt: skip
def test_points_alone_say_what_their_mesh_says(name, method, agreement):
    shard, expected, _ = cloud(name)
    found = seen(shard, method)
    assert np.mean(found == expected) > agreement
    assert np.mean(np.roll(found, 3, axis=0) == expected) < agreement - 0.1 or name == "torus"


@pytest.mark.parametrize("method", METHODS)
def test_neither_units_nor_place_nor_normals_signs_matter(method):
    shard = subjects.points(512)
    flipped = Shard(shard.ids, {**shard.arrays, "normals": -shard["normals"]})
    before = seen(shard, method)
    assert np.array_equal(seen(flipped, method), before)
    assert np.mean(seen(subjects.points(512, unit=64.0, shift=128.0), method) == before) > 0.99


@pytest.mark.parametrize("method", METHODS)
def test_clouds_without_a_surface_and_invalid_ones_are_not_valid(method):
    two = np.repeat(np.array([[0.0, 0, 0], [0, 0, 1]], np.float32), 20, axis=0)
    good = sample_surface(Mesh(*subjects.sphere(2)), 40, np.random.default_rng(0))[0]
    arrays = {"points": np.concatenate([two, good]), "point_offsets": np.array([0, 40, 80, 80])}
    shard = Shard(("two", "ball", "none"), arrays | {"valid": np.array([True, True, False])})
    found = see_shapes(
        Settings(kind="points", cameras=RIG, visibility=CloudVisibility(method=method)), shard, shard, RayDepth
    )
    usable = method == "hidden_points"  # which needs no surface
    assert found["valid"].tolist() == [usable, True, False]
    assert found["num_points"].tolist() == [40 * usable, 40, 0]
    assert found["visible"][1].any() and (usable or not found["visible"][0].any())


@pytest.mark.parametrize("method", METHODS)
def test_points_that_are_not_drawn_are_judged_too(method):
    shard = subjects.points(600)
    rig = Settings(kind="points", cameras=RIG, max_points=400, visibility=CloudVisibility(method=method))
    arrays = see_shapes(rig, shard, shard, RayDepth)
    assert arrays["num_points"].tolist() == [600]
    assert 0.1 < np.unpackbits(arrays["visible"][0], axis=-1, count=600).mean() < 0.9
