import csv
from pathlib import Path

import pytest
import yaml

from pointlift import rooms
from pointlift.contracts.errors import ArtifactError
from pointlift.reporting.cells import Cell
from pointlift.reporting.reported import FILE, REPORTED_COLUMNS, beside, elsewhere, read_reported
from pointlift.reporting.tables import Row

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
GOOD = {
    "system": "Some-Net",
    "task": "classification",
    "metric": "accuracy",
    "dataset": "ModelNet40",
    "value": "0.9280",
    "sd": "",
    "protocol": "mn40/h5-2048-first1024/transfer",
    "selection": "last",
    "votes": "0",
    "seeds": "one",
    "source": "paper",
    "verified": "V",
}


def _write(path: Path, *rows: Row) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, REPORTED_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _cell(protocol: str = GOOD["protocol"], selection: str = "last", metric: str = "accuracy") -> Cell:
    return Cell("classification", "modelnet40_h5", protocol, selection, metric, (), True)


def test_every_protocol_and_task_is_one_of_ours() -> None:
    known = {block["protocol"] for block in CONFIG["datasets"].values()}
    rows = read_reported()
    assert len(rows) > 100
    for row in rows:
        base, _, words = row["protocol"].rpartition("/")
        assert words == "transfer"
        assert base in known or base.rpartition("/")[0] in known, row
        assert row["task"] in rooms.available("tasks")


def test_no_row_stands_twice_and_no_share_is_a_percentage() -> None:
    rows = read_reported()
    names = [tuple(row[c] for c in REPORTED_COLUMNS if c not in ("value", "sd", "verified")) for row in rows]
    assert len(set(names)) == len(names)
    assert all(0.1 < float(row["value"]) < 1 for row in rows)


def test_known_numbers_of_the_field() -> None:
    found = {
        (row["system"], row["protocol"], row["votes"]): (row["value"], row["selection"])
        for row in read_reported()
        if row["metric"] == "accuracy"
    }
    assert found["Point-MAE", "mn40/resampled8k-fps1024/transfer", "299"] == ("0.9380", "oracle_test")
    assert found["Point-MAE, replayed", "mn40/resampled8k-fps1024/transfer", "0"] == ("0.9287", "oracle_test")
    assert found["Point-BERT, replayed", "sonn/pb_t50_rs/transfer", "0"] == ("0.8307", "unknown")


@pytest.mark.parametrize(
    ("column", "value"),
    [("value", "92.8"), ("sd", "0.3"), ("selection", "best"), ("votes", "many"), ("verified", "yes"), ("system", ""),
     ("protocol", "mn40"), ("seeds", "a few"), ("source", "")],
)  # fmt: skip
def test_a_wrong_entry_is_told_by_line_and_column(tmp_path: Path, column: str, value: str) -> None:
    path = _write(tmp_path / "reported.csv", GOOD, GOOD | {column: value})
    with pytest.raises(ArtifactError, match=rf"reported.csv: line 3, {column}: '{value}' is not allowed"):
        read_reported(path)


def test_a_line_of_other_length_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "reported.csv", GOOD)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.rstrip() + ",more\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="line 2 has more entries"):
        read_reported(path)
    path.write_text(text.rstrip().rsplit(",", 1)[0] + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="line 2, verified: None"):
        read_reported(path)


def test_beside_ours_stands_only_what_was_measured_alike() -> None:
    changes = [{}, {"selection": "oracle_test"}, {"selection": "unknown"}, {"votes": "10"}, {"votes": "unknown"}]
    changes += [{"seeds": "best"}, {"seeds": "best of 8"}]  # which are chosen by test scores too
    rows = [GOOD | change for change in changes]
    assert beside(rows, _cell()) == [GOOD]
    assert beside(rows, _cell(selection="oracle_test")) == [rows[1]]
    others = ("sonn/pb_t50_rs/transfer", "mn40/resampled8k-fps1024/transfer", "mn40/h5-2048-first1024/joint")
    assert not any(beside(rows, _cell(protocol)) for protocol in others)
    assert beside(rows, _cell(metric="mean_class_accuracy")) == []
    ((title, listed),) = elsewhere(rows, [_cell(), _cell(selection="val")])
    assert (len(listed), "mn40/h5-2048-first1024/transfer" in title) == (6, True)
    assert elsewhere(rows, [_cell("procedural/scan1/transfer")]) == []


def test_no_headline_shows_a_number_of_the_file_whose_selection_nobody_tells() -> None:
    assert FILE.is_file()
    for row in read_reported():
        if row["selection"] == "unknown" or row["votes"] != "0":
            cell = Cell(row["task"], "any", row["protocol"], "last", row["metric"], (), True)
            assert row not in beside([row], cell)
