"""ShapeNetPart's clouds find their ShapeNetCore meshes in a run of the workflow: one turned, one of another shape."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
import yaml

from point_layouts import write_shapenet_part
from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.stages import read_stage
from pointlift.geometry.alignment import ROTATIONS
from pointlift.graph import Graph
from pointlift.jobs import Jobs

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))

BLOCKS = """
datasets:
  parts:
    kind: shapenet_part
    layout: v0
    folder: parts
    protocol: shapenetpart/v0-random1024-partial
    partial: true
    num_points: 1024
    max_quarantined: 0.0
    meshes_of: core
  core: {kind: shapenet, folder: core, partial: true, protocol: shapenet55/v2-obj-partial, max_quarantined: 1.0}
"""
TARGET = "results/manifest/parts.matches.core.csv"


def seat(legs: float) -> trimesh.Trimesh:
    """A seat with a back and one arm, y up, on a block so high."""
    parts = [([1, 0.1, 1], [0, 0, 0]), ([1, 1.2, 0.1], [0, 0.6, -0.5]), ([0.1, 0.4, 1], [0.5, 0.2, 0]),
             ([0.3, legs, 0.3], [0, -legs / 2, 0])]  # fmt: skip
    made = [trimesh.creation.box(extents) for extents, _ in parts]
    for mesh, (_, centre) in zip(made, parts, strict=True):
        mesh.apply_translation(centre)
    return trimesh.util.concatenate(made)


def write_mesh(core: Path, shape_id: str, mesh: trimesh.Trimesh) -> None:
    path = core / "ShapeNetCore.v2" / shape_id / "models" / "model_normalized.obj"
    path.parent.mkdir(parents=True)
    path.write_text(mesh.export(file_type="obj"))


def write_cloud(parts: Path, shape_id: str, mesh: trimesh.Trimesh, number: int) -> None:
    synset, token = shape_id.split("/")
    points = trimesh.sample.sample_surface(mesh, 1500, seed=number)[0]
    np.savetxt(parts / synset / "points" / f"{token}.pts", points, fmt="%.6f")
    np.savetxt(parts / synset / "points_label" / f"{token}.seg", np.ones(1500), fmt="%d")


@pytest.fixture
def named(checkout):
    """A checkout with both sets: chairs a1, c3, e5 and tables b2, d4, f6 as clouds, some of them as meshes."""
    parts, core = write_shapenet_part(checkout.folder / "data" / "parts", "v0"), checkout.folder / "data" / "core"
    turn = np.eye(4)
    turn[:3, :3] = ROTATIONS[5]
    clouds = {"03001627/a1": seat(0.8), "04379243/b2": seat(0.3), "03001627/c3": seat(0.8)}
    clouds |= {"03001627/d4": seat(0.8), "04379243/e5": seat(0.8), "03001627/f6": seat(0.8)}
    for split, tokens in (("train", "abc"), ("val", "d"), ("test", "ef")):
        listed = [shape_id for shape_id in clouds if shape_id.split("/")[1][0] in tokens]
        path = parts / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps([f"shape_data/{shape_id}" for shape_id in listed]))
    for number, (shape_id, mesh) in enumerate(clouds.items()):
        write_cloud(parts, shape_id, mesh, number)
    write_mesh(core, "03001627/a1", seat(0.8).apply_transform(turn))
    write_mesh(core, "04379243/b2", seat(1.5))  # another shape
    write_mesh(core, "03001627/c3", seat(0.8).apply_transform(np.diag([-1.0, 1, 1, 1])))  # its mirror image
    ids = ["03001627/a1", "04379243/b2", "03001627/c3", "03001627/d4"]  # d4 is listed, and has no file
    (core / "train.txt").write_text("".join(f"{shape_id.replace('/', '-')}.npy\n" for shape_id in ids))
    (core / "test.txt").write_text("03001627-z9.npy\n")
    (checkout.folder / "named.yaml").write_text(BLOCKS, encoding="utf-8")
    return checkout


def jobs(**blocks) -> Jobs:
    values = copy.deepcopy(CONFIG)
    values["suite"] = "nano"
    values["datasets"].update(blocks)
    return Jobs(Graph(read_config(values)))


CLOUDS = {"kind": "modelnet_h5", "folder": "mn40", "protocol": "mn40/h5-2048-first1024"}


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({**CLOUDS, "meshes_of": "nothing"}, r"datasets\.mine\.meshes_of: there is no block 'nothing' in datasets"),
        ({**CLOUDS, "meshes_of": "modelnet40_resampled"}, "'modelnet40_resampled' comes as points itself"),
        ({**CLOUDS, "meshes_of": "mine"}, "'mine' comes as points itself"),
        ({"kind": "psb", "folder": "psb", "meshes_of": "lpsb"}, r"datasets\.mine\.meshes_of: unknown key"),
    ],
)
def test_only_a_dataset_with_meshes_can_be_named(block, told):
    with pytest.raises(ConfigError, match=told):
        jobs(mine=block)


def judged(**keys) -> str:
    """What ``evaluate_task`` is told of a suite on ``mine``."""
    values = {**copy.deepcopy(CONFIG), "suite": "mine"}
    values["datasets"]["mine"] = {**CLOUDS, **keys}
    values["tasks"]["mine_probe"] = {"kind": "linear_probe", "dataset": "mine"}
    values["suites"]["mine"] = {"runs": ["nano_scratch"], "tasks": ["mine_probe"], "seeds": [0]}
    return Jobs(Graph(read_config(values))).evaluate_task("nano_scratch", "linear_probe", "mine")


def test_naming_meshes_reads_no_cloud_again_and_leaves_the_manifest_and_the_results():
    assert judged(meshes_of="psb") == judged() != judged(seed=1)
    before, after = jobs(mine=CLOUDS), jobs(mine={**CLOUDS, "meshes_of": "psb"})
    assert after.read_points("mine", "0000") == before.read_points("mine", "0000")
    assert after.build_manifest("mine") == before.build_manifest("mine")
    assert after.graph.matched_meshes("mine", "psb") == after.graph.shard_files("meshes", "psb")
    with pytest.raises(ConfigError, match="it names 'psb'; to be matched with 'lpsb'"):
        after.graph.matched_meshes("mine", "lpsb")


def test_clouds_find_their_meshes_in_a_run(named):
    named.snakemake(TARGET, "--configfile", "named.yaml")
    table = pd.read_csv(named.folder / TARGET, dtype=str, keep_default_na=False).set_index("shape_id")
    told = {shape_id: (row["accepted"], row["reason"].partition(":")[0]) for shape_id, row in table.iterrows()}
    assert told == {
        "03001627/a1": ("yes", ""),
        "04379243/b2": ("no", "too far"),
        "03001627/c3": ("no", "mirror image"),
        "03001627/d4": ("no", "mesh unusable"),
        "04379243/e5": ("no", "no such mesh"),
        "03001627/f6": ("no", "no such mesh"),
    }
    rotation = np.array(table.loc["03001627/a1", "rotation"].split(), float).reshape(3, 3)
    points = read_stage(named.folder / "results/points/parts/0000.safetensors", "points")
    meshes = read_stage(named.folder / "results/meshes/core/0000.safetensors", "meshes")
    turned = meshes["vertices"][: meshes["vertex_offsets"][1]] @ rotation.T
    cloud = points["points"][:1024]
    np.testing.assert_allclose(np.ptp(turned, axis=0), np.ptp(cloud, axis=0), atol=0.03)
    printed = named.snakemake(TARGET, "--configfile", "named.yaml", "-n", "-q", "rules")
    assert "Nothing to be done" in printed.stdout + printed.stderr

    with named.edited("named.yaml", "    meshes_of: core\n", ""):
        refused = named.snakemake("--force", TARGET, "--configfile", "named.yaml", "-n", check=False)
    assert "datasets.parts.meshes_of: it says nothing; to be matched with 'core'" in refused.stdout + refused.stderr
