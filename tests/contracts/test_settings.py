"""Settings: strict, frozen, and every mistake told at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pointlift.contracts.blocks import RunSettings
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import canonical_json, digest, stable_seed
from pointlift.contracts.rig_blocks import Cameras, Visibility
from pointlift.contracts.settings import mistakes, parse

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
RECIPE = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}


def test_good_values_become_frozen_settings():
    cameras = parse(Cameras, {"layout": "sphere", "num_views": 3, "distance": 3}, "rigs.a.cameras")
    assert (cameras.num_views, cameras.distance) == (3, 3.0)
    with pytest.raises(ValidationError, match="frozen"):
        cameras.num_views = 4


def test_every_mistake_is_told_with_its_key_value_and_remedy():
    values = {"layout": "circle", "num_views": "3", "distance": 0.5, "views": 3}
    with pytest.raises(ConfigError) as caught:
        parse(Cameras, values, "rigs.a.cameras")
    text = str(caught.value)
    assert "rigs.a.cameras.layout: 'circle' is not allowed" in text
    assert "'ring', 'sphere'" in text
    assert "rigs.a.cameras.num_views: '3' is not allowed" in text
    assert "rigs.a.cameras.distance: 0.5 is not allowed" in text
    assert "rigs.a.cameras.views: unknown key; allowed: distance, elevation_degrees" in text
    assert len(text.splitlines()) == 4


def test_flipping_radius_that_breaks_hidden_point_removal_is_refused():
    # PointMCD spec 5: 1000 times the largest distance gives 995 visible points of 1024 instead of 288.
    assert mistakes(Visibility, {"method": "hidden_points", "radius_factor": 1000.0}, "rigs.a.visibility")
    assert not mistakes(Visibility, {"method": "hidden_points", "radius_factor": 10.0}, "rigs.a.visibility")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"student": "s", "arm": "mcd"}, "a run without a method is arm scratch"),
        ({"student": "s", "teacher": "t"}, "without init, teacher"),
        ({"student": "s", "method": "m", "arm": "mcd", "teacher": "t", "rig": "r"}, "needs dataset and recipe"),
        ({"student": "s", "method": "m", "arm": "mcd", "form": "joint", "dataset": "d"}, "leave dataset and recipe"),
        ({"student": "s", "method": "m", "arm": "init_point_mae", "form": "joint", "init": "r"}, "for form transfer"),
        (
            {"student": "s", "method": "m", "arm": "mcd", "init": "r", "dataset": "d", "recipe": RECIPE},
            "arm init_point_mae is the one",
        ),
        ({"student": "s", "method": "m", "arm": "scratch", "teacher": "t", "rig": "r", "form": "joint"}, "no method"),
        (
            {"student": "s", "method": "m", "arm": "control", "teacher": "t", "rig": "r", "dataset": "d",
             "recipe": RECIPE},
            "is for form joint",
        ),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_meant_are_refused(values, message):
    found = mistakes(RunSettings, values, "runs.a")
    assert len(found) == 1
    assert message in found[0]


def test_canonical_json_does_not_depend_on_order_and_tells_names():
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert digest({"lr": 1, "wd": 2}) != digest({"lr": 2, "wd": 1})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_seeds_are_the_same_in_every_process_and_differ_by_word():
    program = "from pointlift.contracts.hashing import stable_seed; print(stable_seed('chair-0', 7, 'points'))"
    for hash_seed in ("0", "1"):
        printed = subprocess.check_output(
            [sys.executable, "-c", program], cwd=SCRIPTS, env={"PYTHONHASHSEED": hash_seed}
        )
        assert int(printed) == stable_seed("chair-0", 7, "points")
    words = {stable_seed(*words) for words in [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", ""), ("ab", "c", 0)]}
    assert len(words) == 5
    assert all(0 <= seed < 2**63 for seed in words)


def test_a_user_mistake_is_one_line_and_a_failed_exit(tmp_path):
    command = [sys.executable, SCRIPTS / "find_duplicates.py", "--settings", json.dumps({})]
    command += ["--shapes", tmp_path / "none", "--others", tmp_path / "none", "--output", tmp_path / "out.csv"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path / 'none'}: no such file; run snakemake to make it\n"
    assert not (tmp_path / "out.csv").exists()
