"""render_views and compute_visibility on a shard of points, as the workflow calls them for a rig that draws points."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pointlift.contracts.images import images_of
from pointlift.contracts.stages import pack, read_stage, write_stage
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from rendering import subjects

IDS = ("chair", "twins", "unusable", "torus")
NUM_POINTS = 600
BLOCK = {"kind": "points", "image_size": 48, "cameras": {"num_views": 4}}


def write_points(path):
    """A chair in millimetres, far off; points at two places only; nothing; and a torus. Without normals."""
    chair, torus = (
        sample_surface(Mesh(*surface), NUM_POINTS, np.random.default_rng(0))[0]
        for surface in (subjects.chair(), subjects.torus())
    )
    twins = np.repeat(np.eye(3, dtype=np.float32)[:2], NUM_POINTS // 2, axis=0)
    points, offsets = pack([chair * 1000 + 2000, twins, np.zeros((0, 3), np.float32), torus])
    arrays = {"points": points, "point_offsets": offsets, "valid": np.array([True, True, False, True])}
    write_stage(path, "points", IDS, arrays, quarantine={"unusable": "no extent"})


@pytest.fixture(scope="module")
def call(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures of points")
    write_points(folder / "points")

    def run(program, output, *words, **block):
        command = [sys.executable, repository / "workflow_scripts" / f"{program}.py"]
        command += ["--settings", json.dumps({"block": BLOCK | block}), "--shapes", folder / "points"]
        command += [*(folder / word if word == "points" else word for word in words), "--output", folder / output]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return folder / output

    return run


@pytest.mark.render
def test_a_shard_of_points_becomes_a_shard_of_views_with_the_same_bytes_twice(call):
    first, again = call("render_views", "views"), call("render_views", "again")
    assert first.read_bytes() == again.read_bytes()
    shard = read_stage(first, "views", IDS)
    assert shard["valid"].tolist() == [True, False, False, True]
    assert shard.attributes["quarantine"] == {"twins": "the cloud has points at 2 places, a surface needs three"}
    chair = images_of(shard, 0)
    assert chair.shape == (4, 48, 48, 3)
    shown = (chair < 255).any(axis=-1).mean(axis=(1, 2))
    assert (shown > 0.05).all() and np.allclose(shown, shard["foreground"][0], atol=0.05)


@pytest.mark.render
def test_depth_pictures_of_the_same_shapes(call):
    path = call("render_views", "depth", picture="depth")
    shard = read_stage(path, "views", IDS)
    assert shard["valid"].tolist() == [True, False, False, True]
    torus = images_of(shard, 3)
    assert 255 in torus and len(np.unique(torus)) > 20


def test_visibility_by_the_points_alone(call):
    path = call("compute_visibility", "visible", "--points", "points")
    shard = read_stage(path, "visibility", IDS)
    assert shard["num_points"][[0, 2, 3]].tolist() == [NUM_POINTS, 0, NUM_POINTS]
    seen = np.unpackbits(shard["visible"], axis=-1, count=NUM_POINTS).mean(axis=-1)
    assert ((seen[[0, 3]] > 0.2) & (seen[[0, 3]] < 0.7)).all()
