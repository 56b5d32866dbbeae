"""What a teacher is trained on: train and val alone, the same pictures however they are read, classes when needed."""

import numpy as np
import pandas as pd
import pytest
import torch

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.teachers import training_views
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.training_views import PictureData, TrainingViews, by_shape, by_view
from teachers.pictures import CLASSES, write_views

NAMES = ("bar", "disc", "frame", "bar", "disc", "frame", "bar")
SPLITS = ("train", "val", "train", "test", "train", "train", "train")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two shards of one dataset, shape 4 of the first unusable: (manifest, shards, images by id)."""
    folder, rows, images = tmp_path_factory.mktemp("views"), [], {}
    for part in ("one", "two"):
        ids, found = write_views(folder / f"{part}.safetensors", NAMES, num_views=3, seed=len(rows), unusable=(4,))
        images |= dict(zip(ids, found, strict=True))
        triples = zip(ids, NAMES, SPLITS, strict=True)
        rows += [[shape_id, name, CLASSES.index(name), split, "0000", "", ""] for shape_id, name, split in triples]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    return folder / "manifest.csv", [folder / "one.safetensors", folder / "two.safetensors"], images


def plain(size=32):
    return Preprocessing(size, (0.0,) * 3, (1.0,) * 3, interpolation="bilinear")


def wanted(images, split):
    names = [f"{name}-{part}-{row}" for part in ("one", "two") for row, name in enumerate(NAMES)]
    chosen = [name for name in names if SPLITS[int(name[-1])] == split and not name.endswith("-4")]
    return chosen, np.stack([images[name] for name in chosen]).transpose(0, 1, 4, 2, 3)


@pytest.mark.parametrize("decoded_at_once", [True, False])
@pytest.mark.parametrize("split", ["train", "val"])
def test_pictures_of_a_split_in_the_order_of_its_shapes(drawn, split, decoded_at_once, monkeypatch):
    if not decoded_at_once:
        monkeypatch.setattr(training_views, "LARGEST_DECODED", 0)
    manifest, shards, images = drawn
    stored = TrainingViews(manifest, shards).stored(split, plain())
    names, pictures = wanted(images, split)
    assert stored.label.tolist() == [CLASSES.index(name.split("-")[0]) for name in names]
    assert stored.num_images == 3 * len(names)
    assert np.array_equal(stored.images(np.arange(stored.num_images).reshape(-1, 3)), pictures)
    assert np.array_equal(stored.images(np.array([2, 0])), pictures[0, [2, 0]])


def test_resized_pictures_are_the_same_bits_alone_and_together(drawn, monkeypatch):
    manifest, shards, _ = drawn
    at_once = TrainingViews(manifest, shards).stored("train", plain(24)).images(np.arange(12))
    monkeypatch.setattr(training_views, "LARGEST_DECODED", 0)
    stored = TrainingViews(manifest, shards).stored("train", plain(24))
    one_by_one = np.concatenate([stored.images(np.array([number])) for number in range(12)])
    assert at_once.shape == (12, 3, 24, 24)
    assert np.array_equal(at_once, one_by_one)


def test_rows_are_shapes_or_views(drawn):
    manifest, shards, images = drawn
    stored = TrainingViews(manifest, shards).stored("train", plain())
    _, pictures = wanted(images, "train")
    rows = by_shape(stored).rows(np.array([3, 1]))
    assert torch.equal(rows["image"], torch.from_numpy(pictures[[3, 1]]))
    assert rows["label"].tolist() == stored.label[[3, 1]].tolist()
    single = by_view(stored, balanced=False)
    assert len(single) == stored.num_images
    assert torch.equal(single.rows(np.array([7]))["image"][0], torch.from_numpy(pictures[2, 1]))


def test_an_epoch_sees_every_view_once_and_goes_on_in_the_middle(drawn):
    manifest, shards, _ = drawn
    data = by_view(TrainingViews(manifest, shards).stored("train", plain()), balanced=False)
    whole = [batch["index"] for batch in data.batches(1, 4, seed=0)]
    assert len(set(torch.cat(whole).tolist())) == len(data) // 4 * 4
    rest = [batch["index"] for batch in data.batches(1, 4, seed=0, start=2)]
    assert all(torch.equal(left, right) for left, right in zip(whole[2:], rest, strict=True))


def test_balanced_rows_are_drawn_by_class_then_evenly():
    """One class has 1 row, one 3, one 996: each is a third of what is seen."""
    classes = np.repeat([7, 2, 4], [1, 3, 996])
    data = PictureData({"number": np.arange(1000)}, None, classes)
    order = np.concatenate([data.order(epoch, seed=1) for epoch in range(9)])
    share = [np.mean(classes[order] == label) for label in (7, 2, 4)]
    assert share == pytest.approx([1 / 3] * 3, abs=0.03)  # six standard deviations of 9,000 draws
    assert np.bincount(order[classes[order] == 2], minlength=4)[1:4] / np.sum(classes[order] == 2) == pytest.approx(
        [1 / 3] * 3, abs=0.06
    )
    assert np.array_equal(data.order(3, seed=1), data.order(3, seed=1))
    assert not np.array_equal(data.order(3, seed=1), data.order(4, seed=1))


def test_splits_without_shapes_and_without_classes(drawn, tmp_path):
    manifest, shards, _ = drawn
    rows = pd.read_csv(manifest, keep_default_na=False)
    rows["split"] = "test"
    write_manifest(tmp_path / "test.csv", rows)
    nothing = TrainingViews(tmp_path / "test.csv", shards)
    assert nothing.stored("val", plain()) is None
    with pytest.raises(ArtifactError, match="no usable shape in its train split"):
        nothing.required("train", plain())
    rows["split"] = list(SPLITS) * 2
    rows.loc[[0, 3], "class_name"] = ""  # a train shape and a test shape
    write_manifest(tmp_path / "bare.csv", rows)
    bare = TrainingViews(tmp_path / "bare.csv", shards)
    with pytest.raises(ArtifactError, match=r"bare\.csv: 1 shapes of its .* no class \(the first: bar-one-0\)"):
        bare.class_names()
    assert bare.stored("train", plain()).label[0] == -1
    assert TrainingViews(manifest, shards).class_names() == CLASSES
