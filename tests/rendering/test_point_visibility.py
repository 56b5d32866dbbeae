"""A shard of visibility: bits, empty rows, and the mistakes it refuses. Rays and hidden points need no OpenGL."""

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.rig_blocks import Cameras, Visibility
from pointlift.contracts.shards import Shard, check
from pointlift.contracts.stages import STAGES, pack, read_stages, write_stage
from pointlift.geometry import cameras
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from pointlift.geometry.visibility import visible_by_rays
from pointlift.rendering.mesh import Settings
from pointlift.rendering.point_visibility import see_shapes
from rendering import subjects

RIG = Settings(kind="mesh", cameras=Cameras(num_views=3))
NUM_POINTS = 101  # not a multiple of 8


def shards(counts=(NUM_POINTS, 0, NUM_POINTS), meshes_valid=(True, True, False), points_valid=(True, False, True)):
    ids = ("a", "b", "c")
    surfaces = [subjects.sphere(2), subjects.torus(), subjects.sphere(1)]
    clouds = [
        sample_surface(Mesh(*surface), max(count, 1), np.random.default_rng(0))
        for surface, count in zip(surfaces, counts, strict=True)
    ]
    vertices, vertex_offsets = pack([np.asarray(surface[0], np.float32) for surface in surfaces])
    faces, face_offsets = pack([np.asarray(surface[1], np.int32) for surface in surfaces])
    points, point_offsets = pack([cloud[0][:count] for cloud, count in zip(clouds, counts, strict=True)])
    normals, _ = pack([cloud[2][:count] for cloud, count in zip(clouds, counts, strict=True)])
    meshes = {"vertices": vertices, "vertex_offsets": vertex_offsets, "faces": faces, "face_offsets": face_offsets}
    meshes["valid"] = np.array(meshes_valid)
    cloud_arrays = {"points": points, "point_offsets": point_offsets, "normals": normals}
    cloud_arrays["valid"] = np.array(points_valid)
    return Shard(ids, meshes), Shard(ids, cloud_arrays)


def no_renderer():
    raise AssertionError("rays and hidden points need no renderer")


@pytest.mark.parametrize("method", ["rays", "hidden_points"])
def test_a_shape_that_is_not_valid_in_either_input_stays_so(method):
    rig = Settings(kind="mesh", cameras=RIG.cameras, visibility=Visibility(method=method))
    meshes, points = shards()
    arrays = see_shapes(rig, meshes, points, no_renderer)
    check("visibility", STAGES["visibility"], Shard(points.ids, arrays))
    assert arrays["valid"].tolist() == [True, False, False]
    assert arrays["num_points"].tolist() == [NUM_POINTS, 0, 0]
    assert arrays["visible"].shape == (3, 3, 13)
    assert not arrays["visible"][1:].any()


def test_bits_are_the_rays_in_numpys_order():
    meshes, points = shards()
    arrays = see_shapes(RIG, meshes, points, no_renderer)
    unpacked = np.unpackbits(arrays["visible"][0], axis=-1, count=NUM_POINTS).astype(bool)
    positions = cameras.camera_positions(cameras.world_to_camera(RIG.cameras))
    vertices, faces = subjects.sphere(2)
    expected = visible_by_rays(vertices.astype(np.float32), faces, points["points"][:NUM_POINTS], positions, 0.005)
    assert np.array_equal(unpacked, expected)
    assert 0 < expected.mean() < 1


def test_shapes_with_different_numbers_of_points_are_refused():
    meshes, points = shards((50, 60, 50), (True,) * 3, (True,) * 3)
    with pytest.raises(ArtifactError, match=r"\[50, 60\]"):
        see_shapes(RIG, meshes, points, no_renderer)


def test_a_shard_without_any_usable_shape_is_empty():
    meshes, points = shards(meshes_valid=(False,) * 3)
    arrays = see_shapes(RIG, meshes, points, no_renderer)
    assert not arrays["valid"].any()
    assert arrays["num_points"].tolist() == [0, 0, 0]


def test_a_shard_without_any_usable_shape_joins_the_others(tmp_path):
    for name, valid in (("0000", (True, False, True)), ("0001", (False,) * 3)):
        meshes, points = shards(meshes_valid=valid, points_valid=(True,) * 3, counts=(NUM_POINTS,) * 3)
        ids = [f"{shape_id}{name}" for shape_id in points.ids]
        write_stage(tmp_path / name, "visibility", ids, see_shapes(RIG, meshes, points, no_renderer), quarantine={})
    joined = read_stages([tmp_path / "0000", tmp_path / "0001"], "visibility")
    assert joined["visible"].shape == (6, 3, 13)
    assert joined["valid"].tolist() == [True, False, True, False, False, False]
    assert not joined["visible"][~joined["valid"]].any()
    assert joined["visible"][0].any()


def test_other_shapes_ids_are_refused():
    meshes, points = shards()
    with pytest.raises(ArtifactError, match="same shapes"):
        see_shapes(RIG, meshes, Shard(("a", "b", "x"), points.arrays), no_renderer)


@pytest.mark.parametrize("method", ["rays", "hidden_points", "z_buffer"])
def test_points_without_normals_are_seen_where_the_method_needs_none(method):
    rig = Settings(kind="mesh", cameras=RIG.cameras, visibility=Visibility(method=method))
    meshes, points = shards()
    bare = Shard(points.ids, {name: array for name, array in points.arrays.items() if name != "normals"})
    if method == "z_buffer":
        with pytest.raises(ArtifactError, match="needs points with normals"):
            see_shapes(rig, meshes, bare, no_renderer)
        return
    np.testing.assert_array_equal(
        see_shapes(rig, meshes, bare, no_renderer)["visible"], see_shapes(rig, meshes, points, no_renderer)["visible"]
    )
