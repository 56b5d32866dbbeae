"""ShapeNetCore with the lists of ShapeNet-55: what a list may say, which meshes are read, and how."""

import collections
import json
import os

import numpy as np
import pytest
from mesh_layouts import BOX_OBJ, MODELS, write_shapenet

from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.datasets import shapenet
from pointlift.datasets.ingest import load_shard
from pointlift.geometry.meshes import face_areas

LISTS = "splits/pointbert_modelnet_shapenet/ShapeNet55-34/ShapeNet-55"


@pytest.fixture
def settings(settings_of):
    return lambda **changes: settings_of("shapenet", **changes)


@pytest.fixture
def root(tmp_path):
    write_shapenet(tmp_path)
    return tmp_path


def test_the_lists_decide_order_and_split(open_dataset):
    dataset = open_dataset("shapenet", val_share=0.0)
    assert list(dataset.ids) == MODELS["train"] + MODELS["test"]
    entries = [dataset.entry(shape_id) for shape_id in dataset.ids]
    assert [entry.split for entry in entries] == ["train"] * 3 + ["test"] * 2
    assert [entry.class_name for entry in entries] == ["airplane", "chair", "table", "chair", "trash bin"]
    assert entries[0].source_path == "02691156/1a2b/models/model_normalized.obj"
    assert len(dataset.class_names) == 55


def test_unlabelled_has_no_class_and_no_test(open_dataset):
    dataset = open_dataset("shapenet", unlabelled=True, val_share=0.0)
    entries = [dataset.entry(shape_id) for shape_id in dataset.ids]
    assert dataset.class_names == () and {entry.class_name for entry in entries} == {""}
    assert {entry.split for entry in entries} == {"train"}


def test_val_is_a_share_of_train_alone(root, settings):
    ids = [f"02691156-{number:x}" for number in range(400)]
    (root / "train.txt").write_text("".join(f"{shape_id}.npy\n" for shape_id in ids))
    for unlabelled, tests in ((False, 2), (True, 0)):
        dataset = shapenet.build(settings(val_share=0.2, unlabelled=unlabelled), root)
        counts = collections.Counter(dataset.entry(shape_id).split for shape_id in dataset.ids)
        assert counts["test"] == tests and 45 < counts["val"] < 115


def test_a_model_of_several_synsets_is_train_or_val_as_a_whole(root, settings):
    models = [f"c{number:03x}" for number in range(200)]
    synsets = ("02691156", "03001627")
    (root / "train.txt").write_text("".join(f"{synset}-{model}.npy\n" for synset in synsets for model in models))
    dataset = shapenet.build(settings(val_share=0.5), root)
    splits = [[dataset.entry(f"{synset}/{model}").split for model in models] for synset in synsets]
    assert splits[0] == splits[1] and set(splits[0]) == {"train", "val"}


def test_the_protocol_says_labels_and_part(settings):
    names = [
        settings(unlabelled=unlabelled, partial=partial).required_protocol()
        for unlabelled in (False, True)
        for partial in (False, True)
    ]
    assert names == ["shapenet55/v2-obj", "shapenet55/v2-obj-partial", "shapenet55/v2-obj-unlabelled",
                     "shapenet55/v2-obj-unlabelled-partial"]  # fmt: skip
    fewer = settings(partial=False, num_points=512, unlabelled=True)
    assert fewer.required_protocol() == "shapenet55/v2-obj-512-unlabelled"


def test_polygons_groups_and_coordinates_of_textures_are_read_and_y_comes_up(root, settings):
    mesh = shapenet.build(settings(), root).load("02691156/1a2b")
    np.testing.assert_array_equal(np.unique(mesh.vertices, axis=0).min(axis=0), [-1, -3, -2])
    np.testing.assert_array_equal(np.ptp(mesh.vertices, axis=0), [2, 6, 4])
    assert len(mesh.faces) == 12 and face_areas(mesh).sum() == pytest.approx(2 * (2 * 6 + 2 * 4 + 6 * 4))
    corners = mesh.vertices[mesh.faces]
    volume = np.linalg.det(corners).sum() / 6
    assert volume == pytest.approx(2 * 6 * 4)  # all faces look outwards: their corners kept their order


def test_materials_are_never_opened(root, settings):
    """A material library that is a pipe would hold a reader for ever."""
    path = root / "ShapeNetCore.v2/02691156/1a2b/models/model_normalized.mtl"
    path.unlink()
    os.mkfifo(path)
    assert len(shapenet.build(settings(), root).load("02691156/1a2b").faces) == 12


def test_the_folder_itself_will_do(root, settings):
    inside = root / "ShapeNetCore.v2"
    for name in ("train.txt", "test.txt"):
        (root / name).rename(inside / name)
    dataset = shapenet.build(settings(), inside)
    assert len(dataset.ids) == 5 and len(dataset.load("03001627/9").faces) == 12
    named = {inside / name for name in dataset._settings.source_files(dataset.ids)}
    assert {dataset._path(shape_id) for shape_id in dataset.ids} <= named


def test_the_files_that_decide_a_rerun_are_meshes_and_lists(raw_folders, open_dataset):
    dataset, folder = open_dataset("shapenet"), raw_folders["shapenet"]
    named = {folder / name for name in dataset._settings.source_files(dataset.ids)}
    assert {dataset._path(shape_id) for shape_id in dataset.ids} | {folder / "train.txt", folder / "test.txt"} <= named


def test_a_listed_mesh_that_is_not_there_is_quarantined(root, settings):
    (root / "ShapeNetCore.v2/02691156/1a2b/models/model_normalized.obj").unlink()
    (root / "train.txt").write_text((root / "train.txt").read_text() + "04379243-.npy\n")
    (root / "ShapeNetCore.v2/04379243/ff00/models/model_normalized.obj").write_text("<html>")
    dataset = shapenet.build(settings(), root)
    arrays, attributes = load_shard(dataset, dataset.ids)
    assert arrays["valid"].tolist() == [False, True, False, False, True, True]
    assert attributes["quarantine"] == {
        "02691156/1a2b": "it is listed, but its file 02691156/1a2b/models/model_normalized.obj is not there",
        "04379243/ff00": "the file is no mesh: it is a web page or XML, perhaps a failed download",
        "04379243/": "its line in the list names a synset, but no model",
    }
    assert attributes["entries"]["02691156/1a2b"]["sha256"] == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no shape"),
        ("\n \n", "lists no shape"),
        ("02691156-1a.npy\n02691156-1a.npy\n", "02691156/1a stands twice"),
        ("03001627-9.npy\n", "03001627/9 stands twice"),  # it is a test shape
        ("99999999-1a.npy\n", "'99999999-1a.npy' is not"),
        ("02691156-../../../etc/passwd.npy\n", "is not <synset>-<model>"),
        ("02691156-...npy\n", "is not <synset>-<model>"),
        ("../02691156-1a.npy\n", "is not <synset>-<model>"),
        ("/etc/passwd\n", "is not <synset>-<model>"),
        ("02691156-1a.txt\n", "is not <synset>-<model>"),
        ("02691156/1a\n", "is not <synset>-<model>"),
        ("<html>not found</html>\n", "is not <synset>-<model>"),
        ("02691156-" + "1" * 100_000, "is not <synset>-<model>"),
    ],
)
def test_a_list_that_cannot_be_is_named(text, reason, root, settings):
    (root / "train.txt").write_text(text)
    for call in (shapenet.list_ids, shapenet.build):
        with pytest.raises(ArtifactError, match=reason) as caught:
            call(settings(), root)
        assert "/train.txt: " in str(caught.value) or "/test.txt: " in str(caught.value)
        assert len(str(caught.value)) < 500 + len(str(root))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_list_that_cannot_be_read_is_named(content, root, settings):
    (root / "test.txt").unlink()
    if content is not None:
        (root / "test.txt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"test\.txt: the list cannot be read"):
        shapenet.list_ids(settings(), root)


def test_a_part_of_the_set_must_say_so(root, settings):
    for call in (shapenet.list_ids, shapenet.build):
        with pytest.raises(
            ArtifactError, match=r"3 train \(official 41952\), 2 test \(official 10518\): [^()]*partial: true"
        ):
            call(settings(partial=False), root)


def test_a_synset_that_was_not_unpacked_is_named(root, settings):
    (root / "ShapeNetCore.v2/02747177").rename(root / "elsewhere")
    with pytest.raises(ArtifactError, match=r"no folder 02747177 \(trash bin\), 1 of the synsets"):
        shapenet.build(settings(), root)


def test_names_are_one_a_synset():
    assert len(shapenet.CLASSES) == len(set(shapenet.CLASSES.values())) == 55
    assert BOX_OBJ.startswith("#")  # as the real files do


# ---- real files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def real_lists(realdata, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_bytes((realdata / LISTS / f"{split}.txt").read_bytes())
    for synset in shapenet.CLASSES:
        (tmp_path / "ShapeNetCore.v2" / synset).mkdir(parents=True)
    return tmp_path


@pytest.mark.realdata
def test_the_published_lists_are_the_whole_set(real_lists, settings):
    block = settings(partial=False, val_share=0.0)
    ids = shapenet.list_ids(block, real_lists)
    assert len(set(ids)) == len(ids) == 41952 + 10518
    assert ids[0] == "02828884/3d2ee152db78b312e5a8eba5f6050bab"
    assert ids[41952] == "03759954/109f1779a6993782f6426d6e3b63c5ce"
    dataset = shapenet.build(block, real_lists)
    splits = collections.Counter(dataset.entry(shape_id).split for shape_id in ids[41900:42000])
    assert splits == {"train": 52, "test": 48}
    assert {shape_id.partition("/")[0] for shape_id in ids} == set(shapenet.CLASSES)
    synsets = collections.Counter(shape_id.partition("/")[2] for shape_id in ids if not shape_id.endswith("/"))
    trained = {shape_id.partition("/")[2] for shape_id in ids[:41952]}
    tested = {shape_id.partition("/")[2] for shape_id in ids[41952:]}
    assert len(trained & tested) == 380 and set(synsets.values()) == {1, 2, 3}  # as the module says
    nameless = [shape_id for shape_id in ids if shape_id.endswith("/")]
    assert sorted(nameless) == ["02747177/", "04379243/"]
    for shape_id in nameless:
        with pytest.raises(UnusableShapeError, match="no model"):
            dataset.load(shape_id)


@pytest.mark.realdata
def test_the_published_names(realdata):
    published = json.loads((realdata / "splits/pointbert_modelnet_shapenet/shapenet_synset_dict.json").read_text())
    assert published == shapenet.CLASSES
