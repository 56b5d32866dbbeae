"""Point datasets read what their published layouts hold: row by row, label by label, split by split."""

import json

import h5py
import numpy as np
import pytest

from point_layouts import (
    SHAPENET_TOKENS,
    cloud,
    write_modelnet_resampled,
    write_shapenet_part,
)
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.datasets import hdf5_clouds, modelnet40, modelnet_h5, modelnet_resampled, scanobjectnn, shapenet_part
from pointlift.datasets.source_folder import split_or_val
from pointlift.datasets.text_cloud import read_table

OPENED = ("modelnet_h5", "modelnet_resampled", "scanobjectnn", "shapenet_part")


def turned(points):
    """y up to z up, as any textbook has it: x stays, y becomes z, z becomes -y."""
    points = np.asarray(points, np.float64)
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def test_rows_of_modelnet_h5_run_through_its_files(open_dataset):
    dataset = open_dataset("modelnet_h5", val_share=0.0)
    assert dataset.ids == hdf5_clouds.row_ids("mn40h5", "train", 5) + hdf5_clouds.row_ids("mn40h5", "test", 2)
    assert dataset.ids[3] == "mn40h5-train-00003"
    names = [dataset.entry(shape_id).class_name for shape_id in dataset.ids]
    assert names == ["airplane", "bottle", "xbox", "bathtub", "bed", "airplane", "xbox"]
    assert [dataset.entry(shape_id).split for shape_id in dataset.ids] == ["train"] * 5 + ["test"] * 2
    assert dataset.entry("mn40h5-train-00003").source_path == "ply_data_train1.h5"
    for shape_id, seed in (
        ("mn40h5-train-00002", [0, 2]),
        ("mn40h5-train-00004", [1, 1]),
        ("mn40h5-test-00001", [10, 1]),
    ):
        found, (points, normals) = dataset.load_points(shape_id), cloud(seed)
        np.testing.assert_array_equal(found.points, turned(points))
        np.testing.assert_array_equal(found.normals, turned(normals))


def test_scanobjectnn_gives_the_file_that_its_variant_names(open_dataset):
    seen = {variant: open_dataset("scanobjectnn", variant=variant) for variant in scanobjectnn.COUNTS}
    names = {variant: dataset.entry(dataset.ids[0]).class_name for variant, dataset in seen.items()}
    assert names == {"obj_bg": "bag", "obj_only": "bin", "pb_t50_rs": "box"}
    assert len({dataset.entry(dataset.ids[1]).sha256 for dataset in seen.values()}) == 3
    assert seen["obj_bg"].ids == seen["obj_only"].ids, "the same objects"
    assert not set(seen["obj_bg"].ids) & set(seen["pb_t50_rs"].ids)
    dataset = seen["obj_only"]
    assert [dataset.entry(shape_id).class_name for shape_id in dataset.ids[1:]] == ["toilet", "bed", "cabinet", "bin", "toilet"]  # fmt: skip # noqa: E501
    assert dataset.entry("sonn-test-00000").source_path == "main_split_nobg/test_objectdataset.h5"
    assert dataset.load_points("sonn-train-00000").normals is None
    np.testing.assert_array_equal(dataset.load_points("sonn-train-00002").points, turned(cloud([1, 2])[0]))


def test_scanobjectnn_refuses_another_file_than_the_named_one(open_dataset):
    with pytest.raises(ArtifactError, match=r"training_objectdataset\.h5: not the file whose train_sha256"):
        open_dataset("scanobjectnn", train_sha256="0" * 64)


def test_resampled_lists_decide_the_split(open_dataset):
    dataset = open_dataset("modelnet_resampled", val_share=0.0)
    assert dataset.ids == ("airplane_0001", "airplane_0002", "tv_stand_0001", "xbox_0104")
    assert [dataset.entry(shape_id).split for shape_id in dataset.ids] == ["train", "train", "train", "test"]
    assert dataset.entry("tv_stand_0001").class_name == "tv_stand"
    points, normals = cloud([7, 2], 300)
    found = dataset.load_points("tv_stand_0001")
    np.testing.assert_allclose(found.points, turned(points), atol=1e-6)
    np.testing.assert_allclose(found.normals, turned(normals), atol=1e-6)


def test_shapenet_part_has_three_splits_and_labels_that_run_on(open_dataset):
    dataset = open_dataset("shapenet_part")
    splits = {shape_id.split("/")[1]: dataset.entry(shape_id).split for shape_id in dataset.ids}
    assert splits == {token: split for split, tokens in SHAPENET_TOKENS.items() for token in tokens}
    assert dataset.entry("03001627/d4").split == "val"
    assert open_dataset("shapenet_part", trainval=True).entry("03001627/d4").split == "train"
    chair = dataset.load_points("03001627/a1")
    assert sorted(set(chair.part_label.tolist())) == [12, 13, 14]
    assert {dataset.part_names[label] for label in chair.part_label} == {"Chair/0", "Chair/1", "Chair/2"}
    np.testing.assert_allclose(chair.points, turned(cloud([8, 100], 100)[0]), atol=1e-6)


def test_shapenet_part_has_50_parts_in_16_categories():
    assert len(shapenet_part.PART_NAMES) == 50 and len(shapenet_part.CATEGORIES) == 16
    first = {name: shapenet_part.PART_NAMES.index(f"{name}/0") for name in shapenet_part.CATEGORIES}
    # as the benchmark's own evaluation lists them
    assert first == {
        "Airplane": 0, "Bag": 4, "Cap": 6, "Car": 8, "Chair": 12, "Earphone": 16, "Guitar": 19, "Knife": 22,
        "Lamp": 24, "Laptop": 28, "Motorbike": 30, "Mug": 36, "Pistol": 38, "Rocket": 41, "Skateboard": 44, "Table": 47,
    }  # fmt: skip


def test_whole_sets_are_known_without_files(settings_of):
    for kind, counts, changes in (
        ("modelnet_h5", (9840, 2468), {}),
        ("modelnet_resampled", (9843, 2468), {}),
        ("scanobjectnn", (2309, 581), {"variant": "obj_bg"}),
        ("scanobjectnn", (2309, 581), {"variant": "obj_only"}),
        ("scanobjectnn", (11416, 2882), {"variant": "pb_t50_rs"}),
    ):
        ids = rooms.load("datasets", kind).list_ids(settings_of(kind, partial=False, **changes), None)
        assert len(set(ids)) == len(ids) == sum(counts)


@pytest.mark.parametrize("kind", OPENED)
def test_the_files_that_decide_a_rerun_are_those_that_are_read(kind, raw_folders, open_dataset):
    dataset, folder = open_dataset(kind), raw_folders[kind]
    named = {folder / name for name in dataset._settings.source_files(dataset.ids)}
    read = {next(folder.rglob(dataset.entry(shape_id).source_path)) for shape_id in dataset.ids}
    assert read <= named


@pytest.mark.parametrize("kind", OPENED)
def test_a_part_of_a_set_must_say_so(kind, raw_folders, settings_of):
    module = rooms.load("datasets", kind)
    with pytest.raises(ArtifactError, match=r"official.*partial: true"):
        module.list_ids(settings_of(kind, partial=False), raw_folders[kind])
    with pytest.raises(ArtifactError, match=r"official.*partial: true"):
        module.build(settings_of(kind, partial=False), raw_folders[kind])


def test_whole_sets_are_told_from_others_by_their_headers_alone(tmp_path, settings_of):
    def write(path, count):
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:  # space is set aside, not filled: chunks that nobody wrote
            file.create_dataset("data", shape=(count, 2048, 3), dtype="f4", chunks=(1, 2048, 3))
            file.create_dataset("label", shape=(count,), dtype="u1")

    def ids(folder, variant):
        return scanobjectnn.list_ids(settings_of("scanobjectnn", partial=False, variant=variant), folder)

    for folder, end, train, test in (
        ("main_split", "", 2309, 581),
        ("main_split", "_augmentedrot_scale75", 11416, 2882),
    ):
        write(tmp_path / f"h5_files/{folder}/training_objectdataset{end}.h5", train)
        write(tmp_path / f"h5_files/{folder}/test_objectdataset{end}.h5", test)
    assert len(ids(tmp_path, "obj_bg")) == 2890 and len(ids(tmp_path, "pb_t50_rs")) == 14298
    with pytest.raises(ArtifactError, match="main_split_nobg"):
        ids(tmp_path, "obj_only")
    swapped = tmp_path / "h5_files/main_split/training_objectdataset.h5"
    swapped.rename(tmp_path / "kept")
    write(swapped, 11416)
    with pytest.raises(ArtifactError, match=r"11416 train \(official 2309\), 581 test .* another variant.*not checked"):
        ids(tmp_path, "obj_bg")


def test_val_is_a_share_of_train_that_hangs_on_the_id(settings_of):
    ids = modelnet_h5.list_ids(settings_of("modelnet_h5", partial=False), None)
    splits = [split_or_val(shape_id, "-test-" in shape_id, "modelnet_h5", 0.1) for shape_id in ids]
    assert splits.count("test") == 2468
    assert splits.count("val") == pytest.approx(984, abs=100)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"1,2,3\n", "lines have 3 numbers, must have 6"),
        (b"1,2,3,4,5,6\n1,2,3\n", "not a table of numbers"),
        (b"1,2,3,4,5,x\n", "not a table of numbers"),
        (b"1 2 3 4 5 6\n", "not a table of numbers"),
        (b"\xff\xfe\x00\x01\x80", "not a table of numbers"),
        (b"<html>\n", "not a table of numbers"),
        (b"1,2,3,4,5,\n", "not a table of numbers"),
    ],
)
def test_a_text_file_that_is_no_table_says_why(content, reason, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(UnusableShapeError, match=reason):
        read_table(path, 6, ",")
    with pytest.raises(UnusableShapeError, match="cannot be read"):
        read_table(tmp_path / "none.txt", 6, ",")


def test_any_bytes_are_a_table_or_a_reason(tmp_path):
    rng, letters, told = np.random.default_rng(1), b"0123456789.,-+e \n\tnaif#\x00\xff", 0
    path = tmp_path / "a.txt"
    for _ in range(500):
        path.write_bytes(bytes(rng.choice(list(letters), size=rng.integers(1, 60)).astype(np.uint8)))
        try:
            assert read_table(path, 6, ",").shape[1] == 6
        except UnusableShapeError:
            told += 1
    assert told > 400


@pytest.mark.parametrize(("line", "reason"), [("0 0 0 0 0 1 16", "12 to 15"), ("0 0 0 0 0 1 12.5", "12 to 15"), ("0 0 0 0 0 1 nan", "12 to 15")])  # fmt: skip # noqa: E501
def test_a_part_of_another_category_is_unusable(line, reason, tmp_path, settings_of):
    folder = write_shapenet_part(tmp_path)
    (folder / "03001627" / "a1.txt").write_text(f"{line}\n")
    with pytest.raises(UnusableShapeError, match=reason):
        shapenet_part.build(settings_of("shapenet_part"), tmp_path).load_points("03001627/a1")


@pytest.mark.parametrize(
    "content",
    ["", "[", "{}", "[1]", '["shape_data/99999999/a"]', '["shape_data/03001627/../../x"]', '["/etc/passwd"]', "null",
     "[" * 100_000, '["shape_data/03001627/e5"]', '["shape_data/03001627/z", "shape_data/03001627/z"]'],
)  # fmt: skip
def test_a_list_that_is_none_is_named(content, tmp_path, settings_of):
    folder = write_shapenet_part(tmp_path)
    (folder / "train_test_split" / "shuffled_train_file_list.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"shuffled_(train|val|test)_file_list\.json: "):
        shapenet_part.list_ids(settings_of("shapenet_part"), tmp_path)


def test_other_categories_are_refused(tmp_path, settings_of):
    (write_shapenet_part(tmp_path) / "synsetoffset2category.txt").write_text("Airplane\t02691156\nodd line here\n")
    with pytest.raises(ArtifactError, match="16 official categories"):
        shapenet_part.build(settings_of("shapenet_part"), tmp_path)


def test_a_resampled_list_with_another_shape_is_named(tmp_path, settings_of):
    folder = write_modelnet_resampled(tmp_path)
    for content, reason in (("airplane_0627\n", "'airplane_0627' is not in"), ("../x\n", "is not in"),
                            ("airplane_0001\nairplane_0001\n", "stands twice"), ("\n", "no shape")):  # fmt: skip
        (folder / "modelnet40_train.txt").write_text(content)
        with pytest.raises(ArtifactError, match=reason):
            modelnet_resampled.build(settings_of("modelnet_resampled"), tmp_path)


# ---- real files ----------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_resampled_airplanes(realdata, tmp_path, settings_of):
    lists = realdata / "splits/pointbert_modelnet_shapenet/ModelNet/modelnet40_normal_resampled"
    folder = tmp_path / "modelnet40_normal_resampled"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"modelnet40_{split}.txt").write_bytes((lists / f"modelnet40_{split}.txt").read_bytes())
    (folder / "airplane").symlink_to(realdata / "modelnet40_normal_resampled" / "airplane")
    dataset = modelnet_resampled.build(settings_of("modelnet_resampled", partial=False, val_share=0.0), tmp_path)
    assert dataset.ids == modelnet_resampled.list_ids(settings_of("modelnet_resampled", partial=False), None)
    assert len(dataset.ids) == 9843 + 2468
    splits = {shape_id: dataset.entry(shape_id).split for shape_id in ("airplane_0004", "airplane_0627")}
    assert splits == {"airplane_0004": "train", "airplane_0627": "test"}
    for shape_id in ("airplane_0001", "airplane_0628"):
        found = dataset.load_points(shape_id)
        assert found.points.shape == (10000, 3)
        np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1.0, atol=2e-3)
        assert np.ptp(found.points[:, 2]) < np.ptp(found.points[:, :2], axis=0).min()  # lying on its belly, z up


@pytest.mark.realdata
def test_a_resampled_airplane_is_its_original_mesh(realdata, settings_of, tmp_path):
    """The up axis, by the original OFF file, which is z up: the tail fin points the same way."""
    from scipy.spatial import cKDTree

    from pointlift.datasets.mesh_file import read_mesh

    def boxed(points):
        return (points - (points.min(axis=0) + points.max(axis=0)) / 2) / np.ptp(points, axis=0).max()

    original = boxed(read_mesh(realdata / "modelnet_off/ModelNet40/airplane/train/airplane_0003.off").vertices)
    table = read_table(realdata / "modelnet40_normal_resampled/airplane/airplane_0003.txt", 6, ",")
    points = boxed(turned(table[:, :3]))
    half_turn = points * [-1, -1, 1]
    overturned = points * [1, -1, -1]
    near, far = (cKDTree(cloud).query(original)[0].mean() for cloud in (half_turn, overturned))
    assert near < 0.006 < 2 * 0.006 < far


@pytest.mark.realdata
def test_real_names_and_synsets(realdata):
    splits = realdata / "splits"
    names = (splits / "scanobjectnn/shape_names_ext.txt").read_text().split()
    assert tuple(names) == scanobjectnn.CLASS_NAMES
    modelnet = splits / "pointbert_modelnet_shapenet/ModelNet/modelnet40_normal_resampled/modelnet40_shape_names.txt"
    assert tuple(modelnet.read_text().split()) == modelnet40.CLASS_NAMES
    synsets = json.loads((splits / "pointbert_modelnet_shapenet/shapenet_synset_dict.json").read_text())
    told = {name: synsets[synset] for name, (synset, _) in shapenet_part.CATEGORIES.items()}
    assert {name: name.lower() for name in told} == told
    listed = [line.split() for line in (splits / "scanobjectnn/main_split.txt").read_text().splitlines()]
    assert {int(words[1]) for words in listed} == set(range(15))
    tests = sum(words[2:] == ["t"] for words in listed)
    assert (len(listed) - tests, tests) == (2315, 587)  # not the counts of the HDF5 files, as the module says
