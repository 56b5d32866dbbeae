"""Student weights in a file: the same back, the same bytes, and nothing wrong gets through."""

import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ArtifactError
from pointlift.operators.checkpoint import load_student, read_student_settings, save_student
from pointlift.operators.initialisation import initialised

SETTINGS = {"kind": "toy", "widths": [3, 4]}


def toy(width=4, seed=0):
    return initialised(lambda: nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width)), "toy", seed)


def test_round_trip_of_weights_buffers_and_settings(tmp_path):
    saved, other = toy(seed=0), toy(seed=1)
    saved(torch.randn(8, 3))  # moves the running statistics
    save_student(tmp_path / "w.safetensors", saved, SETTINGS)
    load_student(tmp_path / "w.safetensors", other, SETTINGS)
    for name, value in saved.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert read_student_settings(tmp_path / "w.safetensors") == SETTINGS


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_student(tmp_path / name, toy(), dict(reversed(SETTINGS.items())) if name == "b" else SETTINGS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)), r"0\.weight is float32 \(4, 3\), must be float32 \(5, 3\)"),
        (nn.Sequential(nn.Linear(3, 4)), "has unknown 1"),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), "lacks 2.weight"),
        (toy().double(), "is float32"),
    ],
)
def test_weights_of_another_student_are_refused_and_change_nothing(tmp_path, student, message):
    save_student(tmp_path / "w", toy(), SETTINGS)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(ArtifactError, match=message):
        load_student(tmp_path / "w", student)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_another_block_is_refused(tmp_path):
    save_student(tmp_path / "w", toy(), SETTINGS)
    with pytest.raises(ArtifactError, match="differs in widths"):
        load_student(tmp_path / "w", toy(), {"kind": "toy", "widths": [3, 5]})


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    student = toy()
    with torch.no_grad():
        student[0].weight[0, 0] = torch.nan
    with pytest.raises(ArtifactError, match=r"0\.weight"):
        save_student(tmp_path / "w", student, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_missing_damaged_and_foreign_files_are_told_apart(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        load_student(tmp_path / "none", toy())
    save_student(tmp_path / "w", toy(), SETTINGS)
    whole = (tmp_path / "w").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "foreign").write_bytes(b"not safetensors at all")
    for name in ("cut", "foreign"):
        with pytest.raises(ArtifactError, match="not a file of student weights"):
            read_student_settings(tmp_path / name)


def test_first_weights_depend_on_their_words_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = toy(seed=0)
    assert torch.equal(torch.rand(3), expected)  # the global generator was not moved
    assert torch.equal(first[0].weight, toy(seed=0)[0].weight)
    assert not torch.equal(first[0].weight, toy(seed=1)[0].weight)
