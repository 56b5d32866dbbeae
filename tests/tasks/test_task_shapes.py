"""Joining manifest and shards: rows in step, unusable shapes out, strangers refused."""

import numpy as np
import pytest

import labelled_clouds
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import read_manifest, write_manifest
from pointlift.contracts.stages import read_stages, write_stage
from pointlift.tasks.shapes import read_clouds, read_embeddings


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)


def change(manifest, **columns) -> None:
    write_manifest(manifest, read_manifest(manifest).assign(**columns))


def test_points_stay_with_their_shape(dataset):
    shapes = read_clouds(dataset["manifest"][0], dataset["points"])
    shard = read_stages(dataset["points"], "points")
    rows = read_manifest(dataset["manifest"][0]).set_index("shape_id")
    assert len(shapes.ids) == 41 and labelled_clouds.INVALID not in shapes.ids
    for row, shape_id in enumerate(shapes.ids):
        first, last = shard["point_offsets"][shard.ids.index(shape_id) :][:2]
        np.testing.assert_array_equal(shapes.values[row], shard["points"][first:last])
        assert shapes.label[row] == rows.loc[shape_id, "label"]
        assert ("train", "val", "test")[shapes.split[row]] == rows.loc[shape_id, "split"]
    assert shapes.num_classes == 3
    counts = [len(shapes.rows(split)) for split in ("train", "val", "test")]
    assert counts == [23, 6, 12]


def test_the_manifest_gives_the_order(dataset):
    manifest = dataset["manifest"][0]
    write_manifest(manifest, read_manifest(manifest).iloc[::-1])
    shapes = read_clouds(manifest, dataset["points"])
    assert list(shapes.ids) == sorted(shapes.ids, reverse=True)
    one = read_stages(dataset["points"], "points")["points"][: labelled_clouds.NUM_POINTS]
    np.testing.assert_array_equal(shapes.values[-1], one)


def test_a_shape_without_a_row_is_named(dataset):
    with pytest.raises(ArtifactError, match="rod-002 has no row"):
        read_clouds(dataset["manifest"][0], dataset["points"][:1])


def test_unlabelled_shapes_are_refused(dataset):
    change(dataset["manifest"][0], label=-1)
    with pytest.raises(ArtifactError, match="without a label"):
        read_clouds(dataset["manifest"][0], dataset["points"])


@pytest.mark.parametrize(("split", "missing"), [("train", "test"), ("test", "train")])
def test_a_missing_split_is_named(dataset, split, missing):
    change(dataset["manifest"][0], split=split)
    with pytest.raises(ArtifactError, match=f"in the {missing} split"):
        read_clouds(dataset["manifest"][0], dataset["points"])


def test_embeddings_of_unusable_shapes_are_left_out(dataset, tmp_path):
    ids = list(read_manifest(dataset["manifest"][0])["shape_id"])
    embedding = np.arange(len(ids) * 2, dtype=np.float32).reshape(-1, 2)
    valid = np.array([shape_id != labelled_clouds.INVALID for shape_id in ids])
    write_stage(tmp_path / "e", "embeddings", ids, {"embedding": embedding, "valid": valid})
    shapes = read_embeddings(dataset["manifest"][0], tmp_path / "e")
    np.testing.assert_array_equal(shapes.values, embedding[valid])
