"""Which rows of ScanObjectNN's PB_T50_RS are copies of one object: what a list file says, or that nobody says it."""

import shutil

import pytest
from pydantic import ValidationError

from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.manifest import COLUMNS, OBJECT
from pointlift.contracts.shards import Shard
from pointlift.datasets.ingest import load_points_shard, manifest_rows
from pointlift.datasets.source_folder import split_or_val

# The labels of the small layout: train 2 14 10 3, test 2 14.
GOOD = "split,row,object\n" + "".join(
    f"{line}\n"
    for line in ("train,0,box1", "train,1,toilet 1", "train,2,bed1", "train,3,cabinet1", "test,1,t2", "test,0,b9")
)


@pytest.fixture
def opened(tmp_path, raw_folders, settings_of):
    """The variant with copies, with this text as its list of objects; None: without one."""
    folder = tmp_path / "files"
    shutil.copytree(raw_folders["scanobjectnn"], folder)

    def open_with(text, **changes):
        named = {}
        if text is not None:
            path = folder / "h5_files" / "objects.csv"
            path.write_text(text, encoding="utf-8")
            named = {"objects": "objects.csv", "objects_sha256": file_sha256(path)}
        block = settings_of("scanobjectnn", **{"variant": "pb_t50_rs", **named, **changes})
        return rooms.load("datasets", "scanobjectnn").build(block, folder), block

    return open_with


def rows_of(dataset, settings):
    arrays, attributes = load_points_shard(dataset, dataset.ids, settings)
    shard = Shard(tuple(dataset.ids), arrays, attributes)
    return attributes, manifest_rows([("0000", shard)])


def test_objects_go_from_the_list_to_the_manifest(opened):
    dataset, settings = opened(GOOD)
    assert [dataset.entry(i).object_name for i in dataset.ids] == ["box1", "toilet 1", "bed1", "cabinet1", "b9", "t2"]
    rows = rows_of(dataset, settings)[1]
    assert list(rows.columns) == [*COLUMNS, OBJECT] and list(rows[OBJECT])[-2:] == ["b9", "t2"]


def test_copies_without_a_list_are_told_to_be_unknown(opened):
    dataset, settings = opened(None)
    assert {dataset.entry(i).object_name for i in dataset.ids} == {""}
    assert set(rows_of(dataset, settings)[1][OBJECT]) == {""}


def test_sets_without_copies_tell_nothing_of_objects(opened):
    dataset, settings = opened(None, variant="obj_only")
    attributes, rows = rows_of(dataset, settings)
    assert list(rows.columns) == COLUMNS
    assert all("object_name" not in entry for entry in attributes["entries"].values())


def test_copies_of_one_object_are_on_one_side_of_train_and_val(opened):
    dataset, _ = opened(GOOD, val_share=0.5)
    for shape_id in dataset.ids[:4]:
        entry = dataset.entry(shape_id)
        assert entry.split == split_or_val(entry.object_name, False, "scanobjectnn", 0.5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("split,row,object", "split,row"), "must begin with the line split,row,object"),
        (("test,1,t2\n", ""), "1 of 6 rows have no object .first: row 1 of test"),
        (("test,1,t2", "test,0,t2"), "this row stands twice|one class; t2 has two"),
        (("test,0,b9", "test,0,t2"), "one split and one class; t2 has two"),
        (("test,0,b9", "test,0,box1"), "one split and one class; box1 has two"),
        (("train,0,box1", "train,4,box1"), "must be split,row,object with split and row train,0 to 3 or test,0 to 1"),
        (("train,0,box1", "val,0,box1"), "must be split,row,object"),
        (("train,0,box1", "train,-1,box1"), "must be split,row,object"),
        (("train,0,box1", "train,0,"), "must be split,row,object"),
        (("train,0,box1", "train,0,a,b"), "must be split,row,object"),
    ],
)
def test_a_list_that_does_not_fit_is_told(opened, change, told):
    with pytest.raises(ArtifactError, match=f"objects.csv: .*({told})"):
        opened(GOOD.replace(*change))


def test_another_list_than_the_named_one_and_a_missing_one_are_told(opened):
    with pytest.raises(ArtifactError, match=r"objects\.csv: not the file whose objects_sha256"):
        opened(GOOD, objects_sha256="0" * 64)
    with pytest.raises(ArtifactError, match=r"other\.csv: no such file"):
        opened(GOOD, objects="other.csv")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"objects": "o.csv"}, "go together"),
        ({"objects": "o.csv", "objects_sha256": "0" * 64, "variant": "obj_bg"}, "its own object"),
        ({"objects": "../o.csv", "objects_sha256": "0" * 64}, "objects"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings_of, changes, told):
    with pytest.raises((ConfigError, ValidationError), match=told):
        settings_of("scanobjectnn", **{"variant": "pb_t50_rs", **changes})


def test_the_list_decides_a_rerun(settings_of):
    block = settings_of("scanobjectnn", variant="pb_t50_rs", objects="o.csv", objects_sha256="0" * 64)
    assert {"o.csv", "h5_files/o.csv"} <= set(block.source_files(()))
    assert "o.csv" not in settings_of("scanobjectnn", variant="pb_t50_rs").source_files(())
