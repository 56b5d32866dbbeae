"""sample_points: points lie on their faces, and depend on the shape's id and the seed alone."""

from argparse import Namespace

import numpy as np
import pytest
import trimesh

import prepare_meshes
import sample_points
from pointlift.contracts.stages import read_stage, read_stages, unpack, write_stage
from pointlift.geometry.sampling import farthest_point_order

BLOCK = {"kind": "procedural", "protocol": "test/one", "series": "s", "shapes_per_class": 1}
IDS = ["bed-s-00000", "cup-s-00000", "sofa-s-00000"]


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    path = tmp_path_factory.mktemp("meshes") / "0000.safetensors"
    prepare_meshes.main(Namespace(settings={"block": BLOCK, "ids": IDS}, folder=None, output=path))
    return path


def sample(meshes, output, num_points=200, seed=0, order="sampled", **scan):
    settings = {"num_points": num_points, "seed": seed, "scan": scan, "order": order}
    sample_points.main(Namespace(settings=settings, meshes=meshes, output=output))
    return output


def test_points_lie_on_their_faces_with_their_normals_and_parts(tmp_path, meshes):
    source = read_stage(meshes, "meshes")
    shard = read_stage(sample(meshes, tmp_path / "points"), "points", IDS)
    assert np.diff(shard["point_offsets"]).tolist() == [200] * 3 and shard["valid"].all()
    per_shape = zip(
        *(unpack(source[name], source[f"{axis}_offsets"]) for name, axis in
          (("vertices", "vertex"), ("faces", "face"), ("part_label", "face"))),
        *(unpack(shard[name], shard["point_offsets"]) for name in ("points", "face_index", "normals", "part_label")),
        strict=True,
    )  # fmt: skip
    for vertices, faces, parts, points, face_index, normals, labels in per_shape:
        corners = vertices[faces[face_index]]
        np.testing.assert_allclose(np.einsum("nd,nd->n", points - corners[:, 0], normals), 0.0, atol=1e-5)
        np.testing.assert_array_equal(labels, parts[face_index])


def test_a_points_part_is_that_of_the_face_it_lies_on(tmp_path, meshes):
    """Found by distance alone, without the face index; parts touch, so some points lie on two of them."""
    source, shard = read_stage(meshes, "meshes"), read_stage(sample(meshes, tmp_path / "points", 1000), "points")
    row = IDS.index("sofa-s-00000")
    vertices, faces = (unpack(source[name], source[f"{axis}_offsets"])[row] for name, axis in
                       (("vertices", "vertex"), ("faces", "face")))  # fmt: skip
    points, found = (unpack(shard[name], shard["point_offsets"])[row] for name in ("points", "part_label"))
    parts = unpack(source["part_label"], source["face_offsets"])[row]
    triangles, rows = np.tile(vertices[faces], (1000, 1, 1)), np.repeat(points, len(faces), axis=0)
    away = np.linalg.norm(trimesh.triangles.closest_point(triangles, rows) - rows, axis=1).reshape(1000, -1)
    allowed = [set(parts[near]) for near in away < 1e-5]
    assert all(label in own for label, own in zip(found, allowed, strict=True))
    assert np.mean([len(own) == 1 for own in allowed]) > 0.6 and len(set(found)) > 3


def test_the_same_bytes_twice_and_the_same_points_at_any_shard_size(tmp_path, meshes):
    scan = {"num_views": 2, "noise": 0.01}
    whole = sample(meshes, tmp_path / "whole", **scan)
    assert whole.read_bytes() == sample(meshes, tmp_path / "again", **scan).read_bytes()
    parts = []
    for cut, ids in enumerate((IDS[:1], IDS[1:])):
        path = tmp_path / f"meshes{cut}"
        prepare_meshes.main(Namespace(settings={"block": BLOCK, "ids": ids}, folder=None, output=path))
        parts.append(sample(path, tmp_path / f"points{cut}", **scan))
    first, second = read_stage(whole, "points"), read_stages(parts, "points")
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second[name])


def test_another_seed_gives_other_points(tmp_path, meshes):
    first = read_stage(sample(meshes, tmp_path / "a"), "points")["points"]
    second = read_stage(sample(meshes, tmp_path / "b", seed=1), "points")["points"]
    assert np.abs(first - second).max(axis=1).min() > 0


def test_noise_moves_points_by_its_size(tmp_path, meshes):
    source = read_stage(meshes, "meshes")
    shard = read_stage(sample(meshes, tmp_path / "noisy", num_points=2000, noise=0.02), "points")
    offsets = source["face_offsets"].repeat(1)[:-1].repeat(np.diff(shard["point_offsets"]))
    shift = source["vertex_offsets"][:-1].repeat(np.diff(shard["point_offsets"]))
    corner = source["vertices"][source["faces"][shard["face_index"] + offsets][:, 0] + shift]
    distance = np.einsum("nd,nd->n", shard["points"] - corner, shard["normals"])
    assert distance.std() == pytest.approx(0.02, rel=0.05)


def test_a_shape_without_mesh_stays_without_points(tmp_path, meshes):
    source = read_stage(meshes, "meshes")
    arrays = dict(source.arrays)
    arrays["valid"] = np.array([True, False, True])
    attributes = {**source.attributes, "quarantine": {IDS[1]: "no good"}}
    write_stage(tmp_path / "partly", "meshes", IDS, arrays, **attributes)
    shard = read_stage(sample(tmp_path / "partly", tmp_path / "points"), "points", IDS)
    assert shard["valid"].tolist() == [True, False, True]
    assert np.diff(shard["point_offsets"]).tolist() == [200, 0, 200]
    assert shard.attributes["quarantine"] == {}


def test_farthest_first_stores_the_same_points_in_another_order_with_all_that_belongs_to_them(tmp_path, meshes):
    sampled = read_stage(sample(meshes, tmp_path / "a"), "points")
    stored = read_stage(sample(meshes, tmp_path / "b", order="farthest_first"), "points")
    for shape in range(3):
        rows = slice(*sampled["point_offsets"][shape : shape + 2])
        order = farthest_point_order(sampled["points"][rows], 200)
        assert sorted(order) == list(range(200)) != order.tolist()
        for name in ("points", "face_index", "normals", "part_label"):
            np.testing.assert_array_equal(stored[name][rows], sampled[name][rows][order])
    np.testing.assert_array_equal(stored["point_offsets"], sampled["point_offsets"])
