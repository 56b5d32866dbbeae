"""The audit of duplicates: asked for by name, beside a finished suite, whose own files it leaves alone."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pointlift.audit import audit_datasets, audit_files, trained_sets
from pointlift.configuration import read_config
from pointlift.contracts.duplicates import DUPLICATE_COLUMNS, read_duplicates
from pointlift.contracts.errors import ConfigError
from pointlift.graph import Graph
from pointlift.jobs import Jobs

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def beside_nano(finished_nano, tmp_path):
    """A copy of the checkout in which nano has run: the shared one stays as it is."""
    folder = tmp_path / "a checkout"
    shutil.copytree(finished_nano.folder, folder, symlinks=True)
    return replace(finished_nano, folder=folder)


def graph_of(suite, **blocks):
    values = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    for family, named in blocks.items():
        values[family] = {**values[family], **named}
    return Graph(read_config({**values, "suite": suite}))


def test_princeton_reuses_the_list_that_distillation_leaves_out():
    graph = graph_of("princeton")
    assert trained_sets(graph) == [("distillation", "psb", "lpsb"), ("task", "lpsb", "lpsb")]
    assert audit_datasets(graph) == ["lpsb", "psb"]
    assert set(graph.all_duplicates()) < set(audit_files(graph))
    assert audit_files(graph) == [f"results/manifest/{name}.duplicates.lpsb.csv" for name in ("lpsb", "psb")]
    settings = json.loads(Jobs(graph).audit_duplicates())
    assert settings["left_out"] == {"psb": ["lpsb"]}


def test_clouds_are_audited_and_scenes_are_not():
    blocks = {
        "datasets": {
            "clouds": {"kind": "modelnet_h5", "folder": "mn40", "protocol": "mn40/h5-2048-first1024"},
        },
        "tasks": {"probe": {"kind": "linear_probe", "dataset": "clouds"}},
        "suites": {"clouds": {"runs": ["mini_scratch", "mini_mcd"], "tasks": ["probe"], "seeds": [0]}},
    }
    graph = graph_of("clouds", **blocks)
    assert {row[1:] for row in trained_sets(graph)} == {
        ("mini_distillation_shapes", "clouds"), ("mini_teacher_shapes", "clouds"), ("clouds", "clouds"),
    }  # fmt: skip
    assert json.loads(Jobs(graph).find_duplicates("mini_teacher_shapes", "clouds")) == {
        "shapes": "meshes", "others": "points", "same": False,
    }  # fmt: skip
    scenes = {"kind": "semantickitti", "folder": "kitti", "protocol": "semantickitti/seq08-all"}
    blocks["datasets"]["rooms"] = scenes
    recipe = {"epochs": 1, "batch_size": 2, "learning_rate": 0.001}
    blocks["tasks"]["probe"] = {"kind": "semantic_segmentation", "dataset": "rooms", "recipe": recipe}
    graph = graph_of("clouds", **blocks)
    assert trained_sets(graph) == [] and audit_files(graph) == []
    with pytest.raises(ConfigError, match=r"datasets\.rooms: it has scenes"):
        Jobs(graph).find_duplicates("clouds", "rooms")


def test_nano_is_audited_when_asked_for(beside_nano):
    printed = beside_nano.snakemake("audit_duplicates").stdout
    with (beside_nano.folder / "results/report/nano/duplicates.csv").open(newline="") as stream:
        rows = {row["use"]: row for row in csv.DictReader(stream)}
    assert {use: (row["trained_on"], row["dataset"]) for use, row in rows.items()} == {
        "distillation": ("nano_distillation_shapes", "nano_shapes"),
        "teacher": ("nano_teacher_shapes", "nano_shapes"),
        "task": ("nano_shapes", "nano_shapes"),
    }
    assert all(name in printed for row in rows.values() for name in (row["trained_on"], "test_left"))
    assert {row["test_shapes"] for row in rows.values()} == {"32"}
    for row in rows.values():
        table = read_duplicates(
            beside_nano.folder / f"results/manifest/{row['trained_on']}.duplicates.{row['dataset']}.csv"
        )
        assert list(table.columns) == DUPLICATE_COLUMNS and set(table["how"]) <= {"near"}  # series share no shape
        found = sum(int(row[f"{how}_{split}"]) for how in ("exact", "near") for split in ("train", "val", "test"))
        assert found <= table["other_id"].nunique() < 20  # of 80 shapes
    assert beside_nano.planned() == {}  # of the suite itself nothing is made again
