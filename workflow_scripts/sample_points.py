"""Draw the points of every shape of a mesh shard: the whole surface, or a partial noisy scan."""

from __future__ import annotations

import argparse

import numpy as np

from pointlift.contracts.command import Parser, run
from pointlift.contracts.dataset_blocks import Scan
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import pack, read_stage, write_stage
from pointlift.geometry.meshes import meshes_of
from pointlift.geometry.sampling import sample_scan, stored_order


def main(arguments: argparse.Namespace) -> None:
    count, seed = arguments.settings["num_points"], arguments.settings["seed"]
    scan = parse(Scan, arguments.settings["scan"], "scan")
    meshes = read_stage(arguments.meshes, "meshes")
    drawn, labels, valid, quarantine = [], [], meshes["valid"].copy(), {}
    for row, (shape_id, mesh) in enumerate(zip(meshes.ids, meshes_of(meshes), strict=True)):
        points = np.zeros((0, 3), np.float32), np.zeros(0, np.int32), np.zeros((0, 3), np.float32)
        if valid[row]:
            try:
                points = sample_scan(mesh, scan, count, np.random.default_rng(stable_seed(shape_id, seed, "points")))
                order = stored_order(points[0], arguments.settings["order"])
                points = points[0][order], points[1][order], points[2][order]
            except UnusableShapeError as error:
                valid[row], quarantine[shape_id] = False, str(error)
        drawn.append(points)
        if mesh.part_label is not None:
            labels.append(mesh.part_label[points[1]])
    points, offsets = pack([points for points, _, _ in drawn])
    arrays = {"points": points, "point_offsets": offsets, "valid": valid}
    arrays["face_index"] = np.concatenate([face_index for _, face_index, _ in drawn])
    arrays["normals"] = np.concatenate([normals for _, _, normals in drawn])
    if labels:
        arrays["part_label"] = np.concatenate(labels)
    names = {key: meshes.attributes[key] for key in ("class_names", "part_names")}
    write_stage(arguments.output, "points", meshes.ids, arrays, quarantine=quarantine, **names)


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("meshes", "output").parse_args())
