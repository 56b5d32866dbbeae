"""compute_visibility as the workflow calls it, by each of its three methods."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pointlift.contracts.stages import pack, read_stage, write_stage
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from rendering import subjects

IDS = ("ball", "unusable", "ring")
NUM_POINTS = 500
METHODS = ("rays", pytest.param("z_buffer", marks=pytest.mark.render), "hidden_points")


def write_inputs(folder):
    nothing = (np.zeros((0, 3)), np.zeros((0, 3)))
    surfaces = [subjects.sphere(4), nothing, subjects.torus()]
    empty = (np.zeros((0, 3), np.float32), np.zeros(0, np.int32), np.zeros((0, 3), np.float32))
    clouds = [
        sample_surface(Mesh(*surface), NUM_POINTS, np.random.default_rng(1)) if len(surface[0]) else empty
        for surface in surfaces
    ]
    vertices, vertex_offsets = pack([np.asarray(surface[0], np.float32) for surface in surfaces])
    faces, face_offsets = pack([np.asarray(surface[1], np.int32) for surface in surfaces])
    valid = np.array([True, False, True])
    meshes = {"vertices": vertices, "vertex_offsets": vertex_offsets, "faces": faces, "face_offsets": face_offsets}
    meshes |= {"centre": np.zeros((3, 3), np.float32), "scale": np.ones(3, np.float32), "valid": valid}
    write_stage(folder / "meshes", "meshes", IDS, meshes, quarantine={"unusable": "no area"})
    points, point_offsets = pack([cloud[0] for cloud in clouds])
    arrays = {"points": points, "point_offsets": point_offsets, "normals": pack([cloud[2] for cloud in clouds])[0]}
    arrays |= {"face_index": pack([cloud[1] for cloud in clouds])[0], "valid": valid}
    write_stage(folder / "points", "points", IDS, arrays, quarantine={})


@pytest.fixture(scope="module")
def see(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compute_visibility")
    write_inputs(folder)

    def run(method):
        block = {"kind": "mesh", "image_size": 96, "visibility": {"method": method}}
        command = [sys.executable, repository / "workflow_scripts" / "compute_visibility.py"]
        command += ["--settings", json.dumps({"block": block})]
        command += ["--shapes", folder / "meshes", "--points", folder / "points", "--output", folder / method]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert "views/s" in done.stderr
        return read_stage(folder / method, "visibility", IDS)

    return run


@pytest.mark.parametrize("method", METHODS)
def test_a_shard_of_bits(see, method):
    shard = see(method)
    assert shard["valid"].tolist() == [True, False, True]
    assert shard["num_points"].tolist() == [NUM_POINTS, 0, NUM_POINTS]
    assert shard["visible"].shape == (3, 6, -(-NUM_POINTS // 8))
    seen = np.unpackbits(shard["visible"], axis=-1, count=NUM_POINTS).mean(axis=-1)
    # A camera at distance d sees the share (1 - 1 / d) / 2 of a unit sphere.
    assert np.abs(seen[0] - (1 - 1 / 2.7) / 2).max() < 0.07
    assert (seen[1] == 0).all()
    assert ((seen[2] > 0.3) & (seen[2] < 0.6)).all()


@pytest.mark.render
def test_methods_agree(see):
    rays, z_buffer = see("rays"), see("z_buffer")
    same = np.unpackbits(rays["visible"] ^ z_buffer["visible"], axis=-1, count=NUM_POINTS) == 0
    assert (same[[0, 2]].mean(axis=(1, 2)) >= 0.95).all()
