"""find_duplicates: a copy is found in any pose, other shapes are not, and unusable ones are passed over."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import write_stage
from pointlift.datasets.ingest import load_shard
from pointlift.reporting.disjointness import duplicates_left_out

SCRIPT = Path(__file__).parents[2] / "workflow_scripts" / "find_duplicates.py"


def write_meshes(path: Path, classes: list[str], turn: np.ndarray | None = None) -> list[str]:
    """A shard of one procedural shape per class, turned and mirrored; returns its ids."""
    block = {"kind": "procedural", "series": "twin", "shapes_per_class": 1, "classes": classes, "rotation": "none"}
    member = rooms.load("datasets", "procedural")
    dataset = member.build(parse(member.Settings, block, "block"), None)
    arrays, attributes = load_shard(dataset, dataset.ids)
    if turn is not None:
        arrays["vertices"] = (arrays["vertices"] @ turn.T * [1, 1, -1]).astype(np.float32)
    write_stage(path, "meshes", dataset.ids, arrays, **attributes)
    return list(dataset.ids)


def test_turned_and_mirrored_copies_are_found(tmp_path):
    write_meshes(tmp_path / "a.safetensors", ["chair", "cup", "airplane", "table"])
    turn = Rotation.random(random_state=1).as_matrix()
    shared = write_meshes(tmp_path / "b.safetensors", ["airplane", "chair"], turn)
    command = [sys.executable, SCRIPT, "--settings", json.dumps({}), "--meshes", tmp_path / "a.safetensors"]
    command += ["--others", tmp_path / "b.safetensors", "--output", tmp_path / "out.csv"]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "out.csv").rename(tmp_path / "a.duplicates.b.csv")
    table = pd.read_csv(tmp_path / "a.duplicates.b.csv")
    assert list(table["shape_id"]) == list(table["other_id"]) == sorted(shared)
    assert (table["chamfer_spacings"] < 1.3).all()
    assert duplicates_left_out(tmp_path / "a.duplicates.b.csv") == ("a", sorted(shared))  # as the report reads it
