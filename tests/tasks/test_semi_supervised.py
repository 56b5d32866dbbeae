"""Semi-supervised distillation: what the teacher says of a shape, who starts from what, and that no label is read."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage
from pointlift.tasks import finetuned_few_shot, semi_supervised, subset_finetuning
from pointlift.tasks.pseudo_labels import PseudoLabelled, pseudo_labels
from pointlift.tasks.shapes import Shapes
from pointlift.training import engine
from tasks.test_subset_finetuning import RECIPE, Killed, Mean, run
from tasks.toy_shapes import toy_clouds

#: Scores whose best classes are 1, 1 and 0; cut down to integers, all are of the first one.
SCORES = np.array([[0.4, 0.9, 0.3], [1.2, 1.9, -0.4], [-0.3, -0.9, -2.0]], dtype=np.float32)
LONGER = {"epochs": 3, "batch_size": 16, "learning_rate": 0.02}


def task(**changes):
    block = {"kind": "semi_supervised", "dataset": "toy", "recipe": RECIPE, "draws": 2, "head": "linear", "shots": [2]}
    return semi_supervised.build(parse(semi_supervised.Settings, block | changes, "task"))


def test_the_best_class_is_looked_for_before_anything_is_cut_off():
    assert pseudo_labels(SCORES, "argmax", 0.8, None).argmax(1).tolist() == [1, 1, 0]
    assert pseudo_labels(SCORES, "argmax", 0.8, "authors_integer_argmax").argmax(1).tolist() == [0, 0, 0]
    theirs = torch.from_numpy(SCORES).long().argmax(dim=1)
    assert theirs.tolist() == [0, 0, 0]
    rng = np.random.default_rng(0)
    scores = rng.normal(scale=4.0, size=(500, 7)).astype(np.float32)
    cast = torch.from_numpy(scores).long()
    best = pseudo_labels(scores, "argmax", 1.0, "authors_integer_argmax").argmax(1)
    first = [int(torch.nonzero(row == row.max())[0]) for row in cast]
    assert best.tolist() == first and first != scores.argmax(1).tolist()


@pytest.mark.parametrize("temperature", [0.1, 0.8, 1.0, 3.0])
def test_soft_labels_are_a_softmax_of_divided_scores(temperature):
    found = pseudo_labels(SCORES * 9, "soft", temperature, None)
    expected = (torch.from_numpy(SCORES * 9).double() / temperature).softmax(1)
    torch.testing.assert_close(torch.from_numpy(found).double(), expected, atol=1e-7, rtol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-6)
    assert found.dtype == np.float32
    assert np.isfinite(pseudo_labels(np.array([[1e4, -1e4]], np.float32), "soft", 0.8, None)).all()


def test_the_loss_is_the_cross_entropy_of_two_distributions():
    """On hard labels that of torch; on soft ones its least value is their entropy, where both are one."""
    model = PseudoLabelled(Mean(), 3, task().settings)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    hard = torch.tensor([2, 0, 1, 1])
    values = model.judged(logits, {"target": nn.functional.one_hot(hard, 3).float()})
    torch.testing.assert_close(values["task_loss"], nn.functional.cross_entropy(logits, hard))
    assert values["agreement"].item() == (logits.argmax(1) == hard).float().mean().item()
    soft = logits.softmax(1)
    entropy = -(soft * soft.log()).sum(1).mean()
    torch.testing.assert_close(model.judged(logits, {"target": soft})["task_loss"], entropy)
    assert model.judged(logits + torch.tensor([1.0, 0, 0]), {"target": soft})["task_loss"] > entropy


def watch(monkeypatch):
    """First weights, rows and arrays of every training."""
    seen = []

    def spied(model, losses, data, recipe, **options):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        seen.append((state, data, recipe))
        engine.fit(model, losses, data, recipe, **options)
        seen[-1] += ({name: value.clone() for name, value in model.state_dict().items()},)

    monkeypatch.setattr("pointlift.tasks.finetuning.fit", spied)
    return seen


def test_the_student_starts_from_its_teacher_and_is_told_what_that_says_in_eval_mode(tmp_path, monkeypatch):
    shapes, seen = toy_clouds((12, 14, 16)), watch(monkeypatch)
    run(tmp_path / "a", task(student_recipe=LONGER), shapes)
    assert len(seen) == 4  # two draws
    for teacher, student in (seen[:2], seen[2:]):
        assert len(teacher[1]) == 6 and set(teacher[1].once.arrays) == {"points", "label"}
        assert (teacher[2].epochs, student[2].epochs) == (2, 3)
        assert all(torch.equal(student[0][name], value) for name, value in teacher[3].items())
        assert any(not torch.equal(student[3][name], value) for name, value in teacher[3].items())
        assert set(student[1].arrays) == {"points", "target"} and len(student[1]) == 42  # all clouds, no label
        model = PseudoLabelled(Mean(), 3, task().settings)
        model.load_state_dict(teacher[3])
        with torch.no_grad():
            scores = model.eval().logits(torch.from_numpy(student[1].arrays["points"]))
        expected = (scores.double() / 0.8).softmax(1)
        torch.testing.assert_close(torch.from_numpy(student[1].arrays["target"]).double(), expected, atol=1e-6, rtol=0)


def test_labels_outside_the_shots_change_no_bit(tmp_path, monkeypatch):
    """The sets are held fixed, for a class's members decide who is drawn of it."""
    shapes, one = toy_clouds((12, 14, 16)), task()
    subsets = one.subsets(shapes)
    labelled = np.unique(np.concatenate([subset.rows for subset in subsets]))
    label = shapes.label.copy()
    unread = np.setdiff1d(shapes.rows("train"), labelled)
    label[unread] = (label[unread] + 1) % 3
    monkeypatch.setattr(one, "subsets", lambda _: subsets)
    run(tmp_path / "a", one, shapes)
    run(tmp_path / "b", one, Shapes(shapes.ids, shapes.values, label, shapes.split, 3))
    for name in ("history.jsonl", "predictions.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_first_number_is_the_control_and_that_of_finetuned_few_shot(tmp_path):
    shapes, one = toy_clouds((12, 14, 16)), task(shots=[1, 5])
    block = {"kind": "finetuned_few_shot", "dataset": "toy", "recipe": RECIPE, "draws": 2, "head": "linear"}
    member = finetuned_few_shot
    plain = member.build(parse(member.Settings, block | {"shots": [1, 5]}, "task"))
    found = {}
    for word, each in (("semi", one), ("few", plain)):
        run(tmp_path / word, each, shapes)
        found[word] = read_stage(tmp_path / word / "predictions.safetensors", "subset_predictions")
    assert found["semi"]["phase"].tolist() == [0, 1] * 4
    control = found["semi"]["logits"][found["semi"]["phase"] == 0]
    np.testing.assert_array_equal(control, found["few"]["logits"])
    metrics = [name for name, _, _ in one.measured()]
    assert metrics == ["accuracy_1_shot", "accuracy_1_shot_distilled", "accuracy_5_shot", "accuracy_5_shot_distilled"]


def test_soft_and_hard_labels_give_different_students(tmp_path):
    shapes, found = toy_clouds((12, 14, 16)), []
    for name, changes in (("s", {}), ("h", {"labels": "argmax"}), ("t", {"temperature": 2.0})):
        run(tmp_path / name, task(**changes), shapes)
        found.append(read_stage(tmp_path / name / "predictions.safetensors", "subset_predictions")["logits"])
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][0], found[2][0])
    assert not np.array_equal(found[0][1], found[1][1]) and not np.array_equal(found[0][1], found[2][1])


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6])
def test_killed_in_any_phase_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch, stop_at):
    """8 trainings' steps: 2 of the teacher, then 3 epochs of 2 of the student, twice."""
    shapes, one, steps = toy_clouds((12, 14, 16)), task(student_recipe=LONGER), []
    whole, real = run(tmp_path / "whole", one, shapes), engine._Training._step

    def counted(self, batch, step):
        if len(steps) == stop_at:
            raise Killed
        steps.append(step)
        real(self, batch, step)

    monkeypatch.setattr(engine._Training, "_step", counted)
    options = {"checkpoints": tmp_path / "state", "checkpoint_seconds": 0.0}
    with pytest.raises(Killed):
        run(tmp_path / "killed", one, shapes, **options)
    stop_at = -1
    again = run(tmp_path / "killed", one, shapes, **options)
    assert len(steps) == 2 * (2 + 6)
    for name in ("history.jsonl", "predictions.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for name, value in whole.deployed().state_dict().items():
        assert torch.equal(value, again.deployed().state_dict()[name]), name
    assert not (tmp_path / "state").exists() and json.loads(
        (tmp_path / "whole/history.jsonl").read_text().split("\n")[2]
    )


def test_states_of_ended_sets_hold_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(subset_finetuning, "_forget", lambda place: None)
    run(tmp_path / "a", task(), toy_clouds((12, 14, 16)), checkpoints=tmp_path / "state")
    assert sorted(str(path.relative_to(tmp_path / "state")) for path in (tmp_path / "state").rglob("state.pt")) == [
        "000/ended/state.pt",
        "001/0/state.pt",
        "001/1/state.pt",
    ]


def test_answers_of_the_teacher_are_computed_with_the_threads_of_its_training(tmp_path, monkeypatch):
    """The bits of a sum hang on their number, whatever the process around it has."""
    shapes, one, threads = toy_clouds((12, 14, 16)), task(), []
    real = one.look
    monkeypatch.setattr(one, "look", lambda *given: threads.append(torch.get_num_threads()) or real(*given))
    before = torch.get_num_threads()
    run(tmp_path / "a", one, shapes, threads=2)
    assert set(threads) == {2} and len(threads) == 4 and torch.get_num_threads() == before


def test_what_cannot_be_meant_is_told():
    with pytest.raises(ConfigError, match="authors_integer_argmax is about labels: argmax"):
        task(compat="authors_integer_argmax")
    theirs, ours = task(compat="authors_integer_argmax", labels="argmax"), task(labels="argmax")
    assert theirs.settings.protocol_words() == ("authors_integer_argmax",) and ours.settings.protocol_words() == ()
