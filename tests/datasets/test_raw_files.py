"""From named files to a dataset's folder, and what a block may say about them."""

import hashlib
import io
import zipfile

import pytest
from pydantic import ValidationError

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.raw_data import Licence, RawFile, is_allowed, licence_name
from pointlift.datasets.fetch import fetch
from pointlift.datasets.licence_gate import missing_paths, request
from pointlift.datasets.sources import Places


def packed(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"set/{name}", content)
    return stream.getvalue()


@pytest.fixture
def mirror(tmp_path):
    (tmp_path / "mirror" / "lists").mkdir(parents=True)
    (tmp_path / "mirror" / "one.zip").write_bytes(packed(a="aa"))
    (tmp_path / "mirror" / "two.zip").write_bytes(packed(b="bbb"))
    (tmp_path / "mirror" / "lists" / "split.txt").write_bytes(b"a train\n")
    return tmp_path / "mirror"


def places(mirror):
    return Places(mirror.parent / "downloads", mirror.parent / "data.lock.json", mirror=mirror, offline=True)


def test_archives_and_plain_files_become_one_folder(mirror):
    files = [RawFile(name=name) for name in ("one.zip", "two.zip", "lists/split.txt")]
    folder = mirror.parent / "data" / "set"
    for _ in range(2):  # the second replaces the first
        index = fetch(files, folder, places(mirror))
        content = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert content == {"set/a", "set/b", "split.txt", ".unpacked_by_pointlift"}
    sources = {name: hashlib.sha256((mirror / name).read_bytes()).hexdigest() for name in (f.name for f in files)}
    assert index == {"sources": sources, "files": 3, "bytes": 2 + 3 + 8}


def test_two_archives_with_the_same_file_are_refused_and_leave_nothing(mirror):
    (mirror / "two.zip").write_bytes(packed(a="other"))
    folder = mirror.parent / "data" / "set"
    with pytest.raises(ArtifactError, match=r"two\.zip.*came from another file"):
        fetch([RawFile(name="one.zip"), RawFile(name="two.zip")], folder, places(mirror))
    assert list((mirror.parent / "data").iterdir()) == []


def test_one_missing_file_leaves_the_folder_as_it_was(mirror):
    folder = mirror.parent / "data" / "set"
    fetch([RawFile(name="one.zip")], folder, places(mirror))
    with pytest.raises(ArtifactError, match=r"gone\.zip: no source"):
        fetch(
            [RawFile(name="two.zip"), RawFile(name="gone.zip", urls=("https://example.org/x",))], folder, places(mirror)
        )
    assert (folder / "set" / "a").read_text() == "aa" and not (folder / "set" / "b").exists()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.org/a.zip", True),
        ("file:///data/a.zip", True),
        ("http://127.0.0.1:80/a", True),
        ("http://localhost/a", True),
        ("http://example.org/a.zip", False),
        ("http://127.0.0.1.example.org/a", False),
        ("http://localhost@example.org/a", False),
        ("ftp://example.org/a", False),
        ("file://server/a", False),
        ("https:///a", False),
        ("a.zip", False),
        ("https://[/a", False),
    ],
)
def test_only_encrypted_or_local_urls_are_allowed(url, allowed):
    assert is_allowed(url) == allowed
    if allowed:
        RawFile(name="aa", urls=(url,))
    else:
        with pytest.raises(ValidationError, match="must begin with https"):
            RawFile(name="aa", urls=(url,))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a", "a/../../b", "a//b", "a/./b", "a\\b", ".hidden", "a/", "", "set.7z"]
)
def test_a_name_stays_in_its_folder(name):
    with pytest.raises(ValidationError):
        RawFile(name=name)


TERMS = {"name": "Set terms", "page": "https://example.org/set", "terms": "research only"}


def test_a_gate_names_whom_to_ask_and_what_is_expected(tmp_path):
    licence = Licence(**TERMS, expected=("list.txt", "rooms/", "Area_*/*.npy"))
    assert missing_paths(licence, tmp_path / "nowhere") == licence.expected
    for folder in ("rooms", "Area_1"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Area_1" / "a.txt").touch()
    assert missing_paths(licence, tmp_path) == licence.expected  # an empty folder is nothing
    (tmp_path / "list.txt").touch()
    (tmp_path / "rooms" / "a").touch()
    assert missing_paths(licence, tmp_path) == ("Area_*/*.npy",)
    told = request("mine", licence, tmp_path, ("Area_*/*.npy",))
    for words in ("datasets.mine", *TERMS.values(), str(tmp_path), "Area_*/*.npy"):
        assert words in told
    (tmp_path / "Area_1" / "b.npy").touch()
    assert missing_paths(licence, tmp_path) == ()
    with pytest.raises(ValidationError):
        Licence(**TERMS, expected=("../else",))


def test_a_licence_is_named_either_way():
    assert licence_name(Licence(**TERMS, expected=("a",))) == "Set terms"
    assert licence_name("MIT") == "MIT" and licence_name(None) is None
