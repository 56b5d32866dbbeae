"""Point-MAE: its loss against the formula, what its decoder may know, and that it learns."""

import json

import pytest
import torch

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.settings import parse
from pointlift.distillation.point_mae import Settings, build
from pointlift.distillation.training import Distillation
from pointlift.operators.chamfer import chamfer_distance
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import StudentShape, shape_of
from pointlift.students import point_transformer
from pointlift.training.data import TensorData
from pointlift.training.engine import fit

STUDENT = {"num_groups": 10, "group_size": 8, "width": 24, "depth": 2, "heads": 3, "tokenizer_widths": [8, 16, 24]}
STUDENT = {"kind": "point_transformer", "drop_path": 0.0, **STUDENT}


def settings(**values):
    return parse(Settings, {"kind": "point_mae", **values}, "method")


def model(seed=0, **values):
    def make():
        student = point_transformer.build(parse(point_transformer.Settings, STUDENT, "student"))
        values.setdefault("drop_path", 0.0)
        return Distillation(student, build(settings(depth=2, **values), shape_of(student), None))

    return initialised(make, "model", seed)


def boxes(count=8, points=64):
    """Points on boxes of different sizes."""
    generator = torch.Generator().manual_seed(0)
    cloud = torch.rand(count, points, 3, generator=generator) * 2 - 1
    face = torch.randint(3, (count, points, 1), generator=generator)
    cloud.scatter_(2, face, cloud.gather(2, face).sign())
    return 0.7 * cloud * (0.3 + 0.7 * torch.rand(count, 1, 3, generator=generator))


def test_it_reads_points_alone_and_is_its_own_arm():
    block = settings()
    assert (block.reads(), block.arms(), block.hides(), block.mask_ratio) == ((), ("point_mae",), True, 0.6)
    assert model().method.mask_ratio == 0.6 and not hasattr(model().method, "project")


def test_the_loss_is_the_mean_distance_of_hidden_groups():
    made, points = model().eval(), boxes()
    with torch.no_grad():
        output = made.student(points, mask_ratio=0.6)
        said = made.method.say(output, output.masked.centres).double()
        found = made({"points": points})
    distances = []
    for ours, theirs in zip(said.flatten(0, 1), output.masked.points.double().flatten(0, 1), strict=True):
        squared = (ours[:, None] - theirs[None]).square().sum(dim=2)
        distances.append(squared.min(dim=0).values.mean() + squared.min(dim=1).values.mean())
    assert len(distances) == 8 * 6 and said.shape == (8, 6, 8, 3)
    assert set(found) == {"reconstruction_loss"}
    assert found["reconstruction_loss"].item() == pytest.approx(torch.stack(distances).mean().item(), rel=1e-5)


def test_a_group_is_said_from_its_place_and_the_shown_groups():
    """Hidden groups are rows of one set: in another order they are said in that order; elsewhere, otherwise."""
    made = model().eval()
    with torch.no_grad():
        for parameter in (*made.method.position.parameters(), *made.method.blocks.parameters()):
            parameter.mul_(10.0)  # away from the small start, where little is told from row to row
        output = made.student(boxes(), mask_ratio=0.6)
        said = made.method.say(output, output.masked.centres)
        order = torch.randperm(6)
        moved = made.method.say(output, output.masked.centres[:, order])
        other = made.method.say(output, output.masked.centres.flip(0))
        unlike = made.method.say(output._replace(tokens=output.tokens.flip(0)), output.masked.centres)
    torch.testing.assert_close(moved, said[:, order], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(other, said, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(unlike, said, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="point_transformer"):
        build(settings(), StudentShape(16, 16, None), None)
    with pytest.raises(ConfigError, match="heads: 5 do not divide"):
        build(settings(heads=5), StudentShape(16, 16, 4), None)
    with pytest.raises(ConfigError, match="mask_ratio"):
        settings(mask_ratio=1.0)
    with pytest.raises(ValueError, match="nothing was hidden"):
        made = model()
        made.method(made.student(boxes()), {})


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (96, 6), (64, 4), (25, 5), (7, 1)])
def test_heads_that_are_left_out_divide_the_width(width, heads):
    assert build(settings(depth=1), StudentShape(2 * width, width, 4), None).blocks[0].attention.heads == heads


def test_every_parameter_of_student_and_decoder_gets_a_gradient_in_half_precision():
    made = model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made({"points": boxes()})["reconstruction_loss"]
    assert loss.dtype == torch.float32
    loss.backward()
    for name, parameter in made.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def trained(folder, precision="32-true", epochs=80):
    made = model(drop_path=0.1)
    recipe = parse(Recipe, {"epochs": epochs, "batch_size": 8, "learning_rate": 2e-3, "precision": precision}, "recipe")
    folder.mkdir()
    history = folder / "history.jsonl"
    fit(made, made, TensorData({"points": boxes().numpy()}), recipe, seed=0, history=history, device="cpu")
    return made, [json.loads(line)["reconstruction_loss"] for line in history.read_text().splitlines()]


def test_it_learns_what_is_hidden(tmp_path):
    """To well below its start, and below what one group, the mean of all that are hidden, would have everywhere."""
    made, losses = trained(tmp_path / "run")
    with torch.no_grad():
        points = boxes()
        hidden = made.student(points, mask_ratio=0.6).masked.points.flatten(0, 1)
        blind = chamfer_distance(hidden.mean(dim=0).expand_as(hidden), hidden).mean()
        found = made({"points": points})["reconstruction_loss"]
        assert torch.equal(made({"points": points})["reconstruction_loss"], found), "evaluation draws nothing"
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]
    assert found < 0.75 * blind


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_same_seed_gives_the_same_bits(tmp_path, precision):
    (one, first), (two, second) = (trained(tmp_path / name, precision, epochs=3) for name in ("one", "two"))
    assert first == second
    weights = two.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())
