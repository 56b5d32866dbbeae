"""Finetuned classification: the loss of the published recipe, the head, what is frozen, which epoch is selected."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.cross_entropy import smoothed_cross_entropy
from pointlift.operators.student_output import StudentOutput
from pointlift.tasks.classification import Settings, build
from pointlift.tasks.classifier import Classifier, classification_head
from pointlift.tasks.shapes import Predictions

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 0.5]])


class Mean(nn.Module):
    """A student: one linear layer over the cloud's mean, with a batch norm and a regulariser."""

    width = 6

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 6), nn.BatchNorm1d(6)

    def forward(self, points_BN3):
        embedding = self.norm(self.layer(points_BN3.mean(1)))
        index = torch.zeros(len(points_BN3), 1, dtype=torch.long)
        return StudentOutput(
            embedding, embedding[:, None].relu(), points_BN3[:, :1], index, {"orthogonality": torch.tensor(5.0)}
        )


class Pull(nn.Module):
    """A method with its own orthogonality term and a view loss."""

    def forward(self, output, batch):
        return {"view_loss": output.tokens.mean(), "orthogonality_loss": torch.tensor(0.25)}


def settings(**changes) -> Settings:
    recipe = {"epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    return parse(Settings, {"kind": "classification", "dataset": "toy", "recipe": recipe, **changes}, "task")


def batch() -> dict:
    points = torch.randn(8, 5, 3, generator=torch.Generator().manual_seed(1))
    return {"points": points, "label": torch.arange(8) % 3}


@pytest.mark.parametrize(("smoothing", "expected"), [(0.0, 0.574438), (0.05, 0.668188), (0.2, 0.949438)])
def test_smoothed_cross_entropy_by_published_values(smoothing, expected):
    assert smoothed_cross_entropy(LOGITS, torch.tensor([0]), smoothing).item() == pytest.approx(expected, abs=1e-6)


def test_smoothed_cross_entropy_is_its_definition():
    logits = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    label = torch.arange(7) % 5
    target = torch.full((7, 5), 0.3 / 4, dtype=torch.float64)
    target[torch.arange(7), label] = 0.7
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smoothed_cross_entropy(logits, label, 0.3), expected)


def test_the_published_smoothing_is_torchs_quarter():
    torchs = nn.functional.cross_entropy(LOGITS, torch.tensor([0]), label_smoothing=0.25)
    assert smoothed_cross_entropy(LOGITS, torch.tensor([0]), 0.2).item() == pytest.approx(torchs.item(), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 0.5])
def test_uniform_logits_cost_log_k_whatever_the_smoothing(smoothing):
    loss = smoothed_cross_entropy(torch.zeros(2, 40), torch.tensor([3, 39]), smoothing)
    assert loss.item() == pytest.approx(math.log(40), abs=1e-5)


@pytest.mark.parametrize(
    ("classes", "smoothing", "floor"),
    [(40, 0.2, 1.233115), (50, 0.2, 1.278766), (50, 0.05, 0.393106), (15, 0.2, 1.028214)],
)
def test_the_floor_of_the_loss(classes, smoothing, floor):
    logits = torch.full((1, classes), math.log(smoothing / (classes - 1)), dtype=torch.float64)
    logits[0, 0] = math.log(1 - smoothing)
    assert smoothed_cross_entropy(logits, torch.tensor([0]), smoothing).item() == pytest.approx(floor, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 7, 40])
def test_the_largest_smoothing_forgets_the_label(classes):
    settings = {
        "kind": "classification",
        "dataset": "d",
        "recipe": {"epochs": 1, "batch_size": 2, "learning_rate": 0.1},
    }
    largest = parse(Settings, {**settings, "label_smoothing": (classes - 1) / classes - 1e-9}, "task")
    Classifier(Mean(), classes, largest)
    logits = torch.randn(1, classes, generator=torch.Generator().manual_seed(0))
    costs = [smoothed_cross_entropy(logits, torch.tensor([k]), largest.label_smoothing).item() for k in range(classes)]
    assert max(costs) == pytest.approx(min(costs), abs=1e-5)
    with pytest.raises(ConfigError, match=f"label of {classes} classes"):
        Classifier(Mean(), classes, parse(Settings, {**settings, "label_smoothing": 1.001 - 1 / classes}, "task"))


def test_the_head_has_the_published_parameters():
    # block 1024 -> 512 without bias (with batch norm), then 512 -> 40 without bias: deployed total less encoder.
    head = classification_head(1024, 512, 40)
    assert sum(parameter.numel() for parameter in head.parameters()) == 1_045_001 - 499_209


def test_losses_and_their_weights():
    torch.manual_seed(0)
    model = Classifier(Mean(), 3, settings(task_weight=0.1, orthogonality_weight=0.01)).eval()
    values = model(batch())
    expected = nn.functional.cross_entropy(model.logits(batch()["points"]), batch()["label"])
    assert values["task_loss"].item() == pytest.approx(0.1 * expected.item(), rel=1e-6)
    assert values["orthogonality_loss"].item() == pytest.approx(0.05)
    assert set(values) == {"task_loss", "orthogonality_loss", "train_accuracy"}


def test_a_method_adds_its_losses_and_its_own_term_wins():
    values = Classifier(Mean(), 3, settings(), Pull()).eval()(batch())
    assert set(values) == {"task_loss", "view_loss", "orthogonality_loss", "train_accuracy"}
    assert values["orthogonality_loss"].item() == 0.25


def test_every_trainable_parameter_gets_a_gradient():
    model = Classifier(Mean(), 3, settings()).train()
    model(batch())["task_loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_a_frozen_student_trains_nothing_and_keeps_its_statistics():
    model = Classifier(Mean(), 3, settings(regime="frozen")).train()
    before = json.dumps({name: value.tolist() for name, value in model.student.state_dict().items()})
    values = model(batch())
    values["task_loss"].backward()
    assert set(values) == {"task_loss", "train_accuracy"}
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"head.weight", "head.bias"}
    assert before == json.dumps({name: value.tolist() for name, value in model.student.state_dict().items()})


def predictions(right_on_val: list[int], right_on_test: list[int]) -> Predictions:
    """Two val and two test items of label 0; at each epoch so many of them are answered right."""
    logits = np.zeros((len(right_on_val), 4, 2), np.float32)
    logits[..., 1] = 0.5
    for epoch, (val, test) in enumerate(zip(right_on_val, right_on_test, strict=True)):
        logits[epoch, :val, 0] = 1.0
        logits[epoch, 2 : 2 + test, 0] = 1.0
    split = np.array([1, 1, 2, 2], np.uint8)
    return Predictions(("a", "b", "c", "d"), np.arange(len(logits)), logits, np.zeros(4, int), split, 5)


def test_last_is_the_last_epoch_and_val_the_first_best_on_val_never_on_test():
    found = build(settings()).evaluate(predictions(right_on_val=[1, 2, 2, 0], right_on_test=[2, 0, 2, 1]))
    values = {(value.metric, value.selection): value.value for value in found.values}
    assert values["accuracy", "last"] == 0.5
    assert values["accuracy", "val"] == 0.0
    assert found.outcomes["accuracy"] == (1.0, 0.0)
    assert found.test_ids == ("c", "d")


def test_without_val_there_is_no_selection_by_it():
    whole = predictions([1], [2])
    kept = whole.split == 2
    found = build(settings()).evaluate(
        Predictions(("c", "d"), whole.epoch, whole.logits[:, kept], whole.label[kept], whole.split[kept], 5)
    )
    assert {value.selection for value in found.values} == {"last"}


def test_the_authors_protocol_reports_the_epoch_best_on_test_alone():
    ours, theirs = build(settings()), build(settings(protocol="pointmcd_authors"))
    label, split = np.array([0, 1, 0, 1]), np.array([1, 2, 2, 2], np.uint8)
    right, wrong = np.eye(2)[label], np.eye(2)[1 - label]
    mixed = np.where(np.arange(4)[:, None] < 2, wrong, right)
    answers = Predictions(("a", "b", "c", "d"), np.arange(3), np.stack([wrong, mixed, wrong]), label, split, 9)
    assert next(value.value for value in ours.evaluate(answers).values if value.selection == "last") == 0.0
    (value,) = theirs.evaluate(answers).values
    assert (value.metric, value.value, value.selection) == ("accuracy", 0.666, "oracle_test")
    (value,) = build(settings(protocol="image2point_authors")).evaluate(answers).values
    assert (value.metric, value.value, value.selection) == ("accuracy", pytest.approx(2 / 3), "oracle_test")
    with pytest.raises(ConfigError, match=r"protocol 'mine' is not allowed: .* knows pointmcd_authors"):
        settings(protocol="mine")
