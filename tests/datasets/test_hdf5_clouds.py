"""Clouds in HDF5 files: read in blocks; damaged files, and those that ask for more than they hold, are named."""

import h5py
import numpy as np
import pytest

from point_layouts import cloud, write_h5, write_modelnet_h5
from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.datasets import hdf5_clouds, modelnet40, modelnet_h5
from pointlift.datasets.hdf5_clouds import num_rows

ROWS = (2, 2048, 3)


def replaced(path, make):
    """The file with another array of points."""
    write_h5(path, [0, 1])
    with h5py.File(path, "r+") as file:
        del file["data"]
        make(file)
    return path


def elsewhere(tmp_path):
    """Arrays that a file names but that lie in another one: any that the reader may open."""
    other = tmp_path / "other.h5"
    write_h5(other, [0, 1])
    (tmp_path / "raw.bin").write_bytes(bytes(4 * 2 * 2048 * 3))
    layout = h5py.VirtualLayout(ROWS, "f4")
    layout[:] = h5py.VirtualSource(other, "data", ROWS)
    yield lambda file: file.create_dataset("data", ROWS, "f4", external=str(tmp_path / "raw.bin"))
    yield lambda file: file.__setitem__("data", h5py.ExternalLink(str(other), "/data"))
    yield lambda file: file.create_virtual_dataset("data", layout)


def test_arrays_lie_in_the_file_that_names_them(tmp_path):
    for make in elsewhere(tmp_path):
        with pytest.raises(ArtifactError, match="data must lie in this file"):
            num_rows(replaced(tmp_path / "a.h5", make))
    assert num_rows(replaced(tmp_path / "a.h5", lambda file: file.create_dataset("data", data=np.ones(ROWS)))) == 2


def test_a_chunk_that_would_fill_the_memory_is_refused(tmp_path):
    def make(file):
        file.create_dataset("data", ROWS, "f4", chunks=(50_000, 2048, 3), maxshape=(None, 2048, 3))

    path = replaced(tmp_path / "a.h5", make)
    assert path.stat().st_size < 200_000
    with pytest.raises(ArtifactError, match="data: a chunk has more than"):
        num_rows(path)


def test_only_a_block_of_rows_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_clouds, "_BLOCK", 2)
    write_h5(tmp_path / "a.h5", [0, 1, 2, 3, 4])
    rows = hdf5_clouds.Hdf5Clouds("x", {"train": [tmp_path / "a.h5"]}, 5)
    for row in (4, 0, 3, 1, 2):
        np.testing.assert_array_equal(rows.cloud(f"x-train-{row:05d}").points, cloud([0, row])[0])
        assert len(rows._block[2]["data"]) <= 2


# ---- what is broken ------------------------------------------------------------------------------------------------


def break_h5(path, how):
    with h5py.File(path, "r+") as file:
        if how == "no label":
            del file["label"]
        elif how == "label 40":
            file["label"][0] = 40
        elif how == "text label":
            del file["label"]
            file["label"] = ["chair"] * 3
        elif how == "two labels":
            del file["label"]
            file["label"] = np.zeros((3, 2), np.uint8)
        elif how == "nan label":
            del file["label"]
            file["label"] = np.array([0, np.nan, 1])
        elif how == "few points":
            del file["data"]
            file["data"] = np.zeros((3, 1000, 3), np.float32)
        elif how == "group":
            del file["data"]
            file.create_group("data")
        elif how == "scalar":
            del file["data"]
            file["data"] = 1.0
        elif how == "no rows":
            del file["data"], file["label"], file["normal"]
            file["data"], file["label"] = np.zeros((0, 2048, 3), np.float32), np.zeros(0, np.uint8)
        elif how == "absurd rows":
            del file["data"], file["label"], file["normal"]
            file.create_dataset("data", shape=(10**12, 2048, 3), dtype="f4", chunks=(1, 2048, 3))
            file.create_dataset("label", shape=(10**12,), dtype="u1", chunks=(1024,))


@pytest.mark.parametrize(
    "how",
    ["no label", "label 40", "text label", "two labels", "nan label", "few points", "group", "scalar", "no rows",
     "absurd rows"],
)  # fmt: skip
def test_a_damaged_h5_file_is_named(how, tmp_path, settings_of):
    folder = write_modelnet_h5(tmp_path)
    break_h5(folder / "ply_data_train0.h5", how)
    with pytest.raises(ArtifactError, match=r"ply_data_train0\.h5: ") as caught:
        modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x89HDF\r\n\x1a\n" + b"\x00" * 600])
def test_what_is_no_h5_file_is_named(content, tmp_path, settings_of):
    (write_modelnet_h5(tmp_path) / "ply_data_test0.h5").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"ply_data_test0\.h5: not a readable HDF5 file"):
        modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)


def test_a_file_cut_at_any_place_is_an_error_or_whole(tmp_path, settings_of):
    path = write_modelnet_h5(tmp_path, [[0, 1]], [[2]]) / "ply_data_train0.h5"
    content = path.read_bytes()
    for share in np.linspace(0.05, 0.98, 25):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ArtifactError, match=r"ply_data_train0\.h5"):
            modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)


def test_bytes_changed_anywhere_are_an_error_or_quarantined(tmp_path, settings_of):
    """Fuzzing: no other exception than ours, whatever byte of the compressed file is another."""
    path = write_modelnet_h5(tmp_path, [[0, 1]], [[2]]) / "ply_data_train0.h5"
    content, rng, told = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(500):
        damaged = bytearray(content)
        for place in rng.integers(len(content) if rng.random() < 0.5 else 4096, size=8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            dataset = modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)
            for shape_id in dataset.ids:
                dataset.load_points(shape_id)
                dataset.entry(shape_id)
        except (ArtifactError, UnusableShapeError):
            told += 1
    assert told > 150


@pytest.mark.parametrize("content", ["", "\n\n", "a.h5\na.h5\n", "data/\n"])
def test_a_list_of_h5_files_names_each_once(content, tmp_path, settings_of):
    (write_modelnet_h5(tmp_path) / "train_files.txt").write_text(content)
    with pytest.raises(ArtifactError, match=r"train_files\.txt|modelnet40_ply_hdf5_2048: "):
        modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)


def test_a_list_cannot_lead_out_of_the_folder(tmp_path, settings_of):
    folder = write_modelnet_h5(tmp_path)
    (folder / "train_files.txt").write_text("../../../../etc/ply_data_train0.h5\n")
    assert [e for e in modelnet_h5.build(settings_of("modelnet_h5"), tmp_path).ids if "-train-" in e]
    (folder / "train_files.txt").write_text("..\n")
    with pytest.raises(ArtifactError):
        modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)


def test_other_class_names_are_refused(tmp_path, settings_of):
    folder = write_modelnet_h5(tmp_path)
    (folder / "shape_names.txt").write_text("\n".join(modelnet40.CLASS_NAMES))
    modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)
    (folder / "shape_names.txt").write_text("\n".join(reversed(modelnet40.CLASS_NAMES)))
    with pytest.raises(ArtifactError, match="40 official names"):
        modelnet_h5.build(settings_of("modelnet_h5"), tmp_path)
