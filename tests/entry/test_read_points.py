"""read_points: shards like those of sample_points, normalised whole, the same at any shard size, faults quarantined."""

from argparse import Namespace

import numpy as np
import pytest

import build_manifest
import read_points
from point_layouts import cloud, write_modelnet_resampled, write_shapenet_part
from pointlift import rooms
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.manifest import open_test_split, read_quarantine
from pointlift.contracts.settings import mistakes
from pointlift.contracts.stages import read_stage, read_stages, unpack
from pointlift.geometry.sampling import farthest_point_order

BLOCK = {"kind": "modelnet_resampled", "protocol": "test/one", "folder": "raw", "partial": True, "num_points": 64}
IDS = ["airplane_0001", "airplane_0002", "tv_stand_0001", "xbox_0104"]


@pytest.fixture
def raw(tmp_path):
    write_modelnet_resampled(tmp_path / "raw")
    return tmp_path / "raw"


def read(raw, output, ids=None, **changes):
    settings = {"block": {**BLOCK, **changes}, "ids": ids or IDS}
    read_points.main(Namespace(settings=settings, folder=raw, output=output))
    return output


def test_points_are_of_the_file_turned_and_normalised_whole(tmp_path, raw):
    shard = read_stage(read(raw, tmp_path / "p", subsample="first"), "points", IDS)
    assert np.diff(shard["point_offsets"]).tolist() == [64] * 4 and shard["valid"].all()
    assert "face_index" not in shard.arrays and "part_label" not in shard.arrays
    for number, points in enumerate(unpack(shard["points"], shard["point_offsets"])[:3]):
        source = cloud([7, number], 300)[0].astype(np.float64)
        source = np.stack([source[:, 0], -source[:, 2], source[:, 1]], axis=1)
        source -= (source.max(axis=0) + source.min(axis=0)) / 2
        np.testing.assert_allclose(points, (source / np.linalg.norm(source, axis=1).max())[:64], atol=2e-6)


def test_raw_coordinates_are_turned_alone(tmp_path, raw):
    shard = read_stage(read(raw, tmp_path / "p", subsample="first", keep_coordinates=True), "points")
    points, normals = cloud([7, 0], 300)
    for name, source in (("points", points), ("normals", normals)):
        turned = np.stack([source[:, 0], -source[:, 2], source[:, 1]], axis=1)[:64]
        np.testing.assert_allclose(shard[name][:64], turned, atol=1e-6)


@pytest.mark.parametrize("subsample", ["first", "random", "farthest"])
def test_the_same_bytes_twice_and_the_same_points_at_any_shard_size(tmp_path, raw, subsample):
    whole = read(raw, tmp_path / "whole", subsample=subsample)
    assert whole.read_bytes() == read(raw, tmp_path / "again", subsample=subsample).read_bytes()
    parts = [read(raw, tmp_path / f"part{cut}", ids, subsample=subsample) for cut, ids in enumerate((IDS[:1], IDS[1:]))]
    first, second = read_stage(whole, "points"), read_stages(parts, "points")
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second[name])
    other = read_stage(read(raw, tmp_path / "other", subsample=subsample, seed=1), "points")
    assert np.array_equal(other["points"], first["points"]) == (subsample == "first")


def test_part_labels_follow_their_points(tmp_path):
    folder = write_shapenet_part(tmp_path / "raw")
    ids = ["03001627/a1", "04379243/b2"]
    changes = {"kind": "shapenet_part", "keep_coordinates": True, "num_points": 200, "subsample": "random"}
    shard = read_stage(read(tmp_path / "raw", tmp_path / "p", ids, **changes), "points", ids)
    for shape_id, points, labels in zip(
        ids, *(unpack(shard[name], shard["point_offsets"]) for name in ("points", "part_label")), strict=True
    ):
        table = np.loadtxt(folder / f"{shape_id}.txt").astype(np.float32)
        known = {(x, -z, y): label for x, y, z, *_, label in table.tolist()}
        assert len(known) == len(table) < len(points) == 200
        told = [known[tuple(point)] for point in points.tolist()]
        assert told == labels.tolist()


def test_a_broken_file_is_quarantined_and_listed_by_the_manifest(tmp_path, raw):
    (raw / "modelnet40_normal_resampled/airplane/airplane_0002.txt").write_text("1,2,3\n4,5\n")
    parts = [tmp_path / "0000.safetensors", tmp_path / "0001.safetensors"]
    read(raw, parts[0], IDS[:2])
    read(raw, parts[1], IDS[2:])
    shard = read_stage(parts[0], "points")
    assert shard["valid"].tolist() == [True, False] and np.diff(shard["point_offsets"]).tolist() == [64, 0]

    def build(**changes):
        settings = {"block": {**BLOCK, **changes}}
        output, quarantine = tmp_path / "manifest.csv", tmp_path / "quarantine.csv"
        build_manifest.main(Namespace(settings=settings, shards=parts, output=output, quarantine=quarantine))
        return open_test_split(output), read_quarantine(quarantine)

    rows, quarantine = build(max_quarantined=0.25)
    assert rows["shape_id"].tolist() == IDS
    assert rows["class_name"].tolist() == ["airplane", "airplane", "tv_stand", "xbox"]
    assert rows["label"].tolist() == [0, 0, 36, 39]
    assert rows["split"].tolist()[-1] == "test" and rows["shard"].tolist() == ["0000"] * 2 + ["0001"] * 2
    assert rows["source_path"].tolist()[2] == "tv_stand/tv_stand_0001.txt"
    assert quarantine[["shape_id", "stage"]].values.tolist() == [["airplane_0002", "read_points"]]
    with pytest.raises(PointliftError, match="1 of 4 shapes"):
        build(max_quarantined=0.1)


def test_a_shard_of_broken_files_joins_the_others(tmp_path, raw):
    for name in IDS[:2]:
        (raw / f"modelnet40_normal_resampled/airplane/{name}.txt").write_text("")
    parts = [read(raw, tmp_path / "a", IDS[:2]), read(raw, tmp_path / "b", IDS[2:])]
    assert read_stages(parts, "points")["valid"].tolist() == [False, False, True, True]


def test_farthest_first_stores_the_same_points_in_another_order(tmp_path, raw):
    sampled = read_stage(read(raw, tmp_path / "a", subsample="random"), "points")
    stored = read_stage(read(raw, tmp_path / "b", subsample="random", order="farthest_first"), "points")
    for shape in range(4):
        rows = slice(64 * shape, 64 * shape + 64)
        order = farthest_point_order(sampled["points"][rows], 64)
        assert sorted(order) == list(range(64)) != order.tolist()
        for name in ("points", "normals"):
            np.testing.assert_array_equal(stored[name][rows], sampled[name][rows][order])


def test_whole_scenes_are_not_put_into_that_order():
    block = {"kind": "semantickitti", "folder": "a", "protocol": "semantickitti/seq08-all", "order": "farthest_first"}
    assert (
        "farthest_first takes minutes a scene"
        in mistakes(rooms.settings_class("datasets", "semantickitti"), block, "x")[0]
    )
