"""HDF5 files that ask their reader for more than they hold."""

import h5py
import numpy as np
import pytest

from point_layouts import write_h5
from pointlift.contracts.errors import ArtifactError
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
