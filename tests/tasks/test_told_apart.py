"""Test items get the object that the manifest says they are copies of."""

import pandas as pd
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import COLUMNS, OBJECT, open_test_split, read_manifest, write_manifest
from pointlift.contracts.metrics import Value
from pointlift.tasks.copies import told_apart
from pointlift.tasks.judgement import Judgement

FOUND = Judgement((Value(metric="accuracy", value=0.5),), ("d", "c", "b"), 1)


def manifest(path, objects):
    ids = ["a", "b", "c", "d"]
    rows = pd.DataFrame([(i, "chair", 0, "test", "0000", f"{i}.h5", "0") for i in ids], columns=COLUMNS)
    write_manifest(path, rows if objects is None else rows.assign(**{OBJECT: objects}))
    return path


def test_copies_get_their_object_in_the_order_of_the_items(tmp_path):
    found = told_apart(FOUND, manifest(tmp_path / "m.csv", ["one", "one", "two", "two"]))
    assert (found.clusters, found.copies_unknown, found.values) == (("two", "two", "one"), False, FOUND.values)


def test_a_set_without_copies_changes_nothing(tmp_path):
    assert told_apart(FOUND, manifest(tmp_path / "m.csv", None)) is FOUND


@pytest.mark.parametrize("objects", [["", "", "", ""], ["one", "one", "", "two"]])
def test_copies_that_are_not_all_named_are_unknown(tmp_path, objects):
    found = told_apart(FOUND, manifest(tmp_path / "m.csv", objects))
    assert (found.clusters, found.copies_unknown) == ((), True)


def test_another_manifest_than_the_tested_one_is_an_error(tmp_path):
    other = Judgement(FOUND.values, ("d", "z"), 1)
    with pytest.raises(ArtifactError, match=r"m\.csv: has no z, which was tested"):
        told_apart(other, manifest(tmp_path / "m.csv", ["one"] * 4))


def test_objects_are_told_to_tasks_alone_and_manifests_without_them_are_as_before(tmp_path):
    copies, plain = manifest(tmp_path / "m.csv", ["one"] * 4), manifest(tmp_path / "n.csv", None)
    assert list(read_manifest(copies).columns) == COLUMNS
    assert list(open_test_split(copies)[OBJECT]) == ["one"] * 4
    assert plain.read_text().splitlines()[0] == ",".join(COLUMNS)
    pd.DataFrame(columns=[*COLUMNS, "more"]).to_csv(tmp_path / "o.csv", index=False)
    with pytest.raises(ArtifactError, match="more"):
        read_manifest(tmp_path / "o.csv")
