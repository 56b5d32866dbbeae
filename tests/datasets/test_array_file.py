"""Arrays come back as they were saved; every other file is one sentence, before memory is asked for."""

import io
import os
import resource
import struct
import warnings
import zipfile

import numpy as np
import pytest

from pointlift.contracts.errors import UnusableShapeError
from pointlift.datasets import array_file
from pointlift.datasets.array_file import checksum_together, read_npy, read_npz

ANY = (None, (3, 6))


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def table(dtype="f8", columns=6, rows=40):
    return (np.random.default_rng(0).random((rows, columns)) * 100).astype(dtype)


@pytest.fixture
def saved(tmp_path):
    def write(content, name="a.npy"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<u4", ">i8", "u1", "<f2"])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("shape", [(40, 6), (0, 6), (1, 3), (5000, 6)])
def test_an_array_comes_back_as_it_was_saved(dtype, layout, shape, saved, tmp_path):
    array = layout(table(dtype, shape[1], shape[0]))
    found = read_npy(saved(npy(array)), ANY, "fiu")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.dtype(dtype).newbyteorder("=") and found.flags.writeable and found.flags.c_contiguous
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", other=np.zeros(3), pc=array)
        np.testing.assert_array_equal(read_npz(tmp_path / "a.npz", "pc", ANY, "fiu"), array)


def test_later_headers_are_read(saved):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, table(), version=(2, 0))
    np.testing.assert_array_equal(read_npy(saved(stream.getvalue()), ANY, "f"), table())


def test_a_header_of_python_2_is_read_in_silence(saved):
    content = npy(table("f8", 3, 40)).replace(b"(40, 3), }  ", b"(40L, 3L), }")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_npy(saved(content), ANY, "f"), table("f8", 3, 40))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no .npy array"),
        (b"\x93NUMPY", "no .npy array"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no .npy array"),
        (b"\x93NUMPY\x03\x00" + npy(table())[8:], "no .npy array"),
        (npy(table())[:-1], "damaged: 1919 bytes follow its header, which says 1920"),
        (npy(table()) + b"\0", "damaged: 1921 bytes"),
        (npy(table())[:100], "no .npy array"),
        (npy(table(columns=7)), r"shape \(40, 7\), must be \(n, 3 or 6\)"),
        (npy(np.zeros(6)), r"shape \(6,\), must be \(n, 3 or 6\)"),
        (npy(np.float64(1)), r"shape \(\), must be"),
        (npy(np.zeros((2, 3, 6))), "must be"),
        (npy(np.array([[{}, 1, 2]]), allow_pickle=True), "type object, must be floats"),
        (npy(np.array([["a", "b", "c"]])), "type <U1, must be floats"),
        (npy(np.zeros((2, 3), complex)), "type complex128"),
        (npy(np.zeros((2, 3), np.longdouble)), "type float128"),
        (npy(np.zeros((2, 3), "i4")), "type int32, must be floats"),
        (npy(np.zeros((2, 3), [("a", "f4")])), "must be floats"),
        (npy(table()).replace(b"(40, 6)", b"(-4, 6)"), r"shape \(-4, 6\), must be"),
        (npy(table()).replace(b"(40, 6), } ", b"(9**9, 6),}"), "no .npy array"),
        (npy(table()).replace(b"(40, 6), }    ", b"(999999999, 6)}"), "damaged"),
    ],
)
def test_another_file_says_what_it_is(content, reason, saved):
    with pytest.raises(UnusableShapeError, match=rf"^a\.npy: .*{reason}"):
        read_npy(saved(content), ANY, "f")


def test_an_object_array_is_refused_before_it_can_run_anything(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = saved(npy(np.array([[Trap()] * 3]), allow_pickle=True))
    np.savez(tmp_path / "a.npz", pc=np.array([[Trap()] * 3]))
    for read in (lambda: read_npy(path, ANY, "f"), lambda: read_npz(tmp_path / "a.npz", "pc", ANY, "f")):
        with pytest.raises(UnusableShapeError, match="type object"):
            read()
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("pipe", "a pipe"), ("none", "No such file"), (".", "a folder")):
        with pytest.raises(UnusableShapeError, match=reason):
            read_npy(tmp_path / name, ANY, "f")
        with pytest.raises(UnusableShapeError, match=reason):
            read_npz(tmp_path / name, "pc", ANY, "f")


def test_a_file_larger_than_sane_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(array_file, "LARGEST_ZIP", 100)
    with (tmp_path / "a.npy").open("wb") as stream:
        stream.truncate(array_file.LARGEST_FILE + 1)
    np.savez(tmp_path / "a.npz", pc=table())
    for read in (lambda: read_npy(tmp_path / "a.npy", ANY, "f"), lambda: read_npz(tmp_path / "a.npz", "pc", ANY, "f")):
        with pytest.raises(UnusableShapeError, match="at most"):
            read()


def zipped(content, tmp_path, name="pc.npy", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr(name, content)
    return tmp_path / "a.npz"


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (npy(table()), "points.npy", "holds no array pc"),
        (npy(table()), "pc", "holds no array pc"),
        (npy(table(columns=4)), "pc.npy", r"a\.npz, pc: has the shape \(40, 4\)"),
        (npy(table())[:-8], "pc.npy", "damaged"),
        (b"", "pc.npy", "no .npy array"),
    ],
)
def test_another_archive_says_what_it_is(content, name, reason, tmp_path):
    with pytest.raises(UnusableShapeError, match=reason):
        read_npz(zipped(content, tmp_path, name), "pc", ANY, "f")


def test_a_zip_bomb_is_refused_by_what_it_says(tmp_path):
    rows = array_file.LARGEST_MEMBER // 24 + 1
    header = npy(np.zeros((0, 3))).replace(b"(0, 3), }" + b" " * 8, f"({rows}, 3), }}".encode().ljust(17))
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("pc.npy", "w") as stream:
        stream.write(header)
        for _ in range(rows * 24 // (1 << 20) + 1):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnusableShapeError, match="would unpack to"):
        read_npz(path, "pc", ANY, "f")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_a_zip_bomb_that_lies_about_its_size_is_cut_off(tmp_path):
    content = npy(table()) + bytes(50 << 20)
    path = zipped(content, tmp_path)
    told, honest = struct.pack("<L", len(npy(table()))), struct.pack("<L", len(content))
    archive = path.read_bytes()
    assert archive.count(honest) == 2
    path.write_bytes(archive.replace(honest, told))
    with pytest.raises(UnusableShapeError, match=r"a\.npz: not a readable .npz file \(Bad CRC"):
        read_npz(path, "pc", ANY, "f")


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_any_damage_is_a_reason_or_an_array(kind, tmp_path):
    path, rng, told = tmp_path / f"a.{kind}", np.random.default_rng(0), 0
    np.savez_compressed(tmp_path / "a.npz", pc=table())
    np.save(tmp_path / "a.npy", table())
    whole = path.read_bytes()
    for _ in range(2000):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole) if rng.random() < 0.5 else 128, size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole))] if rng.random() < 0.2 else damaged)
        try:
            found = read_npy(path, ANY, "f") if kind == "npy" else read_npz(path, "pc", ANY, "f")
            assert found.dtype.kind == "f" and found.ndim == 2
        except UnusableShapeError as error:
            assert str(error).startswith("a.np")
            told += 1
    assert told > 500


def test_the_checksum_of_several_files_tells_each(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    whole = checksum_together(paths)
    assert len(whole) == 64 and whole != checksum_together(reversed(paths))
    paths[1].write_text("other")
    assert checksum_together(paths) not in ("", whole)
    paths[2].unlink()
    assert checksum_together(paths) == ""
