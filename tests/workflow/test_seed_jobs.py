"""Seeds that share jobs: the same files, fewer processes, and nothing that a change of it would make anew."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.blocks import SuiteSettings
from pointlift.costs import cost_entries, speed_entries
from pointlift.graph import Graph
from pointlift.seed_jobs import SeedJobs

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
PATTERN = "results/students/{run}/seed{seed}/weights.safetensors"


def seed_jobs(shared: bool) -> SeedJobs:
    return SeedJobs(SuiteSettings(runs=("r",), tasks=("t",), seeds=(3, 7), seeds_share_jobs=shared))


def graph_of(shared: bool, suite: str = "mini") -> Graph:
    values = {**copy.deepcopy(CONFIG), "suite": suite}
    values["suites"][suite]["seeds_share_jobs"] = shared
    return Graph(read_config(values))


def test_a_job_of_its_own_is_known_by_its_seed():
    alone = seed_jobs(shared=False)
    assert (alone.files(PATTERN), alone.word) == (PATTERN, ".seed{seed}")
    assert alone.of(SimpleNamespace(seed="7")) == [7]
    assert alone.groups() == [(".seed3", (3,)), (".seed7", (7,))]


def test_a_shared_job_makes_the_files_of_all_seeds_and_bears_the_name_of_none():
    shared = seed_jobs(shared=True)
    assert shared.files(PATTERN) == [PATTERN.replace("{seed}", "3"), PATTERN.replace("{seed}", "7")]
    assert (shared.word, shared.of(SimpleNamespace())) == ("", [3, 7])
    assert shared.groups() == [("", (3, 7))]


def test_every_file_of_a_run_is_counted_once_in_either_form():
    entries = {shared: cost_entries(graph_of(shared)) for shared in (False, True)}
    files = {
        shared: sorted(file for entry in found if entry["run"] for file in entry["files"])
        for shared, found in entries.items()
    }
    assert files[False] == files[True]
    trained = {
        shared: [entry["path"] for entry in found if entry["phase"] == "train_student"]
        for shared, found in entries.items()
    }
    assert len(trained[False]) == 2 * len(trained[True])
    assert trained[True][0] == "results/benchmarks/train_student/mini_scratch.tsv"


@pytest.mark.parametrize("shared", [False, True])
def test_seconds_of_a_shared_job_are_of_no_single_seed(shared):
    assert bool(speed_entries(graph_of(shared, "mini_image2point"))) is not shared
