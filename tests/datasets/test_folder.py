import collections
import os
import sys

import layouts
import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import folder
from pointlift.datasets.source_folder import read_lines


def opened(root, **changes):
    return folder.build(folder.Settings(kind="folder", protocol="test/one", **changes), root)


def test_class_and_split_come_from_the_folders(tmp_path):
    layouts.write_folder(tmp_path)
    dataset = opened(tmp_path, val_share=0.0)
    assert dataset.class_names == ("chair", "table")
    assert dataset.ids[0] == "chair/test/chair_0.off" and len(dataset.ids) == 10
    for shape_id in dataset.ids:
        entry = dataset.entry(shape_id)
        assert (entry.class_name, entry.split) == tuple(shape_id.split("/")[:2])
        assert entry.source_path == shape_id


def test_without_split_folders_shares_are_kept_and_stable(tmp_path):
    for index in range(400):
        path = tmp_path / "chair" / f"{index}.off"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    dataset = opened(tmp_path, val_share=0.25, test_share=0.2)
    found = {shape_id: dataset.entry(shape_id).split for shape_id in dataset.ids}
    counts = collections.Counter(found.values())
    assert 50 < counts["test"] < 110 and 50 < counts["val"] < 110
    (tmp_path / "chair" / "new.off").write_text("x")
    again = opened(tmp_path, val_share=0.1, test_share=0.2)
    assert all((again.entry(i).split == "test") == (found[i] == "test") for i in found)


def test_flat_layout_has_no_classes(tmp_path):
    (tmp_path / "a.off").write_text(layouts.off_text())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.OFF").write_text(layouts.off_text())
    dataset = opened(tmp_path, layout="flat")
    assert dataset.ids == ("a.off", "b/c.OFF") and dataset.class_names == ()
    assert dataset.entry("b/c.OFF").class_name == ""
    assert opened(tmp_path).ids == ("b/c.OFF",)


def test_hidden_and_other_files_are_no_shapes(tmp_path):
    layouts.write_folder(tmp_path)
    for name in ("chair/._a.off", "chair/notes.txt", ".cache/a.off", "__MACOSX/a.off"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(opened(tmp_path).ids) == 10


def test_a_split_file_decides_what_belongs(tmp_path):
    layouts.write_folder(tmp_path)
    (tmp_path / "split.csv").write_text("path,split\nchair/test/chair_0.off,train\ntable/train/table_1.off,val\n")
    dataset = opened(tmp_path, split_file="split.csv")
    assert [dataset.entry(shape_id).split for shape_id in dataset.ids] == ["train", "val"]


@pytest.mark.parametrize(
    "text",
    ["", "path,split\n", "path,split\na.off,training\n", "file,part\na.off,train\n", "path,split\n../a.off,train\n",
     "path,split\na.off,train\na.off,test\n", "path,split\n/etc/a.off,train\n"],
)  # fmt: skip
def test_a_split_file_that_cannot_be_meant_is_refused(tmp_path, text):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"split\.csv"):
        opened(tmp_path, split_file="split.csv")


def test_what_is_no_path_or_no_file_is_told(tmp_path):
    layouts.write_folder(tmp_path)
    (tmp_path / "split.csv").write_bytes(b"path,split\nchair/\0a.off,train\n")
    with pytest.raises(ConfigError, match=r"line 2: path .* is none"):
        opened(tmp_path, split_file="split.csv")
    (tmp_path / "split.csv").unlink()
    os.mkfifo(tmp_path / "split.csv")  # reading it would never end
    with pytest.raises(ArtifactError, match="cannot be read"):
        opened(tmp_path, split_file="split.csv")
    with pytest.raises(ArtifactError, match="a pipe"):
        read_lines(tmp_path / "split.csv")


def test_missing_split_file_and_empty_folder_are_told(tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        opened(tmp_path, split_file="split.csv")
    with pytest.raises(ArtifactError, match="no mesh files"):
        opened(tmp_path)


def test_names_may_hold_anything_that_is_text(tmp_path):
    odd = 'it\'s a "chair", é\nof two lines'
    layouts.write_folder(tmp_path)
    (tmp_path / "chair").rename(tmp_path / odd)
    dataset = opened(tmp_path)
    assert odd in dataset.class_names
    assert dataset.entry(f"{odd}/test/chair_0.off").class_name == odd


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_is_no_text_is_told(tmp_path):
    layouts.write_folder(tmp_path)
    (tmp_path / "chair" / os.fsdecode(b"latin \xe9.off")).write_text(layouts.off_text(), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"1 file names are not UTF-8 text.*latin.*rename"):
        opened(tmp_path)


def test_a_file_that_went_away_is_that_shapes_problem(tmp_path):
    layouts.write_folder(tmp_path)
    dataset = opened(tmp_path)
    (tmp_path / dataset.ids[0]).unlink()
    assert dataset.entry(dataset.ids[0]).sha256 == ""
    with pytest.raises(UnusableShapeError, match="cannot be read"):
        dataset.load(dataset.ids[0])


def test_up_axis_is_a_setting(tmp_path):
    layouts.write_folder(tmp_path)
    first = opened(tmp_path, up_axis="z").load("chair/train/chair_0.off").vertices
    second = opened(tmp_path, up_axis="y").load("chair/train/chair_0.off").vertices
    np.testing.assert_allclose(second[:, 2], first[:, 1])
    assert opened(tmp_path, up_axis="none").up_axis is None


@pytest.mark.realdata
def test_the_modelnet_layout_is_read_whole(realdata):
    dataset = opened(realdata / "modelnet_off" / "ModelNet40", val_share=0.0)
    assert len(dataset.ids) == 13 and len(dataset.class_names) == 8
    splits = collections.Counter(dataset.entry(shape_id).split for shape_id in dataset.ids)
    assert splits == {"train": 12, "test": 1}
    assert all(len(dataset.load(shape_id).faces) > 100 for shape_id in dataset.ids[:4])
