"""find_duplicates: a copy is found in any pose, other shapes are not; a dataset alone has its twins."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from pointlift import rooms
from pointlift.contracts.duplicates import read_duplicates
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import write_stage
from pointlift.datasets.ingest import load_shard
from pointlift.distillation.pairs import listed_ids
from pointlift.reporting.disjointness import excluded_shapes

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


def find(tmp_path: Path, output: str, beside: str | None, **settings) -> pd.DataFrame:
    command = [sys.executable, SCRIPT, "--settings", json.dumps(settings), "--shapes", tmp_path / "a.safetensors"]
    command += ["--others", tmp_path / beside] if beside else []
    subprocess.run([*command, "--output", tmp_path / output], check=True, capture_output=True)
    return read_duplicates(tmp_path / output)


def test_turned_and_mirrored_copies_are_found(tmp_path):
    write_meshes(tmp_path / "a.safetensors", ["chair", "cup", "airplane", "table"])
    turn = Rotation.random(random_state=1).as_matrix()
    shared = write_meshes(tmp_path / "b.safetensors", ["airplane", "chair"], turn)
    table = find(tmp_path, "a.duplicates.b.csv", "b.safetensors")
    assert list(table["shape_id"]) == list(table["other_id"]) == sorted(shared)
    assert set(table["how"]) == {"near"} and (table["chamfer_spacings"].astype(float) < 1.3).all()
    assert excluded_shapes([tmp_path / "a.duplicates.b.csv"]) == {"a": set(shared)}  # as the report reads it
    assert listed_ids([tmp_path / "a.duplicates.b.csv"]) == frozenset(shared)  # as train_student does


def test_the_same_meshes_are_exact_and_a_dataset_alone_has_no_twins(tmp_path):
    write_meshes(tmp_path / "a.safetensors", ["chair", "cup"])
    shared = write_meshes(tmp_path / "b.safetensors", ["cup"])
    table = find(tmp_path, "a.duplicates.b.csv", "b.safetensors", shapes="meshes", others="meshes")
    assert table[["shape_id", "other_id", "how"]].to_numpy().tolist() == [[shared[0], shared[0], "exact"]]
    assert find(tmp_path, "a.duplicates.a.csv", None, same=True).empty
