"""Outputs, batches and heads of concept distillation, for its tests."""

import pytest
import torch

from pointlift.contracts.settings import parse
from pointlift.distillation.concept import Settings, build
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import StudentOutput, StudentShape
from pointlift.operators.target_statistics import target_statistics

SHAPES, TOKENS, WIDTH, TEACHER, VIEWS, PATCHES = 8, 12, 24, 16, 10, 3
SHAPE = StudentShape(WIDTH, WIDTH, None)
FORMS = [
    {},
    {"num_queries": 4},
    {"num_queries": 13, "depth": 2, "width": 12},
    {"num_queries": 1, "loss": "regression"},
    {"loss": "regression", "distance": "smooth_l1", "nce_weight": 0.5},
    {"distance": "smooth_l1", "token_weight": 0.5},
    {"query": "view"},
    {"query": "image"},
    {"query": "image", "leak_proof": False, "centre_targets": True},
    {"extractor": "mean_pool"},
    {"extractor": "mean_pool", "num_queries": 1, "loss": "regression"},
    {"centre_targets": True, "token_weight": 1.0, "nce_weight": 1.0, "weight": 0.3},
]
FORM = pytest.mark.parametrize("form", FORMS, ids=lambda form: ",".join(f"{k}={v}" for k, v in form.items()) or "plain")


def settings(**values):
    return parse(Settings, {"kind": "concept", **values}, "method")


def draw(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def student_output(tokens=None, summary=None):
    tokens = draw(SHAPES, TOKENS, WIDTH) if tokens is None else tokens
    places, index = torch.zeros(*tokens.shape[:2], 3), torch.arange(tokens.shape[1]).expand(len(tokens), -1)
    return StudentOutput(tokens.amax(1), tokens, places, index, {}, summary=summary)


def batch_of(views=VIEWS, offset=0.0):
    turns = torch.linalg.qr(draw(SHAPES, views, 3, 3, seed=4))[0]
    cameras = torch.eye(4).repeat(SHAPES, views, 1, 1)
    cameras[..., :3, :3], cameras[..., 2, 3] = turns, 2.5
    return {
        "target": draw(SHAPES, views, TEACHER, seed=2) + offset,
        "patch_tokens": draw(SHAPES, views, PATCHES, TEACHER, seed=3) + offset,
        "world_to_camera": cameras,
    }


def method_of(statistics=None, **values):
    statistics = statistics or target_statistics(batch_of()["target"].numpy())
    return initialised(lambda: build(settings(**values), SHAPE, statistics), "method", 0)


def total(values):
    return sum(value for name, value in values.items() if name.endswith("_loss"))


def trained(method, output, batch, steps=300, learning_rate=5e-3):
    """Train the head alone; what the method then says."""
    optimiser = torch.optim.Adam(method.parameters(), lr=learning_rate)
    for _ in range(steps):
        optimiser.zero_grad()
        total(method(output, batch)).backward()
        optimiser.step()
    with torch.no_grad():
        return {name: value.item() for name, value in method.eval()(output, batch).items()}


def said(method, output, batch):
    with torch.no_grad():
        return {name: value.item() for name, value in method(output, batch).items()}
