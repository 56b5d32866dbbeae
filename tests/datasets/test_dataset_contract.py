"""What every member of the room datasets keeps, from its first day."""

import re

import numpy as np
import pytest

from pointlift import rooms
from pointlift.contracts.dataset_blocks import DatasetSettings, PointDatasetSettings
from pointlift.contracts.errors import PointliftError, UnusableShapeError
from pointlift.contracts.settings import mistakes
from pointlift.contracts.stages import POINT_ATTRIBUTES
from pointlift.geometry.clouds import check

KINDS = rooms.available("datasets")
MESHES = [kind for kind in KINDS if rooms.settings_class("datasets", kind).has_meshes]
POINTS = [kind for kind in KINDS if kind not in MESHES]
OFFICIAL_ORDER = {"scanobjectnn"}  # its list of names is not sorted, and its labels count along it


def loaded_ids(dataset):
    """A few ids over the whole dataset."""
    return dataset.ids[:: max(1, len(dataset.ids) // 5)]


def test_the_room_has_the_kinds_that_config_may_name():
    assert MESHES == ["folder", "modelnet", "princeton", "procedural", "psb", "shapenet"]
    assert POINTS == [
        "modelnet_h5", "modelnet_resampled", "procedural_frames", "procedural_rooms", "s3dis", "scannet",
        "scannet_frames", "scanobjectnn", "semantickitti", "shapenet_part", "sunrgbd",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_settings_without_the_member_equal_settings_of_the_member(kind):
    cheap, full = rooms.settings_class("datasets", kind), rooms.load("datasets", kind).Settings
    assert issubclass(cheap, DatasetSettings) and issubclass(full, DatasetSettings)
    assert issubclass(full, PointDatasetSettings) == (kind in POINTS)
    assert cheap.has_meshes == full.has_meshes
    assert cheap.model_json_schema() == full.model_json_schema()
    assert cheap.needs_files == full.needs_files
    assert mistakes(cheap, {"kind": kind, "no_such_key": 1}, "block")


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_distinct_safe_and_listed_cheaply(kind, open_dataset, raw_folders):
    dataset = open_dataset(kind)
    assert len(set(dataset.ids)) == len(dataset.ids) > 0
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", shape_id) for shape_id in dataset.ids)
    assert rooms.load("datasets", kind).list_ids(dataset._settings, raw_folders.get(kind)) == dataset.ids


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_sorted_and_the_source_is_told(kind, open_dataset):
    dataset = open_dataset(kind)
    assert len(set(dataset.class_names)) == len(dataset.class_names)
    assert list(dataset.class_names) == sorted(dataset.class_names) or kind in OFFICIAL_ORDER
    assert list(dataset.part_names) == sorted(set(dataset.part_names))
    assert all("/" in name for name in dataset.part_names)
    assert bool(dataset.part_names) == rooms.settings_class("datasets", kind).has_parts
    assert dataset.licence
    assert dataset.up_axis in ("x", "y", "z", None)


@pytest.mark.parametrize("kind", MESHES)
def test_meshes_are_clean_and_labelled(kind, open_dataset):
    dataset = open_dataset(kind)
    for shape_id in loaded_ids(dataset):
        try:
            mesh = dataset.load(shape_id)
        except UnusableShapeError:
            assert kind == "psb"  # the small layout holds nine of its shapes
            continue
        assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
        assert np.isfinite(mesh.vertices).all()
        assert set(np.unique(mesh.faces)) == set(range(len(mesh.vertices)))
        if dataset.part_names:
            assert mesh.part_label.dtype == np.int16 and mesh.part_label.shape == (len(mesh.faces),)
            own = {dataset.part_names[label].split("/")[0] for label in mesh.part_label}
            assert own == {dataset.entry(shape_id).class_name}


@pytest.mark.parametrize("kind", POINTS)
def test_clouds_are_whole_and_labelled(kind, open_dataset):
    dataset = open_dataset(kind)
    for shape_id in dataset.ids:
        cloud = check(dataset.load_points(shape_id))
        assert cloud.points.dtype == np.float64 and len(cloud.points) >= 100
        given = {name for name in POINT_ATTRIBUTES if getattr(cloud, name) is not None}
        assert given == set(dataset.point_attributes)
        if "normals" in given:
            np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1.0, atol=1e-4)
        assert (cloud.part_label is not None) == bool(dataset.part_names)
        if dataset.part_names:
            own = {dataset.part_names[label].split("/")[0] for label in cloud.part_label}
            assert own == {dataset.entry(shape_id).class_name}
        assert (cloud.semantic_label is not None) == bool(dataset.semantic_names)
        if dataset.semantic_names:
            assert cloud.semantic_label.min() >= -1 and cloud.semantic_label.max() < len(dataset.semantic_names)
        assert (cloud.boxes is not None) == bool(dataset.box_names)
        if dataset.box_names:
            assert ((cloud.boxes.label >= 0) & (cloud.boxes.label < len(dataset.box_names))).all()


@pytest.mark.parametrize("kind", POINTS)
def test_scenes_have_no_class_and_their_names_stand_once(kind, open_dataset, settings_of):
    dataset = open_dataset(kind)
    for names in (dataset.semantic_names, dataset.box_names):
        assert len(set(names)) == len(names)
    is_scene = settings_of(kind).has_scenes
    assert is_scene == (not dataset.class_names)
    assert is_scene == bool(dataset.semantic_names or dataset.box_names) or kind == "scannet_frames"
    assert {dataset.entry(shape_id).class_name == "" for shape_id in dataset.ids} == {is_scene}


@pytest.mark.parametrize("kind", POINTS)
def test_points_name_their_protocol(kind, settings_of):
    first = {"subsample": "first", "num_points": 100}
    fields = rooms.settings_class("datasets", kind).model_fields
    other_set = {"partial": False} if "partial" in fields else {"colour": False}
    changed = [{}, first, {"subsample": "random", "num_points": 99}, other_set]
    if not settings_of(kind).has_views:  # frames stay where their cameras stand
        changed.append(first | {"keep_coordinates": not settings_of(kind).keep_coordinates})
    names = [settings_of(kind, **changes).required_protocol() for changes in changed]
    assert len(set(names)) == len(changed)
    for name in names:
        assert settings_of(kind, protocol=name).protocol == name  # it is one that a block may say


@pytest.mark.parametrize("kind", KINDS)
def test_entries_do_not_change_from_call_to_call(kind, open_dataset):
    dataset, again = open_dataset(kind), open_dataset(kind)
    for shape_id in loaded_ids(dataset):
        entry = dataset.entry(shape_id)
        assert entry == again.entry(shape_id)
        assert entry.split in ("train", "val", "test")
        assert re.fullmatch(r"[0-9a-f]{64}|", entry.sha256)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_id_is_a_clear_error(kind, open_dataset):
    dataset = open_dataset(kind)
    load = dataset.load if kind in MESHES else dataset.load_points
    for wrong in ("nothing-of-the-kind", "mn40h5-train-99999", "sonn-train-0", "train-00000", "x"):
        with pytest.raises(PointliftError):
            load(wrong)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("procedural")])
@pytest.mark.parametrize("folder", [None, "missing"])
def test_a_missing_folder_says_what_to_do(kind, folder, tmp_path, settings_of):
    with pytest.raises(PointliftError, match=r"folder|archive"):
        rooms.load("datasets", kind).build(settings_of(kind), folder and tmp_path / folder)
