"""Blocks leave no point out and tell no place; crops are fresh, seeded, and read each shard once an epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.scenes import Scene
from pointlift.contracts.settings import parse
from pointlift.tasks import scenes as scenes_module
from pointlift.tasks.scene_blocks import SceneCrops, block_coordinates, block_edges, cut_blocks, cut_pieces, draw_crop
from pointlift.tasks.scenes import read_scenes
from pointlift.tasks.semantic_segmentation import Settings
from tasks.toy_scenes import write_scenes

RECIPE = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}


def cut(**changes):
    block = {"kind": "semantic_segmentation", "dataset": "d", "recipe": RECIPE, "num_points": 16, **changes}
    return parse(Settings, block, "task")


def room(count=500, extent=(5.0, 3.0, 2.0), seed=0):
    rng = np.random.default_rng(seed)
    points = (rng.random((count, 3)) * extent + [-1.0, 2.0, 0.5]).astype(np.float32)
    return Scene("room", points, {"semantic_label": rng.integers(-1, 4, count).astype(np.int16)})


@settings(max_examples=200, deadline=None)
@given(st.floats(-100, 100), st.floats(0, 50), st.floats(0.1, 10), st.floats(0.2, 1.0))
def test_edges_span_the_scene_without_slivers(low, extent, size, share):
    high = low + extent
    edges = block_edges(low, high, size, share * size)
    assert (np.diff(edges) > 0).all() and (np.diff(edges) <= share * size * (1 + 1e-6) + 1e-9).all()
    if len(edges) == 1:
        assert high - low <= size * (1 + 1e-6) and edges[0] + size / 2 == pytest.approx((low + high) / 2, abs=1e-9)
    else:
        assert high - low > size and edges[0] == low and edges[-1] + size == pytest.approx(high)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.2, 6), st.floats(0.2, 1.0), st.booleans())
def test_blocks_hold_the_points_that_stand_in_them_and_leave_none_out(seed, count, size, share, on_a_grid):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)) * 2
    points = (np.round(points * 4) / 4 if on_a_grid else points).astype(np.float32)
    stride = share * size
    seen = np.zeros(count, dtype=int)
    for centre, rows in cut_blocks(points, size, stride):
        assert len(rows) and (np.diff(rows) > 0).all()
        seen[rows] += 1
        away = np.abs(points[:, :2].astype(np.float64) - centre).max(axis=1) - size / 2
        assert (away[rows] <= 1e-9).all(), "who is in it stands in it"
        assert not (away[np.setdiff1d(np.arange(count), rows)] < -1e-9).any(), "who stands in it is in it"
    assert seen.all()


def test_blocks_that_only_touch_hold_every_point_of_a_grid():
    points = np.stack(np.meshgrid(np.arange(0, 3, 0.1), np.arange(0, 3, 0.1), [0.0]), axis=-1).reshape(-1, 3)
    seen = np.zeros(len(points), dtype=int)
    for _, rows in cut_blocks(points.astype(np.float32), 0.3, 0.3):
        seen[rows] += 1
    assert seen.all()


def test_without_a_size_all_is_one_block_around_its_middle():
    scene = room()
    ((centre, rows),) = cut_blocks(scene.points, None, 0.0)
    assert rows.tolist() == list(range(len(scene.points)))
    np.testing.assert_allclose(centre, (scene.points[:, :2].min(0) + scene.points[:, :2].max(0)) / 2, rtol=1e-6)


@pytest.mark.parametrize("size", [1.0, 2.5, None])
def test_every_point_is_answered_once_in_each_of_its_blocks(size):
    scene, chosen = room(), cut(block_size=size, unit=2.0)
    wanted = np.zeros(len(scene.points), dtype=int)
    blocks = list(cut_blocks(scene.points, size, chosen.stride()))
    for _, rows in blocks:
        wanted[rows] += 1
    found = np.zeros_like(wanted)
    pieces = list(cut_pieces(scene, chosen))
    for piece in pieces:
        found[piece.rows] += 1
        assert piece.points.shape == (16, 3) and piece.points.dtype == np.float32
    assert found.tolist() == wanted.tolist() and (found.max() > 1) == (size is not None)
    at = 0
    for centre, rows in blocks:  # pieces come block by block, and hold points of their block alone
        local = block_coordinates(scene.points[rows], centre, 2.0)
        of_row = dict(zip(rows.tolist(), local.tolist(), strict=True))
        for piece in pieces[at : at + -(-len(rows) // 16)]:
            assert piece.points[: len(piece.rows)].tolist() == [of_row[row] for row in piece.rows.tolist()]
            assert {tuple(point) for point in piece.points.tolist()} <= {tuple(point) for point in local.tolist()}
        at += -(-len(rows) // 16)
    assert at == len(pieces)


def test_coordinates_are_the_blocks_own():
    local = block_coordinates(np.array([[3.0, 5.0, 1.0], [4.0, 5.5, 2.0]], np.float32), np.array([3.5, 5.0]), 0.5)
    assert local.tolist() == [[-1.0, 0.0, 0.0], [1.0, 1.0, 2.0]]


def test_where_a_scene_stands_makes_no_difference():
    here = room()
    grid = (np.round(here.points * 64) / 64).astype(np.float32)  # moved without rounding
    one, other = (Scene("room", grid + np.float32(shift), here.arrays) for shift in (0.0, 32.0))
    for first, second in zip(cut_pieces(one, cut()), cut_pieces(other, cut()), strict=True):
        np.testing.assert_array_equal(first.points, second.points)
        np.testing.assert_array_equal(first.rows, second.rows)


def test_crops_hold_a_labelled_point_and_repeats_have_no_label():
    scene = room()
    label = np.full(len(scene.points), -1, np.int16)
    label[[7, 100]] = [2, 3]
    for seed in range(20):
        chosen = cut(block_size=0.5, num_points=64, unit=0.5)
        points, drawn = draw_crop(scene.points, label, chosen, np.random.default_rng(seed))
        assert points.shape == (64, 3) and points.dtype == np.float32 and drawn.dtype == np.int64
        assert set(drawn.tolist()) >= {2} or set(drawn.tolist()) >= {3}
        assert np.abs(points[:, :2]).max() <= 0.5 + 1e-6 and points[:, 2].min() == 0.0
        distinct = len(np.unique(points, axis=0))
        assert distinct < 64 and (drawn[distinct:] == -1).all()
    points, drawn = draw_crop(scene.points, label, cut(block_size=9.0), np.random.default_rng(0))
    assert len(np.unique(points, axis=0)) == 16 and drawn[0] in (2, 3), "few points of many: the chosen one is there"


def test_a_scene_without_labels_gives_crops_without_labels():
    scene = room()
    unknown = np.full(len(scene.points), -1, np.int16)
    assert (draw_crop(scene.points, unknown, cut(), np.random.default_rng(0))[1] == -1).all()


def test_labels_stay_with_their_points():
    scene = room()
    label = np.where(scene.points[:, 2] > 1.5, 1, 0)
    points, drawn = draw_crop(scene.points, label, cut(block_size=None, num_points=400), np.random.default_rng(1))
    low = scene.points[:, 2].min()
    assert drawn.tolist() == np.where(points[:, 2] + low > 1.5, 1, 0).tolist()


SPLITS = dict.fromkeys("abcdef", "train") | {"v": "val", "t": "test"}


@pytest.fixture
def crops(tmp_path):
    scenes = read_scenes(*write_scenes(tmp_path, SPLITS))
    return lambda **changes: SceneCrops(scenes, scenes.rows("train"), cut(crops_per_scene=3, **changes))


def batches(crops, epoch=0, size=4, seed=5, start=0):
    return list(crops.batches(epoch, size, seed, start))


def test_an_epoch_has_every_crop_once_shard_after_shard(crops, monkeypatch):
    reads, original = [], scenes_module.read_stage
    monkeypatch.setattr(scenes_module, "read_stage", lambda path, kind: (reads.append(path), original(path, kind))[1])
    given = crops()
    assert len(given) == 18 and given.num_batches(4) == 4 and given.num_batches(64) == 1
    for epoch in range(4):
        order = given.order(epoch, 5)
        assert sorted(order.tolist()) == list(range(18))
        shard = order // 3 // 2
        assert np.count_nonzero(np.diff(shard)) == 2, "three shards, each in one go"
        reads.clear()
        found = batches(given, epoch, size=6)
        assert np.concatenate([batch["index"].numpy() for batch in found]).tolist() == order.tolist()
        assert len(reads) <= 3
    assert len({tuple(given.order(epoch, 5)) for epoch in range(4)}) == 4


def test_batches_are_the_same_again_and_go_on_from_the_middle(crops):
    one, again = batches(crops()), batches(crops())
    rest = batches(crops(), start=2)
    for first, second in [*zip(one, again, strict=True), *zip(one[2:], rest, strict=True)]:
        assert {name: part.numpy().tobytes() for name, part in first.items()} == {
            name: part.numpy().tobytes() for name, part in second.items()
        }
    assert one[0]["points"].shape == (4, 16, 3) and one[0]["semantic_label"].shape == (4, 16)
    other = {seed: batches(crops(), seed=seed)[0]["points"].numpy().tobytes() for seed in (5, 6)}
    assert other[5] != other[6] != batches(crops(), epoch=1)[0]["points"].numpy().tobytes()


def test_a_crop_hangs_on_its_scene_and_not_on_what_stands_beside_it(tmp_path, crops):
    (tmp_path / "alone").mkdir()
    scenes = read_scenes(*write_scenes(tmp_path / "alone", {"b": "train", "t": "test"}))
    alone = SceneCrops(scenes, scenes.rows("train"), cut(crops_per_scene=3))
    wanted = {batch["index"].item(): batch["points"].numpy().tobytes() for batch in batches(alone, size=1)}
    among = {batch["index"].item(): batch["points"].numpy().tobytes() for batch in batches(crops(), size=1)}
    assert [among[3 + number] for number in range(3)] == [wanted[number] for number in range(3)]
    assert len(set(wanted.values())) == 3


def test_the_checksum_hangs_on_scenes_and_cut(crops):
    assert crops().checksum() == crops().checksum()
    assert crops().checksum() != crops(block_size=2.0).checksum()


def test_a_scene_with_more_blocks_than_a_room_needs_is_an_error():
    with pytest.raises(ConfigError, match="say a larger block_size"):
        block_edges(0.0, 1e9, 1.0, 0.5)
