"""Meshes against meshes, meshes against clouds, clouds against clouds; and a dataset against itself."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from pointlift.contracts.dataset import Entry, PointCloud
from pointlift.contracts.stages import pack, write_stage
from pointlift.datasets import comparison
from pointlift.datasets.comparison import compare, compare_within, read_side
from pointlift.datasets.ingest import load_shard
from pointlift.datasets.mesh_file import read_mesh
from pointlift.datasets.text_cloud import read_table
from pointlift.geometry import clouds
from pointlift.geometry.meshes import Mesh, clean
from pointlift.geometry.sampling import farthest_point_order, sample_surface


class Meshes:
    """A dataset of the meshes it is given."""

    class_names, part_names, licence, source = ("thing",), (), "", ""

    def __init__(self, meshes):
        self.meshes, self.ids = meshes, tuple(meshes)

    def load(self, shape_id):
        return clean(self.meshes[shape_id])

    def entry(self, shape_id):
        return Entry("thing", "train", "", "")


def mesh_side(folder: Path, meshes: dict[str, Mesh], beside="meshes", shards=1):
    paths = [folder / f"{number:04d}.safetensors" for number in range(shards)]
    folder.mkdir()
    for number, path in enumerate(paths):
        ids = list(meshes)[number::shards]
        arrays, attributes = load_shard(Meshes(meshes), ids)
        write_stage(path, "meshes", ids, arrays, **attributes)
    return read_side(paths, "meshes", beside)


def cloud_side(path: Path, points: dict[str, np.ndarray], beside="points"):
    unit = [clouds.normalise(PointCloud(each.astype(np.float64))).points.astype(np.float32) for each in points.values()]
    packed, offsets = pack(unit)
    arrays = {"points": packed, "point_offsets": offsets, "valid": np.ones(len(points), bool)}
    write_stage(path, "points", list(points), arrays)
    return read_side([path], "points", beside)


def made(shape) -> Mesh:
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))


def hollow() -> Mesh:
    """A box with most of its surface inside."""
    inner = [trimesh.creation.box([1.8, 0.8, 0.1 * k]) for k in range(1, 9)]
    return made(trimesh.util.concatenate([trimesh.creation.box([2, 1, 1]), *inner]))


THINGS = {
    "hook": made(trimesh.util.concatenate([trimesh.creation.box([2, 0.3, 0.3]), trimesh.creation.box([0.3, 1, 2])])),
    "torus": made(trimesh.creation.torus(0.7, 0.25)),
    "cone": made(trimesh.creation.cone(0.6, 1.5)),
    "hollow": hollow(),
}


def turned(mesh: Mesh, seed: int) -> Mesh:
    return Mesh(Rotation.random(random_state=seed).apply(mesh.vertices) * 3 + 1, mesh.faces)


def cloud_of(mesh: Mesh, seed: int, count=1024) -> np.ndarray:
    return sample_surface(mesh, count, np.random.default_rng(seed))[0].astype(np.float64)


def told(rows):
    return sorted(row[:3] for row in rows)


def test_meshes_are_exact_in_their_pose_and_near_in_another(tmp_path):
    first = mesh_side(tmp_path / "a", THINGS, shards=3)
    moved = {"h": Mesh(THINGS["hook"].vertices * 5 - 2, THINGS["hook"].faces[::-1]), "t": turned(THINGS["cone"], 1)}
    rows = compare(first, mesh_side(tmp_path / "b", moved))
    assert told(rows) == [("cone", "t", "near"), ("hook", "h", "exact")]
    assert all(0.8 < chamfer < 1.25 for *_, chamfer in rows)


def test_a_cloud_is_found_whether_it_was_drawn_within_or_outside_at_random_or_evenly(tmp_path):
    first = mesh_side(tmp_path / "a", THINGS, beside="points")
    dense = cloud_of(turned(THINGS["torus"], 2), 0, 4096)
    drawn = {
        "within": cloud_of(turned(THINGS["hollow"], 3), 1),
        "even": dense[farthest_point_order(dense, 1024)],
        "repeats": np.concatenate([cloud_of(THINGS["cone"], 4, 700)] * 2)[:1024],
        "other": cloud_of(made(trimesh.creation.icosphere(2)), 5),
    }
    second = cloud_side(tmp_path / "points", drawn, beside="meshes")
    expected = [("cone", "repeats", "near"), ("hollow", "within", "near"), ("torus", "even", "near")]
    assert told(compare(first, second)) == expected
    assert sorted((other, name, how) for name, other, how, _ in compare(second, first)) == expected
    assert [len(sampling) for sampling in first.samplings] == [4, 4] and len(second.samplings) == 1


def test_clouds_are_exact_in_any_order_and_near_when_drawn_anew(tmp_path):
    points = {name: cloud_of(mesh, 0) for name, mesh in THINGS.items()}
    order = np.random.default_rng(0).permutation(1024)
    others = {"same": points["hook"][order] * 4 + 1, "anew": cloud_of(turned(THINGS["cone"], 1), 9)}
    rows = compare(cloud_side(tmp_path / "a", points), cloud_side(tmp_path / "b", others))
    assert told(rows) == [("cone", "anew", "near"), ("hook", "same", "exact")]


def test_twins_stand_there_once_for_each_of_them(tmp_path):
    meshes = {**THINGS, "again": THINGS["hook"], "leaning": turned(THINGS["hook"], 7)}
    rows = compare_within(mesh_side(tmp_path / "a", meshes, shards=2))
    pairs = {("hook", "again"): "exact", ("hook", "leaning"): "near", ("again", "leaning"): "near"}
    assert told(rows) == sorted((*ids, how) for pair, how in pairs.items() for ids in (pair, pair[::-1]))


def test_a_hash_that_is_shared_by_chance_is_no_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "mesh_hash", lambda mesh: "one for all")
    rows = compare(mesh_side(tmp_path / "a", THINGS), mesh_side(tmp_path / "b", {"hook": THINGS["hook"]}))
    assert told(rows) == [("hook", "hook", "exact")]


def test_a_hash_missed_by_rounding_is_left_to_the_shape(tmp_path, monkeypatch):
    number = iter(range(100))
    monkeypatch.setattr(comparison, "mesh_hash", lambda mesh: str(next(number)))
    rows = compare(mesh_side(tmp_path / "a", THINGS), mesh_side(tmp_path / "b", {"hook": THINGS["hook"]}))
    assert told(rows) == [("hook", "hook", "near")]


@pytest.mark.realdata
@pytest.mark.parametrize("farthest", [False, True])
def test_a_resampled_airplane_is_its_mesh_and_no_other_is(realdata, tmp_path, farthest):
    mesh = read_mesh(realdata / "modelnet_off/ModelNet40/airplane/train/airplane_0003.off")
    points = {}
    for path in sorted((realdata / "modelnet40_normal_resampled/airplane").glob("*.txt")):
        whole = read_table(path, 6, ",")[:, :3]
        points[path.stem] = whole[farthest_point_order(whole, 1024)] if farthest else whole
    first = mesh_side(tmp_path / "a", {"mesh": mesh}, beside="points")
    rows = compare(first, cloud_side(tmp_path / "b", points, beside="meshes"))
    assert len(points) == 6
    assert told(rows) == [("mesh", "airplane_0003", "near")]


@pytest.mark.realdata
def test_the_files_that_stand_twice_in_the_labelled_princeton_set(realdata, tmp_path):
    wanted = {f"lpsb/{name}.off" for name in ("Bird/243", "Bird/251", "Fish/226", "Fish/227")}
    meshes = {}
    with tarfile.open(realdata / "lpsb_380_off_facelabels.tar.xz") as archive:
        for member in archive:
            if member.name in wanted:
                archive.extract(member, tmp_path, filter="data")
                meshes[member.name[5:-4]] = read_mesh(tmp_path / member.name)
            if len(meshes) == len(wanted):
                break
    rows = compare_within(mesh_side(tmp_path / "a", meshes))
    pairs = [("Bird/243", "Bird/251"), ("Fish/226", "Fish/227")]
    assert told(rows) == sorted((*ids, "exact") for pair in pairs for ids in (pair, pair[::-1]))
