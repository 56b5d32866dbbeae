"""Joining the stages, and what every arm changes and leaves alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from distillation.stored_pairs import NUM_POINTS, NUM_SHAPES, NUM_VIEWS, WIDTH, write_pairs
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.distillation.arms import apply_arm, derangement
from pointlift.distillation.pairs import listed_ids, prepare, read_pairs, train_ids

UNCHANGED_ARMS = ("mcd", "random_teacher", "control")


def join(paths, **options):
    return read_pairs(paths, **{"max_quarantined": 0.0, **options})


def masks(pairs):
    return np.unpackbits(pairs.visible, axis=-1)


def test_rows_are_those_of_the_stages(tmp_path):
    paths = write_pairs(tmp_path)
    pairs = join(paths)
    stored = {stage: read_stage(paths[stage][0], stage) for stage in paths}
    assert pairs.ids == stored["points"].ids
    assert np.array_equal(pairs.points, stored["points"]["points"].reshape(NUM_SHAPES, NUM_POINTS, 3))
    assert np.array_equal(pairs.visible, stored["visibility"]["visible"])
    assert np.array_equal(pairs.target, stored["features"]["embedding"])


def test_shards_are_read_as_one(tmp_path):
    parts = [write_pairs(tmp_path, first=first) for first in (0, 100)]
    both = join({stage: [part[stage][0] for part in parts] for stage in parts[0]})
    alone = [join(part) for part in parts]
    assert both.ids == alone[0].ids + alone[1].ids
    for name, array in both.arrays().items():
        assert np.array_equal(array, np.concatenate([part.arrays()[name] for part in alone]))


def test_a_shape_any_stage_could_not_use_is_left_out_and_the_others_keep_their_rows(tmp_path):
    paths = write_pairs(tmp_path, unusable={"points": (1,), "visibility": (4,), "features": (7,)})
    pairs = join(paths, max_quarantined=0.25)
    kept = [number for number in range(NUM_SHAPES) if number not in (1, 4, 7)]
    stored = {stage: read_stage(paths[stage][0], stage) for stage in paths}
    assert pairs.ids == tuple(stored["points"].ids[number] for number in kept)
    with_points = [number for number in range(NUM_SHAPES) if number != 1]
    clouds = dict(zip(with_points, stored["points"]["points"].reshape(-1, NUM_POINTS, 3), strict=True))
    assert np.array_equal(pairs.points, np.stack([clouds[number] for number in kept]))
    assert np.array_equal(pairs.visible, stored["visibility"]["visible"][kept])
    assert np.array_equal(pairs.target, stored["features"]["embedding"][kept])


def test_too_many_unusable_shapes_stop_with_counts_and_reasons(tmp_path):
    paths = write_pairs(tmp_path, unusable={"points": (1,), "features": (7,)})
    with pytest.raises(ArtifactError, match=r"2 of 12 .* 0\.1 .*shape-001: broken in points .*shape-007: broken in fe"):
        join(paths, max_quarantined=0.1)
    assert len(join(paths, max_quarantined=0.17).ids) == 10


def test_only_wanted_shapes_count_as_unusable(tmp_path):
    paths = write_pairs(tmp_path, unusable={"features": (7,)})
    chosen = {f"shape-{number:03d}" for number in range(7)}
    assert set(join(paths, chosen=chosen).ids) == chosen
    assert len(join(paths, excluded={"shape-007"}).ids) == 11


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match="none of the 12"):
        join(write_pairs(tmp_path), chosen=set())
    with pytest.raises(ArtifactError, match="12 of 12"):
        join(write_pairs(tmp_path / "b", unusable={"features": tuple(range(12))}), max_quarantined=1.0)


def test_stages_that_do_not_belong_together_are_refused(tmp_path):
    paths = write_pairs(tmp_path)
    with pytest.raises(ArtifactError, match="features and points"):
        join({**paths, "features": write_pairs(tmp_path, first=50)["features"]})
    with pytest.raises(ArtifactError, match="visibility 3, features 4"):
        join({**paths, "features": write_pairs(tmp_path / "b", views=4)["features"]})
    with pytest.raises(ArtifactError, match="another number of points"):
        join({**paths, "visibility": write_pairs(tmp_path / "c", points=44)["visibility"]})
    with pytest.raises(ArtifactError, match="no points shards"):
        join({**paths, "points": []})


# Which view is which is its place in one rig's list of cameras, and that list is part of the path of every file: two
# orders have two paths, and nothing is left to compare here. That pictures and visibility follow the list is tested
# where they are made (tests/rendering/test_mesh_renderer.py), and embeddings in tests/teachers/test_extraction.py.
def test_clouds_of_several_sizes_are_refused(tmp_path):
    parts = [write_pairs(tmp_path, points=41), write_pairs(tmp_path, first=50, points=45)]
    with pytest.raises(ArtifactError, match="41 to 45"):
        join({stage: [part[stage][0] for part in parts] for stage in parts[0]})


def test_the_train_split_and_lists_of_shapes_to_leave_out(tmp_path):
    rows = pd.DataFrame(
        [["a", "", -1, "train", "0000", "a.off", ""], ["b", "", -1, "test", "0000", "b.off", ""]], columns=COLUMNS
    )
    write_manifest(tmp_path / "manifest.csv", rows)
    assert train_ids(tmp_path / "manifest.csv") == {"a"}
    assert train_ids(None) is None
    (tmp_path / "one.csv").write_text("shape_id,other_id\nx,y\n007,z\n")
    (tmp_path / "two.csv").write_text("shape_id\n")
    assert listed_ids([tmp_path / "one.csv", tmp_path / "two.csv"]) == {"x", "007"}
    (tmp_path / "wrong.csv").write_text("name\nx\n")
    for name, message in (("wrong.csv", "column shape_id"), ("none.csv", "no such file")):
        with pytest.raises(ArtifactError, match=message):
            listed_ids([tmp_path / name])


@pytest.mark.parametrize("arm", UNCHANGED_ARMS)
def test_arms_of_the_teacher_alone_change_no_pair(tmp_path, arm):
    pairs = join(write_pairs(tmp_path))
    assert apply_arm(pairs, arm, 0) is pairs


def test_all_visible_sees_every_point_and_changes_no_target(tmp_path):
    pairs = join(write_pairs(tmp_path))
    changed = apply_arm(pairs, "all_visible", 0)
    assert masks(changed)[..., :NUM_POINTS].all()
    assert changed.visible.shape == pairs.visible.shape
    assert changed.target is pairs.target


def test_random_visibility_keeps_the_count_of_every_view(tmp_path):
    pairs = join(write_pairs(tmp_path))
    changed = apply_arm(pairs, "random_visibility", 0)
    assert np.array_equal(masks(changed).sum(axis=-1), masks(pairs).sum(axis=-1))
    assert not masks(changed)[..., NUM_POINTS:].any()
    agreement = (masks(changed) == masks(pairs))[..., :NUM_POINTS].mean()
    assert 0.42 < agreement < 0.62  # independent masks of share 0.4 agree on 0.52
    views = masks(changed)[:, 0] != masks(changed)[:, 1]
    assert views.any(axis=-1).all()  # drawn per view


def test_random_visibility_of_a_shape_does_not_depend_on_the_others(tmp_path):
    paths = write_pairs(tmp_path)
    everything = apply_arm(join(paths), "random_visibility", 3)
    few = apply_arm(join(paths, chosen={"shape-004", "shape-008"}), "random_visibility", 3)
    assert np.array_equal(few.visible, everything.visible[[4, 8]])
    assert not np.array_equal(apply_arm(join(paths), "random_visibility", 4).visible, everything.visible)


def test_shuffled_gives_every_shape_the_targets_of_another(tmp_path):
    pairs = join(write_pairs(tmp_path))
    changed = apply_arm(pairs, "shuffled", 0)
    assert changed.visible is pairs.visible
    rows = {row.tobytes(): number for number, row in enumerate(pairs.target)}
    origin = [rows[row.tobytes()] for row in changed.target]
    assert sorted(origin) == list(range(NUM_SHAPES))
    assert all(number != source for number, source in enumerate(origin))


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_a_derangement_leaves_nothing_in_place(count):
    for seed in range(20):
        order = derangement(count, seed)
        assert sorted(order) == list(range(count))
        assert (order != np.arange(count)).all()
    assert np.array_equal(derangement(count, 1), derangement(count, 1))


def test_seeds_give_different_derangements_and_one_shape_has_none():
    assert len({derangement(10, seed).tobytes() for seed in range(10)}) == 10
    with pytest.raises(ArtifactError, match="at least 2"):
        derangement(1, 0)


def test_batches_are_unpacked_as_numpy_does(tmp_path):
    pairs = join(write_pairs(tmp_path))
    batch = prepare({name: torch.from_numpy(array[:5]) for name, array in pairs.arrays().items()})
    assert batch["visible"].dtype == torch.bool
    assert np.array_equal(batch["visible"].numpy(), masks(pairs)[:5, :, :NUM_POINTS].astype(bool))
    assert batch["target"].dtype == torch.float32
    assert batch["target"].shape == (5, NUM_VIEWS, WIDTH)
    assert np.array_equal(batch["target"].numpy(), pairs.target[:5].astype(np.float32))


def test_within_classes_every_shape_is_taught_as_another_of_its_class(tmp_path):
    pairs = join(write_pairs(tmp_path))
    class_of = {shape_id: "ab"[number % 2] for number, shape_id in enumerate(pairs.ids)}
    changed = apply_arm(pairs, "same_class_shuffled", 0, class_of)
    from_row = [int(np.flatnonzero((pairs.target == row).all(axis=(1, 2)))[0]) for row in changed.target]
    assert sorted(from_row) == list(range(len(pairs.ids)))
    assert all(row != number and row % 2 == number % 2 for number, row in enumerate(from_row))
    assert changed.points is pairs.points and changed.visible is pairs.visible
    again, other = (apply_arm(pairs, "same_class_shuffled", seed, class_of).target for seed in (0, 1))
    assert np.array_equal(again, changed.target) and not np.array_equal(other, changed.target)
    with pytest.raises(ArtifactError, match="'alone' has one, shape-003"):
        apply_arm(pairs, "same_class_shuffled", 0, {**class_of, "shape-003": "alone"})
    for without in (None, {**class_of, "shape-003": ""}):  # no manifest; a shape that nobody labelled
        with pytest.raises(ArtifactError, match="needs the class of every shape, and shape-00"):
            apply_arm(pairs, "same_class_shuffled", 0, without)


def test_only_what_is_given_is_read(tmp_path):
    pairs = join({"points": write_pairs(tmp_path)["points"]})
    assert set(pairs.arrays()) == {"points"} and len(pairs.ids) == 12
    assert set(prepare({"points": torch.from_numpy(pairs.points)})) == {"points"}
    with pytest.raises(ConfigError, match="does not read that"):
        apply_arm(pairs, "all_visible", 0)


def test_cameras_and_patch_tokens_stand_beside_every_shape(tmp_path):
    paths = write_pairs(tmp_path)
    shard = read_stage(paths["features"][0], "features")
    cameras = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    write_stage(paths["features"][0], "features", shard.ids, {**shard.arrays, "world_to_camera": cameras})
    tokens = np.random.default_rng(1).normal(size=(12, 3, 5, 8)).astype(np.float16)
    paths["tokens"] = [tmp_path / "tokens.safetensors"]
    write_stage(paths["tokens"][0], "tokens", shard.ids, {"tokens": tokens, "valid": shard["valid"]})
    pairs = join(paths)
    batch = prepare({name: torch.from_numpy(array[2:5].copy()) for name, array in pairs.arrays().items()})
    assert torch.equal(batch["world_to_camera"], torch.from_numpy(cameras).expand(3, -1, -1, -1))
    assert torch.equal(batch["patch_tokens"], torch.from_numpy(tokens[2:5]).float())
    assert "world_to_camera" not in pairs.for_method(("features", "tokens")).arrays()
    assert pairs.for_method(("features", "cameras")) is pairs
    shuffled = apply_arm(pairs, "shuffled", 0)
    moved = [int(np.flatnonzero((tokens == row).all(axis=(1, 2, 3)))[0]) for row in shuffled.patch_tokens]
    assert np.array_equal(pairs.target[moved], shuffled.target)
