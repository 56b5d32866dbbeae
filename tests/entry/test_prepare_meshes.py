"""prepare_meshes as the workflow calls it."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import prepare_meshes
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.stages import read_stage, read_stages, unpack
from pointlift.datasets import procedural

PROCEDURAL = {
    "kind": "procedural",
    "protocol": "test/one",
    "series": "e",
    "shapes_per_class": 2,
    "classes": ["cup", "vase"],
}
IDS = ["cup-e-00000", "vase-e-00000", "cup-e-00001", "vase-e-00001"]
TETRAHEDRON = "OFF\n4 4 0\n0 0 0\n2 0 0\n0 4 0\n0 0 6\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"


def prepare(output, block, ids, folder=None):
    prepare_meshes.main(Namespace(settings={"block": block, "ids": ids}, folder=folder, output=output))
    return output


def test_meshes_are_normalised_and_can_be_brought_back(tmp_path):
    shard = read_stage(prepare(tmp_path / "0000.safetensors", PROCEDURAL, IDS), "meshes", IDS)
    dataset = procedural.build(procedural.Settings(**{**PROCEDURAL, "classes": ("cup", "vase")}))
    assert shard["valid"].all() and shard.attributes["quarantine"] == {}
    assert shard.attributes["part_names"] == list(dataset.part_names)
    corners = zip(
        unpack(shard["vertices"], shard["vertex_offsets"]), unpack(shard["faces"], shard["face_offsets"]),
        unpack(shard["part_label"], shard["face_offsets"]), strict=True,
    )  # fmt: skip
    for row, (shape_id, (vertices, faces, part_label)) in enumerate(zip(IDS, corners, strict=True)):
        source = dataset.load(shape_id)
        np.testing.assert_allclose(vertices * shard["scale"][row] + shard["centre"][row], source.vertices, atol=1e-5)
        np.testing.assert_array_equal(faces, source.faces)
        np.testing.assert_array_equal(part_label, source.part_label)
        assert np.linalg.norm(vertices, axis=1).max() == pytest.approx(1.0, abs=1e-6)
        np.testing.assert_allclose(vertices.max(axis=0) + vertices.min(axis=0), 0.0, atol=1e-6)


def test_the_same_bytes_twice_and_the_same_data_at_any_shard_size(tmp_path):
    whole = prepare(tmp_path / "whole", PROCEDURAL, IDS)
    again = prepare(tmp_path / "again", PROCEDURAL, IDS)
    assert whole.read_bytes() == again.read_bytes()
    parts = [prepare(tmp_path / str(cut), PROCEDURAL, IDS[cut : cut + 2]) for cut in (0, 2)]
    first, second = read_stage(whole, "meshes"), read_stages(parts, "meshes")
    assert first.ids == second.ids and first.attributes == second.attributes
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second[name])


def test_an_unusable_shape_is_quarantined_with_its_reason(tmp_path):
    folder = tmp_path / "raw" / "box" / "train"
    folder.mkdir(parents=True)
    (folder / "good.off").write_text(TETRAHEDRON)
    (folder / "bad.off").write_text(TETRAHEDRON[:50])
    ids = ["box/train/bad.off", "box/train/good.off", "box/train/gone.off"]
    block = {"kind": "folder", "protocol": "test/one", "folder": "raw"}
    shard = read_stage(prepare(tmp_path / "out", block, ids, tmp_path / "raw"), "meshes", ids)
    assert shard["valid"].tolist() == [False, True, False]
    assert "truncated" in shard.attributes["quarantine"][ids[0]]
    assert "cannot be read" in shard.attributes["quarantine"][ids[2]]
    assert np.diff(shard["face_offsets"]).tolist() == [0, 4, 0]
    np.testing.assert_allclose(shard["centre"][1], [1.0, 2.0, 3.0])
    assert shard["scale"][1] == pytest.approx(np.sqrt(14.0))
    assert shard.attributes["entries"][ids[0]]["class_name"] == "box"
    assert "part_label" not in shard.arrays


def test_settings_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"block\.shapes"):
        prepare(tmp_path / "out", {**PROCEDURAL, "shapes": 3}, IDS)


def test_on_the_command_line_without_torch(tmp_path, repository):
    script = repository / "workflow_scripts" / "prepare_meshes.py"
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert 'torch' not in sys.modules and 'trimesh' not in sys.modules"
    )
    settings = json.dumps({"block": PROCEDURAL, "ids": IDS})
    arguments = [str(script), "--settings", settings, "--output", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=Path(script).parent)
    assert read_stage(tmp_path / "out", "meshes").ids == tuple(IDS)


def test_a_user_mistake_is_one_line(tmp_path, repository):
    script = repository / "workflow_scripts" / "prepare_meshes.py"
    settings = json.dumps({"block": {**PROCEDURAL, "series": "E !"}, "ids": IDS})
    command = [sys.executable, str(script), "--settings", settings, "--output", str(tmp_path / "out")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("error: block.series") and "Traceback" not in found.stderr
    assert not (tmp_path / "out").exists()
