"""read_points on scenes of config.yaml: every point in metres with its labels, the same bytes twice, faults told."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import yaml

import build_manifest
import read_points
from pointlift import rooms
from pointlift.configuration import read_config
from pointlift.contracts.manifest import read_manifest, read_quarantine
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, read_stages, unpack
from scene_layouts import write_s3dis, write_s3dis_arrays, write_semantickitti

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
WRITERS = {"s3dis_area5": write_s3dis, "s3dis_area5_npy": write_s3dis_arrays, "semantickitti": write_semantickitti}


@pytest.fixture(params=WRITERS)
def scenes(request, tmp_path):
    """(block of config.yaml as a part of its set, its ids, the dataset, a function that reads a shard)."""
    WRITERS[request.param](tmp_path / "raw")
    block = read_config(CONFIG).datasets[request.param].model_dump(mode="json")
    block |= {"partial": True, "protocol": f"{block['protocol']}-partial"}
    settings = parse(rooms.settings_class("datasets", block["kind"]), block, "block")
    assert settings.required_protocol() == block["protocol"]
    dataset = rooms.load("datasets", block["kind"]).build(settings, tmp_path / "raw")

    def read(name, ids=dataset.ids, **changes):
        settings = {"block": {**block, **changes}, "ids": list(ids)}
        read_points.main(Namespace(settings=settings, folder=tmp_path / "raw", output=tmp_path / name))
        return tmp_path / name

    return block, dataset, read


def test_a_shard_holds_every_point_with_its_labels(scenes):
    _, dataset, read = scenes
    path = read("points")
    shard = read_stage(path, "points", dataset.ids)
    assert shard["valid"].all() and set(dataset.point_attributes) < set(shard.arrays)
    assert shard.attributes["semantic_names"] == list(dataset.semantic_names)
    for name in ("points", *dataset.point_attributes):
        for shape_id, stored in zip(dataset.ids, unpack(shard[name], shard["point_offsets"]), strict=True):
            np.testing.assert_array_equal(stored, getattr(dataset.load_points(shape_id), name).astype(stored.dtype))
    assert path.read_bytes() == read("again").read_bytes()
    parts = read_stages([read("a", dataset.ids[:2]), read("b", dataset.ids[2:])], "points")
    for name, array in shard.arrays.items():
        np.testing.assert_array_equal(array, parts[name])


def test_a_random_choice_keeps_labels_beside_their_points(scenes):
    _, dataset, read = scenes
    shard = read_stage(read("points", subsample="random", num_points=100), "points")
    assert np.diff(shard["point_offsets"]).tolist() == [100] * len(dataset.ids)
    for place, shape_id in enumerate(dataset.ids):
        rows = slice(place * 100, place * 100 + 100)
        cloud = dataset.load_points(shape_id)
        row_of = {tuple(point): row for row, point in enumerate(cloud.points.astype(np.float32).tolist())}
        taken = [row_of[tuple(point)] for point in shard["points"][rows].tolist()]
        assert len(set(taken)) == 100
        for name in dataset.point_attributes:
            np.testing.assert_array_equal(shard[name][rows], getattr(cloud, name)[taken])


def test_a_scene_that_is_cut_off_is_quarantined_and_the_manifest_splits_the_others(scenes, tmp_path):
    block, dataset, read = scenes
    broken, folder = dataset.ids[1], tmp_path / "raw"
    entry = dataset.entry(broken)
    path = next(folder.rglob(entry.source_path))
    path = path if path.is_file() else path / "chair_1.txt"
    path.write_bytes(path.read_bytes()[:-9])
    shard = read("points")
    assert read_stage(shard, "points")["valid"].tolist() == [place != 1 for place in range(len(dataset.ids))]
    output, quarantine = tmp_path / "manifest.csv", tmp_path / "quarantine.csv"
    settings = {"block": {**block, "max_quarantined": 0.5}}
    build_manifest.main(Namespace(settings=settings, shards=[shard], output=output, quarantine=quarantine))
    rows = read_manifest(output)
    assert rows["shape_id"].tolist() == list(dataset.ids) and set(rows["label"]) == {-1}
    assert rows["split"].tolist() == [dataset.entry(shape_id).split for shape_id in dataset.ids]
    assert set(rows["split"]) == {"train", "test"}
    told = read_quarantine(quarantine)
    assert told["shape_id"].tolist() == [broken] and path.name in told["reason"][0]
