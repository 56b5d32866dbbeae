"""Datasets that come as points, end to end: read, listed, photographed as discs, distilled on, learned and judged."""

import numpy as np
import pandas as pd

from point_layouts import write_modelnet_h5, write_shapenet_part
from pointlift.contracts.images import images_of
from pointlift.contracts.manifest import open_test_split
from pointlift.contracts.stages import read_stage, read_stages

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
  unlabelled:
    kind: shapenet_part
    layout: v0 # without normals
    folder: parts
    protocol: shapenetpart/v0-random64-partial
    partial: true
    num_points: 64
  taught: {kind: procedural, series: taught, classes: [chair, cup], shapes_per_class: 6}
rigs:
  mesh_32px: {kind: mesh, cameras: {num_views: 2}, image_size: 32}
  splats_32px: {kind: points, cameras: {num_views: 2}, image_size: 32}
teachers:
  small:
    kind: clip
    model:
      embed_dim: 16
      vision_cfg: {image_size: 32, layers: [1, 1, 1, 1], width: 16, head_width: 32}
      text_cfg: {context_length: 16, vocab_size: 49408, width: 16, heads: 2, layers: 1}
    training: {dataset: taught, rig: mesh_32px, recipe: {epochs: 1, batch_size: 8, learning_rate: 1.0e-3}}
methods:
  mcd: {kind: pointmcd}
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
  mcd_splats:
    student: linear
    method: mcd
    arm: mcd
    teacher: small
    rig: splats_32px
    dataset: unlabelled
    recipe: {epochs: 2, batch_size: 4, learning_rate: 1.0e-3}
  joint_splats: {student: linear, method: mcd, form: joint, arm: mcd, teacher: small, rig: splats_32px}
suites:
  points: {runs: [alone, mcd_splats, joint_splats], tasks: [probe, learn], seeds: [0]}
suite: points
"""
STRETCH = {0: 0.2, 5: 1.0, 38: 3.0}


def test_a_suite_on_points_with_pictures_of_points(checkout):
    train, test = [[0, 5, 38] * 6, [38, 5, 0] * 4], [[0, 5, 38] * 3]
    write_modelnet_h5(checkout.folder / "data" / "mn40", train, test, stretch=STRETCH)
    write_shapenet_part(checkout.folder / "data" / "parts", "v0")
    (checkout.folder / "points.yaml").write_text(BLOCKS, encoding="utf-8")
    checkout.snakemake("--configfile", "points.yaml", suite="points")

    results = checkout.folder / "results"
    assert [path.name for path in (results / "meshes").iterdir()] == ["taught"]
    manifest = open_test_split(results / "manifest" / "clouds.csv")
    assert manifest["split"].value_counts().to_dict() == {"train": 30, "test": 9}
    assert manifest["label"].tolist() == [0, 5, 38] * 6 + [38, 5, 0] * 4 + [0, 5, 38] * 3
    assert set(manifest["shard"]) == {"0000", "0001"}
    points = read_stages(sorted((results / "points" / "clouds").glob("*.safetensors")), "points")
    assert points["points"].shape == (39 * 64, 3) and "face_index" not in points.arrays
    assert np.linalg.norm(points["points"], axis=1).max() <= 1.0 + 1e-6

    views = read_stage(results / "views" / "unlabelled" / "splats_32px" / "0000.safetensors", "views")
    assert views["valid"].all() and (views["foreground"] > 0.05).all()
    assert images_of(views, 0).shape == (2, 32, 32, 3)

    summary = pd.read_csv(results / "report" / "points" / "summary.csv")
    assert set(summary["run"]) == {"alone", "mcd_splats", "joint_splats"}
    base = "mn40/h5-2048-first64-partial"
    assert set(summary["protocol"]) == {f"{base}/transfer", f"{base}/joint"}
    alone = summary[(summary["metric"] == "accuracy") & (summary["run"] == "alone")].set_index("task")["value"]
    assert alone["linear_probe"] > 0.8  # three ellipsoids of very different proportions; chance is a third
    assert alone["classification"] > 0.5
    cost = pd.read_csv(results / "report" / "points" / "cost.csv")
    assert {"read_points", "render_views", "compute_visibility"} <= set(cost["phase"])

    def planned():
        printed = checkout.snakemake("--configfile", "points.yaml", "-n", "-q", "rules", suite="points")
        return printed.stdout + printed.stderr

    assert "Nothing to be done" in planned()
    write_modelnet_h5(checkout.folder / "data" / "mn40", train, test, stretch=STRETCH, normals=False)
    assert "read_points" in planned()  # other files: they are read again
