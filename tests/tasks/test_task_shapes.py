"""Joining manifest and shards: rows in step, unusable shapes out, strangers refused."""

import numpy as np
import pytest

import labelled_clouds
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import open_test_split, write_manifest
from pointlift.contracts.stages import read_stages, write_stage
from pointlift.tasks.shapes import read_clouds, read_embeddings, read_prompts


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)


def change(manifest, **columns) -> None:
    write_manifest(manifest, open_test_split(manifest).assign(**columns))


def test_points_stay_with_their_shape(dataset):
    shapes = read_clouds(dataset["manifest"][0], dataset["points"])
    shard = read_stages(dataset["points"], "points")
    rows = open_test_split(dataset["manifest"][0]).set_index("shape_id")
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
    write_manifest(manifest, open_test_split(manifest).iloc[::-1])
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
    ids = list(open_test_split(dataset["manifest"][0])["shape_id"])
    embedding = np.arange(len(ids) * 2, dtype=np.float32).reshape(-1, 2)
    valid = np.array([shape_id != labelled_clouds.INVALID for shape_id in ids])
    write_stage(tmp_path / "e", "embeddings", ids, {"embedding": embedding, "valid": valid})
    shapes = read_embeddings(dataset["manifest"][0], tmp_path / "e")
    np.testing.assert_array_equal(shapes.values, embedding[valid])


def write_embeddings(manifest, path, **beside):
    ids = list(open_test_split(manifest)["shape_id"])
    valid = np.array([shape_id != labelled_clouds.INVALID for shape_id in ids])
    embedding = np.arange(len(ids) * 2, dtype=np.float32).reshape(-1, 2)
    arrays = {name: np.outer(np.arange(len(ids)), row).astype(np.float32) for name, row in beside.items()}
    write_stage(path, "embeddings", ids, {"embedding": embedding, "valid": valid, **arrays})
    return arrays, valid


def test_projected_embeddings_stay_with_their_shape(dataset, tmp_path):
    arrays, valid = write_embeddings(dataset["manifest"][0], tmp_path / "e", projected=[1, 2, 3])
    shapes = read_embeddings(dataset["manifest"][0], tmp_path / "e", "projected")
    np.testing.assert_array_equal(shapes.values, arrays["projected"][valid])
    own = read_embeddings(dataset["manifest"][0], tmp_path / "e")
    assert own.ids == shapes.ids and own.values.shape[1] == 2


def test_a_run_without_a_head_is_told(dataset, tmp_path):
    write_embeddings(dataset["manifest"][0], tmp_path / "e")
    with pytest.raises(ArtifactError, match=r"e: has no projected embeddings: .*of: embedding"):
        read_embeddings(dataset["manifest"][0], tmp_path / "e", "projected")


def write_prompts(path, names=("ball", "flat", "rod"), label=(0, 1, 2)):
    embedding = np.eye(len(names), 4, dtype=np.float32)
    write_stage(path, "prompts", names, {"embedding": embedding, "label": np.array(label)}, prompts=["a {}", "{}"])
    return embedding


def test_prompts_are_read_as_they_were_written(dataset, tmp_path):
    embedding = write_prompts(tmp_path / "p")
    found = read_prompts(dataset["manifest"][0], tmp_path / "p")
    assert (found.class_names, found.prompts) == (("ball", "flat", "rod"), ("a {}", "{}"))
    assert found.label.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.embedding, embedding)


@pytest.mark.parametrize(
    "names, label",
    [
        (("ball", "flat", "cube"), (0, 1, 2)),
        (("flat", "ball", "rod"), (0, 1, 2)),
        (("ball", "flat"), (0, 1)),
        (("ball", "flat", "rod"), (0, 1, 3)),
    ],
)
def test_prompts_of_other_classes_are_refused(dataset, tmp_path, names, label):
    write_prompts(tmp_path / "p", names, label)
    with pytest.raises(ArtifactError, match="its classes are not those of"):
        read_prompts(dataset["manifest"][0], tmp_path / "p")
