"""A table that would mix two protocols is refused."""

import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics, Value
from pointlift.contracts.protocols import Protocol
from pointlift.reporting.one_protocol import check_protocols

OURS = Protocol(base="lpsb", variant="12-8", num_points=1024, form="transfer", asked={"shots": [1, 5]})
WORDS = ("method", "arm", "student", "teacher", "pretrain_dataset", "settings_hash")


def metrics(run: str, protocol: Protocol = OURS, ids: tuple[str, ...] = ("i", "j"), **changes: object) -> Metrics:
    row = dict.fromkeys(WORDS, "x") | {"task": "few_shot", "dataset": "lpsb", "protocol": protocol.name}
    about = {"run": run, "seed": 0, "n_train": 4, "n_test": len(ids), "test_ids": ids, "outcomes": {}}
    return Metrics(**{**row, **about, "values": (Value(metric="a", value=0.5),), "measured_by": protocol, **changes})


def test_numbers_that_were_measured_alike_stand_together():
    given = [metrics("one"), metrics("two"), metrics("two", ids=("j", "i"), seed=1)]
    assert check_protocols(given) == given


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_points": 2048}, "num_points 1024 and 2048"),
        ({"votes": 10}, "votes 0 and 10"),
        ({"selection": "oracle_test"}, "selection last and oracle_test"),
        ({"asked": {"shots": [1, 5], "draws": 3}}, r"asked.draws None and 3"),
    ],
)
def test_a_table_that_would_mix_two_protocols_is_refused(change, told):
    other = OURS.model_copy(update=change)
    assert other.name == OURS.name  # the name alone would not tell
    with pytest.raises(ArtifactError, match=f"run one seed 0 and run two seed 0 .* differ in {told}"):
        check_protocols([metrics("one"), metrics("two", other)])


def test_other_test_items_are_another_table():
    with pytest.raises(ArtifactError, match=r"not judged on the same test items .k is in one"):
        check_protocols([metrics("one"), metrics("two", ids=("i", "j", "k"))])


def test_another_name_task_or_dataset_is_another_table():
    joint = OURS.model_copy(update={"form": "joint", "num_points": 2048})
    check_protocols([metrics("one"), metrics("two", joint), metrics("three", ids=("k",), dataset="other")])


def test_files_of_before_are_taken_at_their_name():
    check_protocols([metrics("one"), metrics("two", measured_by=None)])


def test_a_file_of_before_does_not_hide_that_two_others_differ():
    given = [metrics("old", measured_by=None), metrics("one"), metrics("two", OURS.model_copy(update={"votes": 3}))]
    with pytest.raises(ArtifactError, match=r"run one seed 0 and run two seed 0 .* differ in votes 0 and 3"):
        check_protocols(given)


def test_a_metrics_file_says_the_name_of_what_it_was_measured_by():
    with pytest.raises(ValueError, match="protocol must be 'lpsb/12-8/transfer'"):
        Metrics.model_validate({**metrics("one").model_dump(), "protocol": "lpsb/12-8"})
