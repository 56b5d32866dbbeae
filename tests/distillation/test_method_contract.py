"""What every distillation method must do, over all files of the room."""

import math

import numpy as np
import pytest
import torch

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import Masked, StudentOutput, StudentShape
from pointlift.operators.target_statistics import target_statistics

KINDS = rooms.available("distillation")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
POINTS, TOKENS, WIDTH, VIEWS, PATCHES, TARGET = 40, 20, 24, 12, 4, 10
HIDDEN, GROUP = 5, 6


def outputs(batch, device="cpu"):
    """What a student of groups would say: fewer tokens than points, a class token, hidden groups."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(batch, TOKENS, WIDTH, generator=generator).relu().to(device).requires_grad_()
    index = torch.stack([torch.randperm(POINTS, generator=generator)[:TOKENS] for _ in range(batch)]).to(device)
    points = torch.randn(batch, POINTS, 3, generator=generator).to(device)
    token_xyz = points.gather(1, index[..., None].expand(-1, -1, 3))
    summary = torch.randn(batch, WIDTH, generator=generator).to(device).requires_grad_()
    shape = (batch, HIDDEN, GROUP, 3)
    masked = Masked(points[:, :HIDDEN], torch.randn(shape, generator=generator).to(device))
    return StudentOutput(tokens.amax(dim=1), tokens, token_xyz, index, {}, summary=summary, masked=masked)


def batch_of(batch, signed, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(batch, VIEWS, TARGET, generator=generator)
    made = {
        "points": torch.randn(batch, POINTS, 3, generator=generator),
        "visible": torch.rand(batch, VIEWS, POINTS, generator=generator) < 0.4,
        "target": target if signed else target.relu(),
        "patch_tokens": torch.randn(batch, VIEWS, PATCHES, TARGET, generator=generator),
        "world_to_camera": torch.eye(4).repeat(batch, VIEWS, 1, 1),
        "label": torch.arange(batch) % 2,
        "index": torch.arange(batch),
    }
    return {name: value.to(device) for name, value in made.items()}


def method_of(kind, signed, device="cpu"):
    member = rooms.load("distillation", kind)
    settings = parse(member.Settings, {"kind": kind}, "method")
    targets = target_statistics(batch_of(64, signed)["target"].numpy().astype(np.float16))
    assert targets.nonnegative is not signed
    return initialised(lambda: member.build(settings, StudentShape(WIDTH, WIDTH, GROUP), targets), "method", 0).to(
        device
    )


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_finite_scalars_and_one_is_a_loss(kind, device, signed):
    values = method_of(kind, signed, device)(outputs(6, device), batch_of(6, signed, device))
    assert any(name.endswith("_loss") for name in values)
    for name, value in values.items():
        assert value.shape == (), name
        assert value.dtype == torch.float32, name
        assert math.isfinite(value.item()), name
        assert value.requires_grad is name.endswith("_loss"), name


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_student_and_every_parameter_get_a_gradient(kind, device, signed):
    method, output = method_of(kind, signed, device), outputs(6, device)
    values = method(output, batch_of(6, signed, device))
    sum(value for name, value in values.items() if name.endswith("_loss")).backward()
    assert torch.isfinite(output.tokens.grad).all()
    assert output.tokens.grad.any()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_passes_in_eval_mode(kind, signed):
    method = method_of(kind, signed).eval()
    with torch.no_grad():
        values = method(outputs(1), batch_of(1, signed))
    assert all(math.isfinite(value.item()) for value in values.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_words_give_the_same_method(kind):
    found = []
    for method in (method_of(kind, True), method_of(kind, True)):
        torch.manual_seed(0)  # as the engine does before each step: a method may draw, its views for example
        found.append(method(outputs(6), batch_of(6, True)))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
