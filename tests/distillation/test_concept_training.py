"""Concept distillation trained: what teaches nothing, what a query gives away, and small trainings to the floor."""

import json

import numpy as np
import pytest
import torch

from distillation.concept_cases import (
    FORM,
    SHAPES,
    TOKENS,
    WIDTH,
    batch_of,
    draw,
    method_of,
    said,
    student_output,
    trained,
)
from pointlift.contracts.recipe import Recipe
from pointlift.operators.initialisation import initialised
from pointlift.training.data import TensorData
from pointlift.training.engine import fit


@FORM
def test_nothing_that_is_trained_touches_what_is_compared_with(form):
    """Two sides that are both trained could agree on a constant; here one side is fixed."""
    method, batch = method_of(**form), batch_of()
    before = method.wanted(batch["target"])
    assert not before.requires_grad
    for parameter in method.parameters():
        parameter.data.normal_()
    assert torch.equal(method.wanted(batch["target"]), before)
    assert not {"mean", "radius"} & dict(method.named_parameters()).keys()


@pytest.mark.parametrize(
    ("form", "floor"), [({}, 0.3), ({"loss": "regression"}, 0.5), ({"num_views": 1, "num_queries": 1}, 0.5)]
)
def test_saying_the_same_of_every_shape_is_no_solution(form, floor):
    method, output = method_of(**form), student_output(torch.ones(SHAPES, TOKENS, WIDTH))
    assert trained(method, output, batch_of())["concept_loss"] > floor


def test_saying_the_same_of_every_shape_leaves_the_contrast_at_log_of_the_batch():
    method, output = method_of(nce_weight=1.0), student_output(torch.ones(SHAPES, TOKENS, WIDTH))
    assert trained(method, output, batch_of())["nce_loss"] > np.log(SHAPES) - 1e-4


def test_a_query_that_holds_the_answer_leaks_it_past_the_cloud_unless_it_is_closed():
    """The danger is real: with the query added, a student that says nothing at all has a loss near 0."""
    nothing = student_output(torch.ones(SHAPES, TOKENS, WIDTH))
    opened = trained(method_of(query="image", leak_proof=False), nothing, batch_of())
    assert opened["concept_loss"] < 0.02
    assert opened["other_clouds_cosine"] == pytest.approx(opened["cosine"], abs=1e-5)
    closed = trained(method_of(query="image"), nothing, batch_of())
    assert closed["concept_loss"] > 0.5


def test_with_a_closed_query_other_clouds_raise_the_loss_of_a_trained_head():
    output, batch = student_output(summary=draw(SHAPES, WIDTH, seed=1)), batch_of()
    method = method_of(query="image")
    right = trained(method, output, batch)
    wrong = said(method, student_output(output.tokens.roll(1, 0), output.summary.roll(1, 0)), batch)
    assert right["concept_loss"] < 0.05
    assert wrong["concept_loss"] > right["concept_loss"] + 0.2
    assert right["other_clouds_cosine"] == pytest.approx(wrong["cosine"], abs=1e-6)


def test_a_closed_query_can_still_tell_by_where_it_looks_and_that_is_seen():
    """Tokens that differ within a cloud but not between clouds: the weights alone spell the answer out."""
    alike = student_output(draw(1, TOKENS, WIDTH).expand(SHAPES, -1, -1))
    values = trained(method_of(query="image"), alike, batch_of())
    assert values["concept_loss"] < 0.2
    assert values["other_clouds_cosine"] == pytest.approx(values["cosine"], abs=1e-5)


class Toy(torch.nn.Module):
    """The smallest student: an MLP over points, the mean as class token."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.ReLU(), torch.nn.Linear(64, WIDTH))

    def forward(self, points_BN3):
        tokens = self.layers(points_BN3)
        return student_output(tokens, tokens.mean(dim=1))


class Both(torch.nn.Module):
    """A student and its method, trained together."""

    def __init__(self, **values):
        super().__init__()
        self.student = initialised(Toy, "student", 0)
        self.method = method_of(**values)

    def forward(self, batch):
        return self.method(self.student(batch["points"]), batch)


def train(folder, epochs, **values):
    """The losses of each epoch on 8 shapes, and the weights, through the engine that trains everything."""
    folder.mkdir()
    model, arrays = Both(**values), {name: part.numpy() for name, part in batch_of(views=12).items()}
    arrays["points"] = draw(SHAPES, TOKENS, 3, seed=8).numpy()
    recipe = Recipe(epochs=epochs, batch_size=SHAPES, learning_rate=0.005, weight_decay=0.0)
    fit(model, model, TensorData(arrays), recipe, seed=0, history=folder / "history.jsonl", device="cpu", threads=1)
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return lines, model.state_dict()


@pytest.mark.parametrize(
    "form",
    [
        {"num_queries": 12, "num_views": None},
        {"num_queries": 12, "num_views": None, "extractor": "mean_pool"},
        {"num_views": None, "query": "view"},
    ],
    ids=["learned", "mean_pool", "view"],
)
def test_the_loss_falls_to_near_zero_on_eight_shapes(tmp_path, form):
    lines, _ = train(tmp_path / "run", 400, **form)
    assert lines[0]["concept_loss"] > 0.5
    assert lines[-1]["concept_loss"] < 0.02
    assert lines[-1]["batch_retrieval"] == 1.0
    assert lines[-1]["concept_similarity"] < 0.5, "concepts of a shape are as different as its views"


def test_one_concept_falls_to_the_floor_that_the_views_leave_it(tmp_path):
    """The best single vector of a shape stands in the mean direction of its views: 1 - |mean of unit targets|."""
    lines, _ = train(tmp_path / "run", 400, num_queries=1, num_views=None, loss="regression")
    targets = batch_of(views=12)["target"]
    floor = 1.0 - (targets / targets.norm(dim=-1, keepdim=True)).mean(dim=1).norm(dim=-1).mean().item()
    assert floor < lines[-1]["concept_loss"] < floor + 0.02


@pytest.mark.parametrize("form", [{}, {"query": "image", "token_weight": 0.5, "nce_weight": 0.5, "num_views": 4}])
def test_the_same_seed_trains_to_the_same_bits(tmp_path, form):
    one, other = (train(tmp_path / name, 5, **form) for name in ("one", "other"))
    assert one[0] == other[0]
    assert all(torch.equal(part, other[1][name]) for name, part in one[1].items())


def test_losses_are_in_full_precision_whatever_is_around_them():
    method, output, batch = method_of(token_weight=1.0, nce_weight=1.0), student_output(), batch_of()
    wanted = said(method, output, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = method(output, batch)
    assert all(value.dtype == torch.float32 for value in values.values())
    assert {name: value.item() for name, value in values.items()} == pytest.approx(wanted, abs=0.02)
