"""read_points on scenes with boxes: shards of both kinds, the same bytes twice, joined rightly whatever is unusable."""

from argparse import Namespace

import numpy as np
import pytest

import build_manifest
import read_points
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.stages import read_stage, read_stages, unpack
from scene_layouts import scannet_scan, sunrgbd_picture, write_scannet, write_sunrgbd

BLOCKS = {
    "scannet": {"kind": "scannet", "protocol": "test/one", "folder": "raw", "partial": True, "val_share": 0.0},
    "sunrgbd": {"kind": "sunrgbd", "protocol": "test/one", "folder": "raw", "partial": True, "labels": "v1"},
}
IDS = {
    "scannet": ["scene0000_00", "scene0000_01", "scene0007_00", "scene0011_00", "scene0011_01"],
    "sunrgbd": ["000001", "000002", "005051", "005052", "010335"],
}
COUNTS = {"scannet": [2, 2, 2, 2, 2], "sunrgbd": [0, 2, 0, 2, 0]}
BROKEN = {
    "scannet": "scannet/scannet_train_detection_data/scene0000_01_bbox.npy",
    "sunrgbd": "sunrgbd/sunrgbd_pc_bbox_votes_50k_v1_val/000002_bbox.npy",
}
KINDS = tuple(BLOCKS)


@pytest.fixture
def raw(tmp_path):
    write_scannet(tmp_path / "raw")
    write_sunrgbd(tmp_path / "raw")
    return tmp_path / "raw"


def read(kind, raw, output, ids=None, **changes):
    settings = {"block": {**BLOCKS[kind], **changes}, "ids": ids or IDS[kind]}
    read_points.main(Namespace(settings=settings, folder=raw, output=output))
    return output


def equal(first, second):
    assert set(first.arrays) == set(second.arrays)
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert first.ids == second.ids


def test_a_shard_holds_every_point_and_box_of_a_scan(raw, tmp_path):
    shard = read_stage(read("scannet", raw, tmp_path / "p"), "points", IDS["scannet"])
    assert shard["valid"].all() and np.diff(shard["point_offsets"]).tolist() == [400] * 5
    assert shard.attributes["box_names"][17] == "garbagebin" and len(shard.attributes["semantic_names"]) == 20
    packed = {name: unpack(shard[name], shard["point_offsets"]) for name in ("points", "colour", "instance_label")}
    for number, boxes in enumerate(unpack(shard["boxes"], shard["box_offsets"])):
        vert, _, instance, source = scannet_scan(number)
        np.testing.assert_array_equal(packed["points"][number], vert[:, :3])
        np.testing.assert_array_equal(packed["colour"][number], vert[:, 3:])
        np.testing.assert_array_equal(packed["instance_label"][number], instance.astype(int) - 1)
        np.testing.assert_array_equal(boxes, np.column_stack([source[:, :6], [0, 0]]).astype(np.float32))
    assert shard["box_label"].tolist() == [2, 17] * 5


def test_a_shard_holds_every_point_and_box_of_a_picture(raw, tmp_path):
    shard = read_stage(read("sunrgbd", raw, tmp_path / "p"), "points", IDS["sunrgbd"])
    assert "semantic_label" not in shard.arrays and "colour" in shard.arrays
    assert np.diff(shard["box_offsets"]).tolist() == COUNTS["sunrgbd"]
    assert shard["box_label"].tolist() == [2, 9] * 2
    source = sunrgbd_picture(2)[1]
    wanted = np.column_stack([source[:, :3], 2 * source[:, 3:6], -source[:, 6]]).astype(np.float32)
    np.testing.assert_array_equal(unpack(shard["boxes"], shard["box_offsets"])[1], wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"subsample": "random", "num_points": 64}, {"keep_coordinates": False}])
def test_the_same_bytes_twice(kind, changes, raw, tmp_path):
    first = read(kind, raw, tmp_path / "first", **changes)
    assert first.read_bytes() == read(kind, raw, tmp_path / "again", **changes).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("broken", [False, True])
def test_shards_join_to_one_whatever_is_unusable(kind, cut, broken, raw, tmp_path):
    if broken:
        (raw / BROKEN[kind]).write_bytes(b"not an array")
    parts = [
        read(kind, raw, tmp_path / f"{number}", ids) for number, ids in enumerate((IDS[kind][:cut], IDS[kind][cut:]))
    ]
    whole, joined = read_stage(read(kind, raw, tmp_path / "whole"), "points"), read_stages(parts, "points")
    equal(whole, joined)
    counts = [0 if broken and number == 1 else count for number, count in enumerate(COUNTS[kind])]
    assert np.diff(joined["box_offsets"]).tolist() == counts
    assert joined["valid"].tolist() == [not (broken and number == 1) for number in range(5)]
    assert list(joined.attributes["quarantine"]) == [IDS[kind][1]] * broken
    assert len(joined["box_label"]) == len(joined["boxes"]) == sum(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_of_nothing_but_a_broken_scene_joins_the_others(kind, raw, tmp_path):
    (raw / BROKEN[kind]).unlink()
    ids = IDS[kind]
    parts = [read(kind, raw, tmp_path / f"{number}", some) for number, some in enumerate((ids[1:2], ids[2:4]))]
    joined = read_stages(parts, "points")
    assert joined["valid"].tolist() == [False, True, True]
    assert np.diff(joined["box_offsets"]).tolist() == [0, *COUNTS[kind][2:4]]
    assert "cannot be read" in joined.attributes["quarantine"][ids[1]]
    equal(read_stage(read(kind, raw, tmp_path / "whole", ids[1:4]), "points"), joined)


def test_boxes_shrink_with_their_scene(raw, tmp_path):
    metres = read_stage(read("scannet", raw, tmp_path / "m"), "points")
    unit = read_stage(read("scannet", raw, tmp_path / "u", keep_coordinates=False), "points")
    assert np.linalg.norm(unit["points"], axis=1).max() == pytest.approx(1.0)
    for number in range(5):
        points, small = (unpack(shard["points"], shard["point_offsets"])[number] for shard in (metres, unit))
        scale = np.ptp(small, axis=0) / np.ptp(points, axis=0)
        boxes, little = (unpack(shard["boxes"], shard["box_offsets"])[number] for shard in (metres, unit))
        np.testing.assert_allclose(little[:, 3:6], boxes[:, 3:6] * scale, rtol=1e-5)
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        np.testing.assert_allclose(little[:, :3], (boxes[:, :3] - centre) * scale, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_of_scenes_has_no_classes(kind, raw, tmp_path):
    shard = read(kind, raw, tmp_path / "0000.safetensors")
    manifest, quarantine = tmp_path / "manifest.csv", tmp_path / "quarantine.csv"
    settings = {"block": BLOCKS[kind]}
    build_manifest.main(Namespace(settings=settings, shards=[shard], output=manifest, quarantine=quarantine))
    rows = read_manifest(manifest)
    assert rows["shape_id"].tolist() == IDS[kind]
    assert set(rows["label"]) == {-1}
    tests = {"scannet": [False, False, False, True, True], "sunrgbd": [True, True, False, False, False]}[kind]
    assert (rows["split"] == "test").tolist() == tests
