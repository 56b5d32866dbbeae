"""A dataset that comes as points, end to end: read, listed, learned and judged, and never rendered."""

import numpy as np
import pandas as pd

from point_layouts import write_modelnet_h5
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.stages import read_stages

BLOCKS = """
datasets:
  clouds:
    kind: modelnet_h5
    folder: mn40
    protocol: mn40/h5-2048-first64-partial
    partial: true
    num_points: 64
    val_share: 0.0
    shard_size: 30
students:
  linear: {kind: pointnet, widths: [16, 32], input_transform: false, feature_transform: false}
tasks:
  probe: {kind: linear_probe, dataset: clouds, strengths: [1.0]}
  learn:
    kind: classification
    dataset: clouds
    recipe: {epochs: 20, batch_size: 8, learning_rate: 5.0e-3}
runs:
  alone: {student: linear}
suites:
  points: {runs: [alone], tasks: [probe, learn], seeds: [0]}
suite: points
"""
STRETCH = {0: 0.2, 5: 1.0, 38: 3.0}


def test_a_suite_on_points_alone(checkout):
    train, test = [[0, 5, 38] * 6, [38, 5, 0] * 4], [[0, 5, 38] * 3]
    write_modelnet_h5(checkout.folder / "data" / "mn40", train, test, stretch=STRETCH)
    (checkout.folder / "points.yaml").write_text(BLOCKS, encoding="utf-8")
    checkout.snakemake("--configfile", "points.yaml", suite="points")

    results = checkout.folder / "results"
    assert not (results / "meshes").exists() and not (results / "views").exists()
    manifest = read_manifest(results / "manifest" / "clouds.csv")
    assert manifest["split"].value_counts().to_dict() == {"train": 30, "test": 9}
    assert manifest["label"].tolist() == [0, 5, 38] * 6 + [38, 5, 0] * 4 + [0, 5, 38] * 3
    assert set(manifest["shard"]) == {"0000", "0001"}
    points = read_stages(sorted((results / "points" / "clouds").glob("*.safetensors")), "points")
    assert points["points"].shape == (39 * 64, 3) and "face_index" not in points.arrays
    assert np.linalg.norm(points["points"], axis=1).max() <= 1.0 + 1e-6

    summary = pd.read_csv(results / "report" / "points" / "summary.csv")
    assert set(summary["protocol"]) == {"mn40/h5-2048-first64-partial/transfer"}
    accuracy = summary[summary["metric"] == "accuracy"].set_index("task")["value"]
    assert accuracy["linear_probe"] > 0.8  # three ellipsoids of very different proportions; chance is a third
    assert accuracy["classification"] > 0.5
    cost = pd.read_csv(results / "report" / "points" / "cost.csv")
    assert "read_points" in set(cost["phase"]) and "prepare_meshes" not in set(cost["phase"])

    def planned():
        printed = checkout.snakemake("--configfile", "points.yaml", "-n", "-q", "rules", suite="points")
        return printed.stdout + printed.stderr

    assert "Nothing to be done" in planned()
    write_modelnet_h5(checkout.folder / "data" / "mn40", train, test, stretch=STRETCH, normals=False)
    assert "read_points" in planned()  # other files: they are read again
