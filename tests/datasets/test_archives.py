"""Archives made by somebody else: what is unpacked is whole and inside; the rest is refused and leaves nothing."""

import hashlib
import io
import stat
import tarfile
import zipfile

import pytest

from pointlift.contracts.errors import ArtifactError, MachineError
from pointlift.datasets import archives

FILES = {"set/a.off": b"OFF one", "set/deep/b.off": b"OFF two" * 100}


def write_tar(path, files=FILES, mode="w:gz", members=()):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


def write_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


WRITERS = {
    "set.tar": lambda path: write_tar(path, mode="w"),
    "set.tar.gz": write_tar,
    "set.tar.xz": lambda path: write_tar(path, mode="w:xz"),
    "set.tar.bz2": lambda path: write_tar(path, mode="w:bz2"),
    "set.zip": write_zip,
}


def content_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_form_is_unpacked_whole(tmp_path, name):
    archive = WRITERS[name](tmp_path / name)
    index = archives.unpack(archive, tmp_path / "raw" / "set")
    for file, content in FILES.items():
        assert (tmp_path / "raw" / "set" / file).read_bytes() == content
    assert index == {
        "archive": name,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "files": 2,
        "bytes": sum(map(len, FILES.values())),
    }
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["set"]


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zip_link(path):
    member = zipfile.ZipInfo("set/l")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "/etc/passwd")
    return path


UNSAFE = {
    "zip link": zip_link,
    "parent": lambda path: write_tar(path, {"../evil": b"x"}),
    "deep parent": lambda path: write_tar(path, {"a/../../evil": b"x"}),
    "absolute": lambda path: write_tar(path, {"/evil": b"x"}),
    "windows drive": lambda path: write_zip(path, {"C:/evil": b"x"}),
    "backslashes": lambda path: write_tar(path, {"..\\evil": b"x"}),
    "zip parent": lambda path: write_zip(path, {"../evil": b"x"}),
    "zip absolute": lambda path: write_zip(path, {"/evil": b"x"}),
    "symbolic link": lambda path: write_tar(path, members=[link("set/l", "/etc")]),
    "hard link": lambda path: write_tar(path, members=[link("set/l", "/etc/passwd", tarfile.LNKTYPE)]),
    "device": lambda path: write_tar(path, members=[link("set/l", "", tarfile.CHRTYPE)]),
    "empty": lambda path: write_tar(path, {}),
    "bomb": lambda path: write_tar(path, {"zeros": bytes(65 << 20)}),
    "zip bomb": lambda path: write_zip(path, {"zeros": bytes(65 << 20)}),
}


@pytest.mark.parametrize("case", sorted(UNSAFE))
def test_unsafe_archives_are_refused_and_leave_nothing(tmp_path, case):
    archive = UNSAFE[case](tmp_path / "archive")
    with pytest.raises(ArtifactError, match=r"refused|holds no files"):
        archives.unpack(archive, tmp_path / "raw" / "set")
    assert content_of(tmp_path) == {"archive"}


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_truncated_archives_are_told_and_leave_nothing(tmp_path, name, share):
    archive = WRITERS[name](tmp_path / name)
    size = (1024 if name == "set.tar" else len(archive.read_bytes())) * share
    archive.write_bytes(archive.read_bytes()[: int(size)])
    with pytest.raises(ArtifactError, match=r"cannot be unpacked|holds no files"):
        archives.unpack(archive, tmp_path / "raw" / "set")
    assert content_of(tmp_path) == {name}


@pytest.mark.parametrize(("start", "name"), [(b"7z\xbc\xaf\x27\x1c\x00\x04", "7z"), (b"Rar!\x1a\x07", "rar")])
def test_archives_of_other_kinds_are_named(tmp_path, start, name):
    (tmp_path / "set.zip").write_bytes(start + bytes(100))
    with pytest.raises(ArtifactError, match=f"is a {name} archive.* pack its files as zip or tar"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "raw")


def test_a_wrong_checksum_stops_before_unpacking(tmp_path):
    archive = write_tar(tmp_path / "set.tar.gz")
    with pytest.raises(ArtifactError, match="must be 0000"):
        archives.unpack(archive, tmp_path / "raw", "0" * 64)
    archives.unpack(archive, tmp_path / "raw", hashlib.sha256(archive.read_bytes()).hexdigest())


def test_a_missing_archive_is_told(tmp_path):
    with pytest.raises(ArtifactError, match="no such archive"):
        archives.unpack(tmp_path / "nothing.zip", tmp_path / "raw")


def test_foreign_files_are_never_replaced_own_ones_are(tmp_path):
    archive, folder = write_tar(tmp_path / "set.tar.gz"), tmp_path / "raw"
    folder.mkdir()
    archives.unpack(archive, folder)
    archives.unpack(write_zip(tmp_path / "new.zip", {"new.off": b"new"}), folder)
    assert content_of(folder) - {".unpacked_by_pointlift"} == {"new.off"}
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="not unpacked here"):
        archives.unpack(archive, foreign)
    assert content_of(foreign) == {"thesis.txt"}


def test_a_failure_keeps_what_was_there(tmp_path):
    archive, folder = write_tar(tmp_path / "set.tar.gz"), tmp_path / "raw"
    archives.unpack(archive, folder)
    before = content_of(folder)
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(ArtifactError):
        archives.unpack(archive, folder)
    assert content_of(folder) == before


@pytest.mark.parametrize("name", ["set.zip", "set.tar"])
def test_a_disk_that_runs_full_while_unpacking_is_no_fault_of_the_archive(tmp_path, small_disk, monkeypatch, name):
    archive = WRITERS[name](tmp_path / name)
    with zipfile.ZipFile(archive, "w") if name == "set.zip" else tarfile.open(archive, "w") as packed:
        (tmp_path / "large").write_bytes(bytes(600_000))
        getattr(packed, "write", getattr(packed, "add", None))(tmp_path / "large", "large")
    monkeypatch.setattr(archives, "require_space", lambda *words: None)  # somebody else fills it in the meantime
    with pytest.raises(MachineError, match="disk is full"):
        archives.unpack(archive, small_disk / "raw")
    assert content_of(small_disk) == set()


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SPARE_BYTES", 1 << 62)
    with pytest.raises(MachineError, match="disk is full"):
        archives.unpack(write_tar(tmp_path / "set.tar.gz"), tmp_path / "raw")
    assert content_of(tmp_path) == {"set.tar.gz"}
