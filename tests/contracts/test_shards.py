"""Shards: round trips, refusals, and damage that is always noticed."""

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import atomic_path
from pointlift.contracts.images import pack_images, unpack_images
from pointlift.contracts.stages import join_offsets, pack, read_stage, read_stages, unpack, write_stage


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {"embedding": rng.normal(size=(3, 2, 4)).astype(np.float16), "valid": np.array([True, False, True])}


def test_round_trip_keeps_arrays_ids_and_attributes(tmp_path, features):
    path = tmp_path / "0000.safetensors"
    write_stage(path, "features", ["a", "b", "ç d"], features, quarantine={"b": "blank"})
    shard = read_stage(path, "features", ["a", "b", "ç d"])
    assert shard.ids == ("a", "b", "ç d")
    assert shard.attributes == {"quarantine": {"b": "blank"}}
    for name, array in features.items():
        assert shard[name].dtype == array.dtype
        np.testing.assert_array_equal(shard[name], array)


def test_float32_comes_back_bit_for_bit(tmp_path):
    """PointMCD's own cache is text with 8 decimals, wrong by up to 5e-9; shards are binary, so there is no such error.
    What float16 costs a teacher's embedding is measured where it is rounded: tests/teachers/test_extraction.py."""
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(1e-45)).reshape(4, 1024)
    write_stage(tmp_path / "x", "embeddings", list("abcd"), {"embedding": values, "valid": np.ones(4, bool)})
    assert read_stage(tmp_path / "x", "embeddings")["embedding"].tobytes() == values.tobytes()


def test_same_content_same_bytes(tmp_path, features):
    for name in ("first", "second"):
        write_stage(tmp_path / name, "features", ["a", "b", "c"], features, b=1, a={"y": 2, "x": 1})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_every_flipped_byte_is_noticed(tmp_path, features, seed):
    path = tmp_path / "0000.safetensors"
    write_stage(path, "features", ["a", "b", "c"], features, quarantine={})
    whole = path.read_bytes()
    rng = np.random.default_rng(seed)
    for position in rng.choice(len(whole), size=min(len(whole), 150), replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError):
            read_stage(path, "features", ["a", "b", "c"])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_file_is_refused_with_a_remedy(tmp_path, features, share):
    path = tmp_path / "0000.safetensors"
    write_stage(path, "features", ["a", "b", "c"], features)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ArtifactError, match=r"0000\.safetensors.*run snakemake again"):
        read_stage(path, "features")


def test_missing_file_and_wrong_ids_and_wrong_kind(tmp_path, features):
    path = tmp_path / "0000.safetensors"
    with pytest.raises(ArtifactError, match="no such file"):
        read_stage(path, "features")
    write_stage(path, "features", ["a", "b", "c"], features)
    with pytest.raises(ArtifactError, match="not those of the manifest"):
        read_stage(path, "features", ["a", "c", "b"])
    with pytest.raises(ArtifactError, match="holds features, embeddings was expected"):
        read_stage(path, "embeddings")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": np.zeros((3, 2, 4), np.float32)}, "dtype float32, must be float16"),
        ({"embedding": np.zeros((3, 8), np.float16)}, "must have the axes"),
        ({"embedding": np.zeros((2, 2, 4), np.float16)}, "axis S has length 2, must be 3"),
        ({"embedding": np.full((3, 2, 4), np.inf, np.float16)}, "not finite"),
        ({"surprise": np.zeros(3)}, "unknown arrays"),
    ],
)
def test_wrong_arrays_are_not_written(tmp_path, features, change, message):
    with pytest.raises(ArtifactError, match=message):
        write_stage(tmp_path / "x", "features", ["a", "b", "c"], {**features, **change})
    assert list(tmp_path.iterdir()) == []


def test_missing_array_and_doubled_id_are_not_written(tmp_path, features):
    with pytest.raises(ArtifactError, match="embedding is missing"):
        write_stage(tmp_path / "x", "features", ["a", "b", "c"], {"valid": features["valid"]})
    with pytest.raises(ArtifactError, match="stands twice"):
        write_stage(tmp_path / "x", "features", ["a", "b", "a"], features)


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="power"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_several_shards_read_as_one(tmp_path):
    clouds = [np.full((n, 3), n, np.float32) for n in (2, 0, 4, 1)]
    for name, ids, part in (("0", ["a", "b"], clouds[:2]), ("1", ["c", "d"], clouds[2:])):
        points, offsets = pack(part)
        arrays = {"points": points, "point_offsets": offsets, "normals": points}
        arrays |= {"face_index": np.zeros(len(points), np.int32), "valid": np.array([len(p) > 0 for p in part])}
        write_stage(tmp_path / name, "points", ids, arrays, quarantine={ids[1]: "why"})
    whole = read_stages([tmp_path / "0", tmp_path / "1"], "points")
    assert whole.ids == ("a", "b", "c", "d")
    assert whole.attributes["quarantine"] == {"b": "why", "d": "why"}
    for found, cloud in zip(unpack(whole["points"], whole["point_offsets"]), clouds, strict=True):
        np.testing.assert_array_equal(found, cloud)
    with pytest.raises(ArtifactError, match="two shards"):
        read_stages([tmp_path / "0", tmp_path / "0"], "points")


def test_shards_with_different_arrays_are_not_joined(tmp_path):
    points = {"points": np.zeros((2, 3), np.float32), "point_offsets": np.array([0, 2]), "valid": np.array([True])}
    write_stage(tmp_path / "0", "points", ["a"], points)
    write_stage(tmp_path / "1", "points", ["b"], {**points, "normals": points["points"]})
    for names in ("01", "10"):
        with pytest.raises(ArtifactError, match="points: the shards of one dataset hold different arrays"):
            read_stages([tmp_path / name for name in names], "points")


def test_joined_offsets_are_running_sums():
    joined = join_offsets([np.array([0, 2, 5]), np.array([0, 1])])
    np.testing.assert_array_equal(joined, [0, 2, 5, 6])


def test_images_come_back_bit_for_bit():
    images = np.random.default_rng(1).integers(0, 256, size=(5, 7, 9, 3), dtype=np.uint8)
    packed, offsets = pack_images(images)
    assert offsets.shape == (6,)
    np.testing.assert_array_equal(unpack_images(packed, offsets), images)


def test_shards_that_say_different_things_of_one_dataset_are_not_joined(tmp_path, features):
    for name, ids, classes in (("0", "abc", ["x", "y"]), ("1", "def", ["x", "z"])):
        write_stage(tmp_path / name, "features", list(ids), features, class_names=classes, quarantine={ids[0]: "blank"})
    assert read_stages([tmp_path / "0"], "features").attributes["class_names"] == ["x", "y"]
    with pytest.raises(ArtifactError, match="features: class_names differs between shards of one dataset"):
        read_stages([tmp_path / "0", tmp_path / "1"], "features")
