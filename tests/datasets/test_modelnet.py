"""ModelNet's original meshes: ids that need no file, files that are the official ones, and the real ones beside us."""

import collections

import numpy as np
import pytest
from mesh_layouts import write_modelnet

from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.datasets import modelnet, modelnet40

WHOLE = {"partial": False}


@pytest.fixture
def settings(settings_of):
    return lambda **changes: settings_of("modelnet", **changes)


def test_ids_of_whole_sets_need_no_file(settings):
    for variant, train, test in (("modelnet40", 9843, 2468), ("modelnet10", 3991, 908)):
        ids = modelnet.list_ids(settings(variant=variant, **WHOLE), None)
        assert len(set(ids)) == len(ids) == train + test
        assert ids == modelnet.list_ids(settings(variant=variant, **WHOLE), None)
        assert [len(modelnet40.split_ids(split, modelnet.VARIANTS[variant][1])) for split in ("train", "test")] == [
            train, test]  # fmt: skip


def test_the_ten_classes_keep_their_numbers():
    """Published statistics of ModelNet10's test files: their numbers, counted from 0, run from 106 to 988."""
    names = modelnet40.TEN_CLASS_NAMES
    assert len(names) == 10 and set(names) < set(modelnet40.CLASS_NAMES)
    test = modelnet40.split_ids("test", names)
    numbers = [int(shape_id.rpartition("_")[2]) - 1 for shape_id in test]
    assert (min(numbers), max(numbers)) == (106, 988)
    assert set(test) < set(modelnet40.split_ids("test"))


def test_a_part_is_listed_in_the_official_order(open_dataset):
    dataset = open_dataset("modelnet", val_share=0.0)
    assert dataset.ids == ("airplane_0001", "bathtub_0106", "tv_stand_0267", "bathtub_0107", "xbox_0104")
    entries = [dataset.entry(shape_id) for shape_id in dataset.ids]
    assert [entry.split for entry in entries] == ["train"] * 3 + ["test"] * 2
    assert [entry.class_name for entry in entries] == ["airplane", "bathtub", "tv_stand", "bathtub", "xbox"]
    assert entries[2].source_path == "tv_stand/train/tv_stand_0267.off"
    assert dataset.class_names == modelnet40.CLASS_NAMES
    widths = [np.ptp(dataset.load(shape_id).vertices, axis=0).tolist() for shape_id in dataset.ids]
    assert widths == [[1, 2, 3], [2, 2, 3], [3, 2, 3], [2, 2, 3], [1, 2, 3]]


def test_val_is_a_share_of_train_alone(settings, tmp_path):
    write_modelnet(tmp_path, train=modelnet40.split_ids("train")[:300])
    dataset = modelnet.build(settings(val_share=0.2), tmp_path)
    counts = collections.Counter(dataset.entry(shape_id).split for shape_id in dataset.ids)
    assert counts["test"] == 2 and counts["train"] + counts["val"] == 300
    assert 35 < counts["val"] < 85


def test_the_folder_itself_will_do(settings, tmp_path):
    folder = write_modelnet(tmp_path)
    assert modelnet.build(settings(), folder).ids == modelnet.build(settings(), tmp_path).ids
    assert modelnet.list_ids(settings(), folder) == modelnet.list_ids(settings(), tmp_path)


def test_the_protocol_says_base_variant_and_part(settings):
    names = {
        (variant, partial): settings(variant=variant, partial=partial).required_protocol()
        for variant in modelnet.VARIANTS
        for partial in (False, True)
    }
    assert names == {
        ("modelnet40", False): "mn40/off",
        ("modelnet40", True): "mn40/off-partial",
        ("modelnet10", False): "mn10/off",
        ("modelnet10", True): "mn10/off-partial",
    }
    for changes, told in (
        ({"num_points": 512}, "mn40/off-512"),
        ({"scan": {"num_views": 1}}, "mn40/off-scan1-1024"),
        ({"scan": {"noise": 0.1}}, "mn40/off-noise0.1-1024"),
        ({"scan": {"num_views": 3, "noise": 0.005}, "num_points": 64}, "mn40/off-scan3-noise0.005-64"),
    ):
        block = settings(variant="modelnet40", partial=False, protocol=told, **changes)
        assert block.required_protocol() == told == block.protocol


def test_the_files_that_decide_a_rerun_are_those_that_are_read(raw_folders, open_dataset):
    dataset = open_dataset("modelnet")
    named = {raw_folders["modelnet"] / name for name in dataset._settings.source_files(dataset.ids)}
    assert {dataset._path(shape_id) for shape_id in dataset.ids} <= named


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All of ModelNet10's names, and what its archive holds beside them; no file has content. To be left as it is."""
    root = tmp_path_factory.mktemp("whole")
    for split in ("train", "test"):
        for shape_id in modelnet40.split_ids(split, modelnet40.TEN_CLASS_NAMES):
            path = root / "ModelNet10" / shape_id.rpartition("_")[0] / split / f"{shape_id}.off"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / "ModelNet10/.DS_Store").touch()
    (root / "ModelNet10/README.txt").touch()
    (root / "ModelNet10/bed/train/._bed_0001.off").touch()
    (root / "__MACOSX").mkdir()
    return root


def test_a_whole_set_is_told_from_a_part_by_its_names(whole, settings):
    block = settings(variant="modelnet10", **WHOLE)
    assert modelnet.list_ids(block, whole) == modelnet.list_ids(block, None)
    with pytest.raises(UnusableShapeError, match="empty"):
        modelnet.build(block, whole).load("bed_0001")
    path = whole / "ModelNet10/bed/train/bed_0007.off"
    path.unlink()
    try:
        for call in (modelnet.list_ids, modelnet.build):
            with pytest.raises(ArtifactError, match=r"1 of the 4899 official .*first is bed_0007; .*partial: true"):
                call(block, whole)
        assert len(modelnet.list_ids(settings(variant="modelnet10"), whole)) == 4898
    finally:
        path.touch()


@pytest.mark.parametrize(
    "wrong",
    [
        "bed/train/bed_9999.off",  # no such number
        "bed/test/bed_0001.off",  # in both splits
        "chair/train/bed_0001.off",  # in another class
        "lamp/train/lamp_0001.off",  # one of the forty, none of the ten
        "bed/train/bed_1.off",
    ],
)
@pytest.mark.parametrize("partial", [True, False])
def test_a_file_that_is_not_official_is_named(wrong, partial, whole, settings):
    path = whole / "ModelNet10" / wrong
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        with pytest.raises(ArtifactError, match=rf"{wrong}: no shape of the official (train|test) split of ModelNet10"):
            modelnet.list_ids(settings(variant="modelnet10", partial=partial), whole)
    finally:
        path.unlink()


def test_the_other_variant_is_not_taken_for_this_one(whole, settings, tmp_path):
    with pytest.raises(ArtifactError, match="7412 of the 12311 official shapes of ModelNet40"):
        modelnet.list_ids(settings(**WHOLE), whole / "ModelNet10")
    with pytest.raises(ArtifactError, match=r"airplane_0001\.off: no shape of .* ModelNet10"):
        modelnet.list_ids(settings(variant="modelnet10"), write_modelnet(tmp_path))


@pytest.mark.parametrize("partial", [True, False])
def test_a_folder_without_meshes_says_what_it_must_hold(partial, settings, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ArtifactError, match=r"holds no mesh of ModelNet40, whose layout is <class>/\{train,test\}"):
        modelnet.list_ids(settings(partial=partial), tmp_path)


def test_a_file_that_went_away_is_its_own_problem(settings, tmp_path):
    folder = write_modelnet(tmp_path)
    dataset = modelnet.build(settings(), tmp_path)
    (folder / "xbox/test/xbox_0104.off").unlink()
    with pytest.raises(UnusableShapeError, match="cannot be read"):
        dataset.load("xbox_0104")
    assert dataset.entry("xbox_0104").sha256 == ""


# ---- real files ----------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_the_real_files_load(realdata, settings):
    """All 18, by an independent reader for those whose header it understands."""
    import trimesh

    loaded = {}
    for variant in modelnet.VARIANTS:
        dataset = modelnet.build(settings(variant=variant), realdata / "modelnet_off")
        loaded |= {dataset._path(shape_id): dataset.load(shape_id) for shape_id in dataset.ids}
        assert dataset.entry("bathtub_0001").split in ("train", "val")
    assert set(loaded) == set((realdata / "modelnet_off").rglob("*.off")) and len(loaded) == 18
    compared = 0
    for path, mesh in loaded.items():
        if path.read_bytes()[:4] == b"OFF\n":
            other = trimesh.load(path, process=False)
            used = other.vertices[np.unique(other.faces[other.area_faces > 0])]
            areas = [trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).area, other.area]
            np.testing.assert_allclose(*areas, rtol=1e-6)
            np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), np.ptp(used, axis=0), rtol=1e-6)
            compared += 1
    assert compared >= 5


@pytest.mark.realdata
def test_broken_headers_hold_the_geometry_of_their_twins(realdata, settings):
    folder = realdata / "modelnet_off"
    forty = modelnet.build(settings(), folder)
    ten = modelnet.build(settings(variant="modelnet10"), folder)
    shared = sorted(set(forty.ids) & set(ten.ids))
    assert shared == ["bathtub_0001", "bathtub_0002", "bathtub_0003"]
    for shape_id in shared:
        assert forty._path(shape_id).read_bytes()[:4] != b"OFF\n" == ten._path(shape_id).read_bytes()[:4]
        mesh, twin = forty.load(shape_id), ten.load(shape_id)
        np.testing.assert_array_equal(mesh.vertices, twin.vertices)
        np.testing.assert_array_equal(mesh.faces, twin.faces)


@pytest.mark.realdata
def test_z_is_up_in_the_real_files(realdata, settings):
    """An airplane and a sofa are lowest along z, chairs and a stool highest."""
    dataset = modelnet.build(settings(), realdata / "modelnet_off")
    extents = {shape_id: np.ptp(dataset.load(shape_id).vertices, axis=0) for shape_id in dataset.ids}
    assert {int(extents[shape_id].argmin()) for shape_id in ("airplane_0003", "sofa_0005")} == {2}
    assert {int(extents[shape_id].argmax()) for shape_id in ("chair_0001", "chair_0890", "stool_0002")} == {2}
