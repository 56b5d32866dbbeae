import logging
import random
from pathlib import Path

import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.reporting.summary import check_seeds, summary_rows
from pointlift.reporting.tables import SUMMARY_COLUMNS, number, read_table, to_number, write_table
from reporting.fixture_metrics import make_metrics, suite_metrics


def test_one_row_per_value_and_seed_in_the_contracts_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "summary.csv", SUMMARY_COLUMNS, summary_rows("mini", suite_metrics([0, 1])))
    text = (tmp_path / "summary.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == (
        "suite,run,method,arm,student,teacher,pretrain_dataset,task,dataset,protocol,selection,seed,metric,"
        "value,n_train,n_test,settings_hash"
    )
    assert len(text.splitlines()) == 1 + 4 * 2


def test_bytes_do_not_depend_on_the_order_of_the_input(tmp_path: Path) -> None:
    metrics = suite_metrics([0, 1, 10, 2])
    for name, items in (("a", metrics), ("b", random.Random(1).sample(metrics, len(metrics)))):
        write_table(tmp_path / name, SUMMARY_COLUMNS, summary_rows("mini", items))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    seeds = [row["seed"] for row in read_table(tmp_path / "a", SUMMARY_COLUMNS) if row["run"] == "mcd"]
    assert seeds == ["0", "1", "2", "10"]


@pytest.mark.parametrize("value", [0.1 + 0.2, 1 / 3, 0.0, -0.0, 1e-12, 123456.789])
def test_numbers_survive_to_ten_digits(value: float) -> None:
    assert to_number(number(value)) == pytest.approx(value, rel=1e-9, abs=0)
    assert number(0.1 + 0.2) == "0.3"
    assert number(-0.0) == "0"
    assert number(None) == ""
    with pytest.raises(ValueError, match="no place"):
        number(float("nan"))


def test_a_number_handed_in_twice_is_an_error() -> None:
    item = make_metrics("mcd", "mcd", 0, [1.0, 0.0])
    with pytest.raises(ArtifactError, match="accuracy of seed 0 was handed in twice"):
        summary_rows("mini", [item, item])


def test_seeds_and_runs_must_be_those_of_the_suite(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ArtifactError, match="seed 7 is not of the suite"):
        check_seeds([make_metrics("mcd", "mcd", 7, [1.0])], [0, 1])
    two = [make_metrics("mcd", "mcd", 0, [1.0]), make_metrics("mcd", "shuffled", 1, [1.0])]
    with pytest.raises(ArtifactError, match="run mcd is"):
        check_seeds(two, [0, 1])
    with caplog.at_level(logging.WARNING):
        check_seeds(two[:1], [0, 1])
    assert "no numbers for seeds [1]" in caplog.text


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"x\.csv: has the columns"):
        read_table(tmp_path / "x.csv", SUMMARY_COLUMNS)
    with pytest.raises(ArtifactError, match="no such file"):
        read_table(tmp_path / "y.csv", SUMMARY_COLUMNS)
