"""Regimes around a task's model: published counts, what stays in eval mode, and that a broken promise is an error."""

import json

import pytest
import torch
from torch import nn

from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.image_stages import stage_groups
from pointlift.operators.regimes import freeze, num_trainable
from pointlift.tasks import classification, partial_training
from pointlift.tasks.classifier import Classifier
from pointlift.tasks.partial_training import PartialTraining


def classifier(head="linear_norm", num_classes=40, **student):
    """A sparse residual network and the head of a classification task."""
    member = rooms.load("students", "sparse_resnet")
    recipe = {"epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    task = {"kind": "classification", "dataset": "toy", "recipe": recipe, "head": head, "head_width": 16}
    encoder = member.build(parse(member.Settings, {"kind": "sparse_resnet", **student}, "student"))
    return Classifier(encoder, num_classes, parse(classification.Settings, task, "task"))


@pytest.mark.parametrize(
    ("architecture", "total", "io", "io_bn"),
    [("resnet18", 34.37, 25_912, 35_384), ("resnet50", 65.60, 87_352, 140_344), ("resnet101", 104.65, 87_352, 192_568)],
)
def test_trainable_numbers_are_those_of_the_authors_networks(architecture, total, io, io_bn):
    """With 40 classes, counted on the authors' networks: one linear stem, a linear head and a batch norm of scores."""
    with torch.device("meta"):
        model = classifier(architecture=architecture)
    groups = stage_groups(model, model.student)
    counts = {}
    for regime in ("io", "ioms", "io_bn", "all"):
        freeze(model, groups, regime)
        counts[regime] = num_trainable(model)
    assert (counts["io"], counts["ioms"], counts["io_bn"]) == (io, io, io_bn)
    assert counts["all"] / 1e6 == pytest.approx(total, abs=0.005)


@pytest.mark.parametrize(("head", "kinds"), [("linear", []), ("linear_norm", [nn.BatchNorm1d]), ("block", [nn.Linear])])
def test_heads(head, kinds):
    found = classifier(head, num_classes=5, architecture="resnet8").head
    layers = [layer for layer in found.modules() if not list(layer.children())]
    assert [type(layer) for layer in layers][-1:] == (kinds or [nn.Linear])
    assert found(torch.zeros(4, 64)).shape == (4, 5)
    assert (len(layers) > 2) == (head == "block")


def clouds(number=6, seed=0):
    points = torch.randn(number, 40, 3, generator=torch.Generator().manual_seed(seed))
    return points / points.norm(dim=2, keepdim=True)


def small(**changes):
    return classifier(num_classes=3, architecture="resnet8", voxel_size=0.3, **changes)


@pytest.mark.parametrize(("regime", "training"), [("io", False), ("ioms", True), ("io_bn", True), ("all", True)])
def test_batch_norms_of_the_stages_train_unless_the_regime_keeps_their_statistics(regime, training):
    part = PartialTraining(small(), regime)
    part.train()
    student = part.student
    norms = {name: layer.training for name, layer in student.named_modules() if isinstance(layer, nn.BatchNorm1d)}
    assert {mode for name, mode in norms.items() if name.startswith("layer")} == {training}
    assert all(mode for name, mode in norms.items() if name.startswith("stem"))
    assert all(layer.training for layer in part.model.head.modules())
    part.eval()
    assert not any(layer.training for layer in part.modules())


def test_a_change_of_what_the_regime_keeps_is_an_error():
    part = PartialTraining(small(), "io")
    part.require_kept()
    with torch.no_grad():
        next(part.student.get_submodule("stem").parameters()).add_(1.0)
    part.require_kept()
    with torch.no_grad():
        part.student.get_submodule("layer2.0.bn1").running_var.mul_(1.5)
    with pytest.raises(ArtifactError, match=r"regime io must keep layer2\.0\.bn1\.running_var, which training changed"):
        part.require_kept()


def test_kept_tensors_are_hashed_bit_by_bit():
    part = PartialTraining(small(), "io_bn")
    weight = part.student.get_parameter("layer1.0.conv1.weight")
    with torch.no_grad():
        weight[0, 0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0, 0], torch.tensor(9.0))
    with pytest.raises(ArtifactError, match=r"layer1\.0\.conv1\.weight"):
        part.require_kept()


def test_recalibrated_statistics_are_means_over_the_batches():
    """Of the first batch norm of the stages, by hand from what it is given; the stem has its own, in eval mode."""
    model = small()
    model.train()
    model.student(clouds(seed=9))  # the stem has seen something
    part = PartialTraining(model, "ioms")
    stem = {name: value.clone() for name, value in part.student.state_dict().items() if name.startswith("stem")}
    norm, batches, seen = part.student.get_submodule("layer1.0.bn1"), [clouds(seed=1), clouds(seed=2)], []
    model.eval()
    hook = norm.register_forward_pre_hook(lambda _, given: seen.append(given[0].rows.detach().double()))
    with torch.no_grad():
        for batch in batches:
            model.student(batch)
    hook.remove()
    part.recalibrate(iter([{"points": batch} for batch in batches]))
    means, variances = (torch.stack([f(rows) for rows in seen]) for f in (lambda r: r.mean(0), lambda r: r.var(0)))
    torch.testing.assert_close(norm.running_mean.double(), means.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variances.mean(0), rtol=1e-4, atol=1e-6)
    assert not norm.training and norm.momentum == 0.1
    assert all(torch.equal(part.student.state_dict()[name], value) for name, value in stem.items())
    part.require_kept()
    with torch.no_grad():
        part.student.get_submodule("layer1.0.bn1").weight.add_(1.0)
    with pytest.raises(ArtifactError, match=r"layer1\.0\.bn1\.weight"):
        part.require_kept()


def test_recalibrated_before_the_first_step_the_stages_meet_what_they_are_trained_on():
    """Of one batch: what ``io`` keeps are the statistics of its first step, behind a stem in training."""
    part, batch, seen = PartialTraining(small(stem="nonlinear"), "io"), clouds(seed=1), {}
    part.recalibrate(iter([{"points": batch}]))
    part.require_kept()  # statistics of the stages may change, and nothing else of them
    part.train()
    norms = {name: norm for name, norm in part.student.named_modules() if isinstance(norm, nn.BatchNorm1d)}
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].rows.double()}))
        for name, norm in norms.items()
    ]
    kept = {name: norm.running_var.double().clone() for name, norm in norms.items() if name.startswith("layer1.0.bn1")}
    with torch.no_grad():
        part.student(batch)
    assert len(hooks) == len(seen) and kept
    for name, variance in kept.items():
        torch.testing.assert_close(seen[name].var(0), variance, rtol=1e-4, atol=1e-9)
        torch.testing.assert_close(seen[name].mean(0), norms[name].running_mean.double(), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        part.student.get_submodule("layer1.0.bn1").weight.add_(1.0)
    with pytest.raises(ArtifactError, match=r"layer1\.0\.bn1\.weight"):
        part.require_kept()


def test_a_student_without_stages_has_no_regime():
    member = rooms.load("students", "pointnet")
    block = {"kind": "pointnet", "widths": [8, 16], "feature_transform": False, "input_transform": False}
    model = nn.Module()
    model.student = member.build(parse(member.Settings, json.loads(json.dumps(block)), "student"))
    with pytest.raises(ConfigError, match="PointNet has no stages of a 2D network; only regime all trains it"):
        PartialTraining(model, "io")


def test_stages_without_batch_norms_cannot_be_recalibrated(monkeypatch):
    monkeypatch.setattr(partial_training, "batch_norms", lambda _: [])
    with pytest.raises(ConfigError, match="have no batch norms; leave it out"):
        PartialTraining(small(), "io").recalibrate(iter([]))
