"""Metrics: outcomes are of the test items, or of items of their own."""

import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Audit, Metrics, Value, read_metrics, write_metrics

ROW = dict.fromkeys(
    ["run", "method", "arm", "student", "teacher", "pretrain_dataset", "task", "dataset", "protocol", "settings_hash"],
    "x",
)
BASE = {
    **ROW,
    "seed": 0,
    "n_train": 4,
    "n_test": 3,
    "values": (Value(metric="a", value=0.5),),
    "test_ids": ("i", "j", "k"),
}


def test_items_of_their_own_come_back(tmp_path):
    made = Metrics(**BASE, outcomes={"a": (0.5, 0.5), "b": (1.0, 0.0, 1.0)}, items={"a": ("fold0", "fold1")})
    write_metrics(tmp_path / "m.json", made)
    assert read_metrics(tmp_path / "m.json") == made
    assert (made.items_of("a"), made.items_of("b")) == (("fold0", "fold1"), ("i", "j", "k"))


@pytest.mark.parametrize(
    ("outcomes", "items"),
    [
        ({"a": (0.5, 0.5)}, {}),
        ({"a": (0.5, 0.5, 1.0)}, {"a": ("fold0", "fold1")}),
        ({"a": (0.5, 0.5)}, {"a": ("fold0", "fold0")}),
        ({"a": (0.5, 0.5, 1.0)}, {"b": ("fold0",)}),
    ],
)
def test_outcomes_and_items_must_fit(outcomes, items):
    with pytest.raises(ValueError, match=r"outcomes|items"):
        Metrics(**BASE, outcomes=outcomes, items=items)


def test_files_from_before_there_were_items_are_read(tmp_path):
    write_metrics(tmp_path / "m.json", Metrics(**BASE, outcomes={"a": (0.5, 0.5, 0.5)}))
    path = tmp_path / "old.json"
    path.write_text((tmp_path / "m.json").read_text().replace(' "items": {},\n', ""))
    assert '"items"' not in path.read_text() and read_metrics(path).items == {}
    path.write_text("{}")
    with pytest.raises(
        ArtifactError, match=r"not a metrics file \(\d+ mistakes, first run: Field required\); delete it"
    ):
        read_metrics(path)


def test_what_an_audit_reads_comes_back(tmp_path):
    audit = Audit(on_test={"a": (0.25, 0.75, 0.5)}, votes={"a": (0.5, 0.75)})
    made = Metrics(**BASE, outcomes={"a": (0.5, 0.5, 0.5)}, clusters=("u", "u", "v"), audit=audit)
    write_metrics(tmp_path / "m.json", made)
    assert read_metrics(tmp_path / "m.json") == made


@pytest.mark.parametrize("wrong", [{"on_test": {"a": ()}}, {"votes": {"a": (0.5, float("nan"))}}])
def test_an_audit_has_finite_numbers(wrong):
    with pytest.raises(ValueError, match="finite numbers, one or more"):
        Audit(**wrong)


def test_every_test_id_has_its_object():
    with pytest.raises(ValueError, match="one object per test id"):
        Metrics(**BASE, outcomes={}, clusters=("u", "v"))
