"""Episodes decide reruns: an edited file makes the evaluations anew that use it, and no other."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import yaml

from pointlift import code_hash, jobs
from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.graph import Graph
from pointlift.jobs import Jobs

REPOSITORY = Path(__file__).parents[2]
CONFIG = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))


def suite(*tasks: str) -> Jobs:
    values = copy.deepcopy(CONFIG)
    values["suite"] = "episodes"
    values["suites"]["episodes"] = {"runs": ["nano_scratch"], "tasks": list(tasks), "seeds": [0]}
    return Jobs(Graph(read_config(values)))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, so that its files can be edited."""
    source = Path(code_hash.PACKAGE)
    shutil.copytree(source, tmp_path / "scripts/pointlift", ignore=shutil.ignore_patterns("__pycache__"))
    for module in (code_hash, jobs):
        monkeypatch.setattr(module, "PACKAGE", tmp_path / "scripts/pointlift")
    return tmp_path / "scripts/pointlift"


def decided(tasks: str, dataset: str) -> tuple[str, str]:
    made = suite(tasks)
    settings = json.loads(made.evaluate_task("nano_scratch", "few_shot", dataset))
    return made.task_code("evaluate_task", "few_shot", dataset), settings["settings_hash"]


def test_an_edited_file_reruns_the_tasks_that_use_it_and_no_other(package):
    folds, shots, nano = (
        ("mn40_few_shot", "modelnet40_resampled"),
        ("mn40_all_classes_few_shot", "modelnet40_resampled"),
        ("nano_few_shot", "nano_shapes"),
    )
    before = {task: decided(*task) for task in (folds, shots, nano)}
    path = package / "episodes/mn40/10w10s.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    after = {task: decided(*task) for task in (folds, shots, nano)}
    assert all(one != other for one, other in zip(before[folds], after[folds], strict=True))
    assert (before[shots], before[nano]) == (after[shots], after[nano])


def test_what_is_drawn_hangs_on_the_name_alone():
    made = suite("nano_few_shot")
    assert json.loads(made.draw_episodes("modelnet40_resampled", "5w10s")) == {
        "base": "mn40",
        "plan": {"ways": 5, "shots": [10], "queries": 20, "folds": 10, "seed": 0},
    }
    assert json.loads(made.draw_episodes("lpsb", "1-5shot"))["base"] == "lpsb"
    with pytest.raises(ConfigError, match=r"episodes '5w': a name is e\.g\. 5w10s"):
        made.draw_episodes("lpsb", "5w")


def test_the_two_forms_on_one_dataset_are_one_row():
    with pytest.raises(ConfigError, match="would share one row"):
        suite("mn40_few_shot", "mn40_all_classes_few_shot")
