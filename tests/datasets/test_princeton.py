import collections
import csv
import hashlib
import tarfile
from pathlib import Path

import layouts
import numpy as np
import pytest

from pointlift.contracts.errors import UnusableShapeError
from pointlift.datasets import princeton
from pointlift.datasets.mesh_file import read_bytes
from pointlift.datasets.off_file import read_off

ARCHIVE = "lpsb_380_off_facelabels.tar.xz"


def settings(**changes):
    return princeton.Settings(kind="princeton", protocol="lpsb/12-8", **changes)


def test_ids_are_known_without_files():
    ids = princeton.list_ids(settings())
    assert len(ids) == 380 and ids[0] == "Airplane-061" and "Human-001" in ids and "FourLeg-400" in ids


@pytest.mark.parametrize("num_val", [0, 2, 5])
def test_every_class_is_split_twelve_to_eight_and_val_comes_from_train(num_val):
    counts = collections.Counter(
        (shape_id.split("-")[0], princeton.split_of(shape_id, num_val)) for shape_id in princeton.list_ids(settings())
    )
    for name in princeton.FIRST_NUMBER:
        assert (counts[name, "train"], counts[name, "val"], counts[name, "test"]) == (12 - num_val, num_val, 8)


@pytest.mark.parametrize("num_val", [0, 2, 5])
def test_twins_stand_on_one_side_of_the_split(num_val):
    for twin, other in princeton.TWINS.items():
        assert princeton.split_of(twin, num_val) == princeton.split_of(other, num_val)


@pytest.mark.realdata
def test_the_twins_are_all_the_files_that_are_the_same(realdata):
    contents = collections.defaultdict(set)
    with tarfile.open(realdata / ARCHIVE) as archive:
        for member in archive:
            if member.name.endswith(".off"):
                name, number = Path(member.name).parts[-2:]
                shape_id = f"{name}-{int(Path(number).stem):03d}"
                contents[hashlib.sha256(archive.extractfile(member).read()).hexdigest()].add(shape_id)
    assert {frozenset(ids) for ids in contents.values() if len(ids) > 1} == {
        frozenset(pair) for pair in princeton.TWINS.items()
    }


def test_the_published_split_is_the_one_of_the_code(repository):
    with (repository / "docs" / "splits" / "lpsb-12-8.csv").open(newline="") as stream:
        rows = [tuple(row.values()) for row in csv.DictReader(stream)]
    assert rows == [
        (shape_id, shape_id.split("-")[0], princeton.split_of(shape_id, settings().num_val))
        for shape_id in princeton.list_ids(settings())
    ]


def test_faces_carry_their_parts(tmp_path):
    layouts.write_princeton(tmp_path)
    dataset = princeton.build(settings(), tmp_path)
    assert len(dataset.part_names) == 94 and len(dataset.class_names) == 19
    labels = dataset.load("Cup-021").part_label
    assert [dataset.part_names[label] for label in labels] == ["Cup/body", "Cup/handle"] * 2
    assert dataset.entry("Cup-021").source_path == "Cup/21.off"
    assert princeton.build(settings(), tmp_path / "lpsb").entry("Cup-021") == dataset.entry("Cup-021")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("body\n1 2 3\n", "1 of 4 faces have no part"),
        ("body\n1 2 3 4\nhandle\n4\n", "twice"),
        ("body\n1 2 3 4 5\n", "does not have"),
        ("body\n0 1 2 3\n", "does not have"),
        ("lid\n1 2 3 4\n", "unknown part"),
        ("1 2 3 4\n", "unknown part"),
        ("body\n1 2 x 4\n", "no face number"),
        ("", "empty"),
    ],
)
def test_labels_that_do_not_fit_are_a_reason(tmp_path, text, reason):
    (tmp_path / "21_labels.txt").write_text(text)
    with pytest.raises(UnusableShapeError, match=reason):
        princeton.read_part_labels(tmp_path / "21_labels.txt", "Cup", 4)


def test_a_polygon_hands_its_label_to_every_triangle(tmp_path):
    layouts.write_princeton(tmp_path)
    square = "OFF\n5 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 0 1\n4 0 1 2 3\n3 0 1 4\n"
    (tmp_path / "lpsb" / "Cup" / "22.off").write_text(square)
    (tmp_path / "lpsb" / "Cup" / "22_labels.txt").write_text("handle\n1\nbody\n2\n")
    dataset = princeton.build(settings(), tmp_path)
    labels = dataset.load("Cup-022").part_label
    assert [dataset.part_names[label] for label in labels] == ["Cup/handle", "Cup/handle", "Cup/body"]


@pytest.mark.realdata
def test_the_real_archive_holds_exactly_these_ids_and_parts(realdata, tmp_path):
    with tarfile.open(realdata / ARCHIVE) as archive:
        names = [member for member in archive if member.isfile()]
        found = {member.name for member in names}
        small = sorted((member for member in names if member.name.endswith(".off")), key=lambda member: member.size)[:3]
        chosen = {member.name for member in small} | {member.name[:-4] + "_labels.txt" for member in small}
        archive.extractall(tmp_path, [member for member in names if member.name in chosen], filter="data")
    expected = set()
    for shape_id in princeton.list_ids(settings()):
        name, number = shape_id.split("-")
        expected |= {f"lpsb/{name}/{int(number)}.off", f"lpsb/{name}/{int(number)}_labels.txt"}
    assert found == expected
    for member in small:
        path = tmp_path / member.name
        vertices, faces, _ = read_off(read_bytes(path))
        labels = princeton.read_part_labels(path.with_name(f"{path.stem}_labels.txt"), path.parent.name, len(faces))
        assert len(np.unique(labels)) > 1 and np.isfinite(vertices).all()
