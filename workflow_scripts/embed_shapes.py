"""Embed every shape of a dataset with one or more students of one block, e.g. all seeds of a run."""

from __future__ import annotations

import argparse
import itertools
import json

import numpy as np

from pointlift import rooms
from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stages, write_stage
from pointlift.operators.checkpoint import load_student
from pointlift.training.inference import embed_clouds
from pointlift.training.machine import choose_device, reproducible


def main(arguments: argparse.Namespace) -> None:
    if len(arguments.weights) != len(arguments.output):
        raise ArtifactError("embed_shapes: as many --output as --weights, in the same order")
    block = arguments.settings["student"]
    module = rooms.load("students", block["kind"])
    settings = parse(module.Settings, block, "student")
    points = read_stages(arguments.points, "points")
    rows = np.flatnonzero(points["valid"])
    offsets = list(itertools.pairwise(points["point_offsets"]))
    clouds = [points["points"][slice(*offsets[row])] for row in rows]
    device = choose_device(arguments.device)
    for weights, output in zip(arguments.weights, arguments.output, strict=True):
        student = module.build(settings)
        load_student(weights, student, json.loads(settings.model_dump_json()))
        with reproducible(device, arguments.threads):
            found = embed_clouds(student, clouds, device)
        embedding = np.zeros((len(points.ids), found.shape[1]), dtype=np.float32)
        embedding[rows] = found
        write_stage(output, "embeddings", points.ids, {"embedding": embedding, "valid": points["valid"]})


if __name__ == "__main__":
    parser = Parser(__doc__).add_paths("weights", "points", "output", many=("weights", "points", "output"))
    run(main, parser.add_compute().parse_args())
