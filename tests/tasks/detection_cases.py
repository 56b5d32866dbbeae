"""Rooms with boxes of three classes, in memory, and a small detector for them."""

import math

import numpy as np
import torch

from pointlift import rooms
from pointlift.contracts.hashing import digest
from pointlift.contracts.scenes import Scene
from pointlift.contracts.settings import parse
from pointlift.operators.initialisation import initialised
from pointlift.tasks.detection import Settings, build

NAMES = ("stool", "table", "shelf")
EDGES = np.array([[0.4, 0.4, 0.5], [1.2, 0.7, 0.7], [0.5, 0.3, 1.6]])
PLACES = np.array([[0.6, 0.7], [2.4, 0.8], [0.8, 2.3], [2.5, 2.4]])
STUDENT = {"kind": "scene_transformer", "num_tokens": 24, "radius": 0.6, "num_neighbours": 12, "width": 32, "depth": 1}
STUDENT = {**STUDENT, "heads": 2, "aggregation_widths": [16, 32], "mlp_width": 32}
RECIPE = {"epochs": 2, "batch_size": 2, "learning_rate": 0.002}
SMALL = {"num_points": 128, "num_queries": 8, "decoder_width": 32, "decoder_depth": 2, "decoder_mlp_width": 32}
SMALL = {**SMALL, "evaluation_seeds": 2, "dropout": 0.0, "head_dropout": 0.0, "recipe": RECIPE}


def turned(places, angle):
    """Places (n, 3) turned about z, counterclockwise from above."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return places @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def room(seed, oriented, on_each=60, on_floor=80):
    """Points (n, 3) float32 of a floor and two or three solid boxes, the boxes (k, 7), their labels (k,)."""
    rng = np.random.default_rng([31, seed])
    label = rng.permutation([0, 1, 2, rng.integers(3)])[: rng.integers(2, 4)]
    heading = rng.uniform(-math.pi, math.pi, len(label)) if oriented else np.zeros(len(label))
    edges = EDGES[label]
    centre = np.column_stack([PLACES[rng.permutation(4)[: len(label)]], edges[:, 2] / 2])
    points = [rng.random((on_floor, 3)) * [3.2, 3.2, 0.0]]
    for row in range(len(label)):
        inner = (rng.random((on_each, 3)) - 0.5) * edges[row] * 0.98
        points.append(turned(inner, heading[row]) + centre[row])
    boxes = np.column_stack([centre, edges, heading])
    return np.concatenate(points).astype(np.float32), boxes.astype(np.float32), label.astype(np.int16)


class Rooms:
    """What a task is given in the place of ``Scenes``: the first ones are in train, the last two in val and test."""

    box_names, semantic_names = NAMES, ()

    def __init__(self, count=6, oriented=False, shift=0.0):
        made = [room(seed, oriented) for seed in range(count)]
        self.ids = tuple(f"room{number}" for number in range(count))
        self.split = np.array([0] * (count - 2) + [1, 2], dtype=np.uint8)
        move = np.array([shift, -shift, shift], dtype=np.float32)
        self.scenes = [
            Scene(name, points + move, {}, boxes + np.array([*move, 0, 0, 0, 0], dtype=np.float32), label)
            for name, (points, boxes, label) in zip(self.ids, made, strict=True)
        ]
        self.read = []

    def load(self, row):
        self.read.append(row)
        return self.scenes[row]

    def rows(self, *splits):
        return np.flatnonzero(np.isin(self.split, [("train", "val", "test").index(each) for each in splits]))

    def shard_of(self, rows):
        return np.asarray(rows) // 3

    def checksum(self, rows):
        return digest([self.ids[row] for row in rows])


def settings(**values):
    return parse(Settings, {"kind": "detection", "dataset": "rooms", **SMALL, **values}, "task")


def student(**values):
    member = rooms.load("students", "scene_transformer")
    return initialised(lambda: member.build(parse(member.Settings, {**STUDENT, **values}, "student")), "student", 0)


def detector(given, **values):
    task = build(settings(**values))
    return initialised(lambda: task.model(student(), given, None), "head", 0)


def batch_of(given, rows=(0, 1), epoch=0, **values):
    data = build(settings(**values)).training_data(given, np.array(rows), 0)
    return next(iter(data.batches(epoch, len(rows), 0)))


def train(model, batch, steps, rate):
    """Losses of every step on one batch, on a schedule that ends at 0."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    found = []
    for _ in range(steps):
        values = model(batch)
        loss = sum(value for name, value in values.items() if name.endswith("_loss"))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
        falling.step()
        found.append({name: float(value.detach()) for name, value in values.items()} | {"total": float(loss.detach())})
    return found
