"""Embed every shape of a dataset with one or more students of one block, e.g. all seeds of a run; and, by what their
distillation left, put it into the teacher's space."""

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
from pointlift.distillation.projector import load_projector, with_projection
from pointlift.operators.checkpoint import load_student
from pointlift.operators.student_output import shape_of
from pointlift.training.inference import embed_clouds
from pointlift.training.machine import choose_device, reproducible


def main(arguments: argparse.Namespace) -> None:
    if not len(arguments.weights) == len(arguments.projector) == len(arguments.output):
        raise ArtifactError("embed_shapes: as many --output and --projector as --weights, in the same order")
    block = arguments.settings["student"]
    module = rooms.load("students", block["kind"])
    settings = parse(module.Settings, block, "student")
    points = read_stages(arguments.points, "points")
    rows = np.flatnonzero(points["valid"])
    offsets = list(itertools.pairwise(points["point_offsets"]))
    clouds = [points["points"][slice(*offsets[row])] for row in rows]
    device = choose_device(arguments.device)
    for weights, projector, output in zip(arguments.weights, arguments.projector, arguments.output, strict=True):
        student, method = module.build(settings), load_projector(projector)
        load_student(weights, student, json.loads(settings.model_dump_json()))
        with reproducible(device, arguments.threads):
            found = embed_clouds(student, clouds, device, with_projection(method and method.to(device)))
        every = np.zeros((len(points.ids), found.shape[1]), dtype=np.float32)
        every[rows] = found
        width = shape_of(student).width
        arrays = {"embedding": every[:, :width], "valid": points["valid"]}
        if method is not None:
            arrays["projected"] = every[:, width:]
        write_stage(output, "embeddings", points.ids, arrays)


if __name__ == "__main__":
    parser = Parser(__doc__)
    names = ("weights", "projector", "points", "output")
    run(main, parser.add_paths(*names, many=names).add_compute().parse_args())
