"""Posed frames in the graph: one rule reads their pictures, only rigs that read them fit, a suite on them is made."""

import copy
import json
import re

import pandas as pd
import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.stages import read_stage
from pointlift.costs import cost_entries
from pointlift.graph import Graph
from pointlift.jobs import Jobs

BLOCKS = yaml.safe_load("""
datasets:
  posed:
    kind: procedural_frames
    protocol: frames/4x80x60-random256
    series: posed
    num_rooms: 4
    num_points: 256
    shard_size: 8
  shapes: {kind: procedural, series: asked, classes: [chair, cup], shapes_per_class: 6, num_points: 64}
rigs:
  posed_32px: {kind: frames, image_size: 32}
  splats_32px: {kind: points, cameras: {num_views: 1}, image_size: 32}
  mesh_32px: {kind: mesh, cameras: {num_views: 1}, image_size: 32}
teachers:
  untrained:
    kind: clip
    initialisation: random
    model:
      embed_dim: 16
      vision_cfg: {image_size: 32, layers: [1, 1, 1, 1], width: 16, head_width: 32}
      text_cfg: {context_length: 16, vocab_size: 49408, width: 16, heads: 2, layers: 1}
methods:
  mcd: {kind: pointmcd}
  concepts: {kind: concept, num_queries: 3, num_views: null, heads: 2, width: 16}
  by_view: {kind: concept, query: view, num_views: null, heads: 2, width: 16}
students:
  linear: {kind: pointnet, widths: [16, 32], input_transform: false, feature_transform: false}
tasks:
  probe: {kind: linear_probe, dataset: shapes, strengths: [1.0]}
runs:
  mcd_frames:
    student: linear
    method: mcd
    arm: random_teacher
    teacher: untrained
    rig: posed_32px
    dataset: posed
    recipe: {epochs: 1, batch_size: 4, learning_rate: 1.0e-3}
  concepts_frames:
    student: linear
    method: concepts
    arm: random_teacher
    teacher: untrained
    rig: posed_32px
    dataset: posed
    recipe: {epochs: 1, batch_size: 4, learning_rate: 1.0e-3}
suites:
  posed: {runs: [mcd_frames, concepts_frames], tasks: [probe], seeds: [0]}
suite: posed
""")
RECIPE = {"epochs": 1, "batch_size": 4, "learning_rate": 1.0e-3}


@pytest.fixture
def values():
    return copy.deepcopy(BLOCKS)


def lines(values):
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    return str(caught.value).splitlines()[1:]


def test_no_file_of_pictures_has_two_rules(values):
    graph = Graph(read_config(values))
    reading, drawing = (re.compile(graph.named("rigs", reads_frames=reads)) for reads in (True, False))
    assert [name for name in values["rigs"] if reading.fullmatch(name)] == ["posed_32px"]
    assert [name for name in values["rigs"] if drawing.fullmatch(name)] == ["splats_32px", "mesh_32px"]
    del values["rigs"]["posed_32px"], values["runs"]["mcd_frames"], values["runs"]["concepts_frames"]
    values["suites"]["posed"] = {"runs": ["alone"], "tasks": ["probe"], "seeds": [0]}
    values["runs"]["alone"] = {"student": "linear"}
    assert not re.fullmatch(Graph(read_config(values)).named("rigs", reads_frames=True), "posed_32px")


@pytest.mark.parametrize(
    ("family", "name", "edit", "changes"),
    [
        ("rigs", "posed_32px", {"tolerance": 0.2}, True),
        ("rigs", "posed_32px", {"image_size": 48}, True),
        ("datasets", "posed", {"seed": 3}, True),
        ("datasets", "posed", {"max_quarantined": 0.5}, False),
        ("datasets", "posed", {"subsample": "farthest", "protocol": "frames/4x80x60-fps256"}, False),
        ("datasets", "posed", {"num_points": 128, "protocol": "frames/4x80x60-random128"}, False),
        ("methods", "mcd", {"weight": 2.0}, False),
    ],
)
def test_pictures_are_read_again_when_they_change(family, name, edit, changes, values):
    """How points are taken makes the points anew, which are an input of the job."""

    def settings():
        return Jobs(Graph(read_config(values))).read_views("posed", "posed_32px", "0000")

    before = settings()
    told = json.loads(before)
    assert sorted(told) == ["block", "ids", "rig"] and len(told["ids"]) == 8
    assert told["rig"] == {"kind": "frames", "image_size": 32, "tolerance": 0.05, "min_contrast": 0.001,
                           "min_foreground": 0.002}  # fmt: skip
    values[family][name] |= edit
    assert (settings() != before) == changes


def test_their_cost_is_looked_for_once(values):
    entries = cost_entries(Graph(read_config(values)))
    paths = [entry["path"] for entry in entries if "views" in entry["phase"] or "visib" in entry["phase"]]
    assert paths == [f"results/benchmarks/read_views/posed.posed_32px.000{shard}.tsv" for shard in (0, 1)]


@pytest.mark.parametrize(
    ("run", "changes", "told"),
    [
        ("mcd_frames", {"dataset": "other"}, "rig 'posed_32px' reads pictures that come with clouds, and 'other' (kind "
         "'procedural') has none; name a dataset with some (posed)"),
        ("mcd_splats", {"rig": "splats_32px"}, "rig 'splats_32px' draws pictures, and 'posed' (kind "
         "'procedural_frames') comes with its own; name a rig of kind frames (posed_32px)"),
        ("mcd", {"rig": "mesh_32px"}, "comes with its own; name a rig of kind frames (posed_32px)"),
        ("mcd", {}, "its pictures (rig 'posed_32px') are frames, and its name must have that word, as mcd_frames has"),
        ("concepts_frames", {"method": "many"}, "rig: 'posed_32px' has 1 views, and method 'many' asks for 10"),
        ("shuffled_frames", {"arm": "same_class_shuffled", "method": "concepts"}, "same_class_shuffled' needs classes"),
    ],
)  # fmt: skip
def test_rigs_and_datasets_that_do_not_fit_are_told_before_any_job(run, changes, told, values):
    values["methods"]["many"] = {**values["methods"]["concepts"], "num_views": 10}
    values["datasets"]["other"] = {**values["datasets"]["shapes"], "series": "other"}
    values["runs"][run] = {**values["runs"]["mcd_frames"], **changes}
    assert sum(told in line for line in lines(values)) == 1


def test_frames_and_scans_of_the_same_rooms_do_not_meet_in_a_transfer_run(values):
    """Their ids differ, so that the audit of shapes would not see it; rooms of another seed are other rooms."""
    block = {"kind": "procedural_rooms", "protocol": "rooms/4x80x60-all", "series": "posed"}
    values["tasks"]["probe"] = {"kind": "semantic_segmentation", "dataset": "scans", "recipe": RECIPE}
    told = "its datasets 'posed' and 'scans' are of the same rooms; give one of them another series"
    for same in ({}, {"splits": {"train": 0.9}}):
        values["datasets"]["scans"] = block | same
        assert sum(told in line for line in lines(values)) == 2  # of both runs
    for other in ({"seed": 1}, {"series": "others"}):
        values["datasets"]["scans"] = block | other
        read_config(values)


def test_a_teacher_that_learns_names_or_parts_is_not_trained_on_frames(values):
    recipe = {"epochs": 1, "batch_size": 4, "learning_rate": 1.0e-3}
    training = {"dataset": "posed", "rig": "posed_32px", "recipe": recipe}
    for kind in ("view_classifier", "view_segmenter", "view_autoencoder"):
        values["teachers"][f"{kind}_frames"] = {"kind": kind, "initialisation": "random", "training": training}
    found = lines(values)
    assert sum("view_classifier_frames.training.dataset: 'posed' is unlabelled" in line for line in found) == 1
    assert sum("view_segmenter_frames.training.rig: 'posed_32px' draws no maps of parts" in line for line in found) == 1
    assert not any("view_autoencoder" in line.split(":")[0] for line in found)


def test_a_method_that_asks_by_the_view_may_read_frames(values):
    values["runs"]["concepts_frames"]["method"] = "by_view"
    assert read_config(values).methods["by_view"].reads() == ("features", "cameras")
    values["runs"]["concepts_frames"]["recipe"]["augmentation"] = {"rotation": "up"}
    assert sum("reads where cameras stand, which do not turn" in line for line in lines(values)) == 1


def test_a_suite_on_posed_frames(checkout):
    (checkout.folder / "posed.yaml").write_text(yaml.safe_dump(BLOCKS), encoding="utf-8")
    checkout.snakemake("--configfile", "posed.yaml", suite="posed")
    results = checkout.folder / "results"
    views = read_stage(results / "views" / "posed" / "posed_32px" / "0000.safetensors", "views")
    seen = read_stage(results / "visibility" / "posed" / "posed_32px" / "0000.safetensors", "visibility", views.ids)
    assert views["valid"].all() and views["posed_world_to_camera"].shape == (8, 1, 4, 4)
    assert seen["num_points"].tolist() == [256] * 8
    shares = [int.from_bytes(bits.tobytes()).bit_count() / 256 for bits in seen["visible"][:, 0]]
    assert min(shares) > 0.5
    summary = pd.read_csv(results / "report" / "posed" / "summary.csv")
    assert set(summary["run"]) == {"mcd_frames", "concepts_frames"}
    cost = pd.read_csv(results / "report" / "posed" / "cost.csv")
    assert {"read_points", "read_views"} <= set(cost["phase"])
    printed = checkout.snakemake("--configfile", "posed.yaml", "-n", suite="posed")
    assert "Nothing to be done" in printed.stdout + printed.stderr
