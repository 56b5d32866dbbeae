"""match_shapes: a shape's mesh is found by name and seen to be it; else there is a reason; twice the same bytes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.datasets.ingest import load_shard
from pointlift.geometry.alignment import ROTATIONS
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface

SCRIPT = Path(__file__).parents[2] / "workflow_scripts" / "match_shapes.py"
TURN = ROTATIONS[7]


NAMES = ["airplane", "chair", "cup", "lamp"]


def procedural():
    """One shape of each of ``NAMES``, in that order."""
    block = {"kind": "procedural", "series": "twin", "shapes_per_class": 1, "classes": NAMES, "rotation": "none"}
    member = rooms.load("datasets", "procedural")
    dataset = member.build(parse(member.Settings, block, "block"), None)
    return dataset, [next(each for each in dataset.ids if dataset.entry(each).class_name == name) for name in NAMES]


def write_meshes(path, dataset, named, unusable=()):
    """A shard of the dataset's shapes under other ids; ``named`` is {id: shape of the dataset}."""
    arrays, attributes = load_shard(dataset, list(named.values()))
    shard_ids = list(named)
    arrays["valid"] = np.array([shape_id not in unusable for shape_id in shard_ids])
    write_stage(path, "meshes", shard_ids, arrays, **attributes | {"quarantine": dict.fromkeys(unusable, "too odd")})


def write_points(path, clouds, quarantine):
    """A shard of clouds by id; an empty one for what stands in ``quarantine``."""
    every = {**clouds, **{name: np.zeros((0, 3)) for name in quarantine}}
    offsets = np.concatenate([[0], np.cumsum([len(points) for points in every.values()])]).astype(np.int64)
    arrays = {
        "points": np.concatenate(list(every.values())).astype(np.float32),
        "point_offsets": offsets,
        "valid": np.array([name not in quarantine for name in every]),
    }
    write_stage(path, "points", list(every), arrays, quarantine=quarantine)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """The table of a run, its log, and the same run again with the mesh shards in the other order."""
    folder = tmp_path_factory.mktemp("match")
    dataset, (airplane, chair, cup, lamp) = procedural()
    first = {"03001627/a": chair, "03001627/c": lamp, "02691156/d": airplane}
    write_meshes(folder / "0000.safetensors", dataset, first, unusable=("02691156/d",))
    write_meshes(folder / "0001.safetensors", dataset, {"04379243/a": cup, "03001627/b": cup, "03001627/x": cup})
    shapes = {}
    for name, each in (("chair", chair), ("cup", cup)):
        found = dataset.load(each)
        shapes[name] = sample_surface(Mesh(found.vertices, found.faces), 1024, np.random.default_rng(3))[0]
    clouds = {
        "03001627/a": 2.0 * shapes["chair"] @ TURN.T,  # turned; the cup of another synset has its token
        "03001627/b": shapes["cup"] @ TURN.T,
        "03001627/c": shapes["chair"],  # the mesh of that name is a lamp
        "02691156/d": shapes["chair"],  # unusable mesh
        "04379243/e": shapes["chair"],  # no mesh
    }
    write_points(folder / "points.safetensors", clouds, {"03001627/f": "holds nan"})
    outputs = []
    for number, order in enumerate((["0000", "0001"], ["0001", "0000"])):
        outputs.append(folder / f"out{number}.csv")
        meshes = [folder / f"{name}.safetensors" for name in order]
        command = [sys.executable, SCRIPT, "--settings", json.dumps({}), "--points", folder / "points.safetensors"]
        done = subprocess.run([*command, "--meshes", *meshes, "--output", outputs[-1]], check=True, capture_output=True)
    return outputs, done.stderr.decode(), clouds, folder


def test_every_shape_has_its_mesh_or_a_reason(run_of):
    outputs, log, _, _ = run_of
    table = pd.read_csv(outputs[0], dtype=str, keep_default_na=False).set_index("shape_id")
    assert list(table.index) == ["03001627/a", "03001627/b", "03001627/c", "02691156/d", "04379243/e", "03001627/f"]
    assert table["accepted"].tolist() == ["yes", "yes", "no", "no", "no", "no"]
    assert table["other_id"].tolist() == ["03001627/a", "03001627/b", "03001627/c", "02691156/d", "", ""]
    assert table["reason"].tolist() == [
        "",
        "",
        "too far",
        "mesh unusable: too odd",
        "no such mesh",
        "cloud unusable: holds nan",
    ]
    chamfer = pd.to_numeric(table["chamfer_spacings"])
    assert (chamfer[:2] < 1.1).all() and chamfer.iloc[2] > 1.5 and chamfer[3:].isna().all()
    assert "6 shapes: 2 accepted, 1 cloud unusable, 1 mesh unusable, 1 no such mesh, 1 too far" in log


def test_the_mesh_is_placed_as_it_was_by_closed_form(run_of):
    """The cloud is 2 TURN p of the source's points p = scale * vertex + centre, as the mesh shard says."""
    outputs, _, _, folder = run_of
    row, shard = (
        pd.read_csv(outputs[0]).set_index("shape_id").iloc[0],
        read_stage(folder / "0000.safetensors", "meshes"),
    )
    rotation, shift = (np.array(row[name].split(), float) for name in ("rotation", "shift"))
    np.testing.assert_array_equal(rotation.reshape(3, 3), TURN)
    assert row["scale"] == pytest.approx(2 * shard["scale"][0], rel=0.015)
    np.testing.assert_allclose(shift, 2 * TURN @ shard["centre"][0], atol=0.015 * row["scale"])


def test_the_order_of_the_shards_does_not_matter(run_of):
    first, second = run_of[0]
    assert first.read_bytes() == second.read_bytes()
