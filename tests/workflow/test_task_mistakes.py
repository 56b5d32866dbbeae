"""Tasks on shapes and tasks on scenes are asked of their own datasets alone."""

import copy
from pathlib import Path

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


def test_classification_of_scenes_is_refused():
    values = copy.deepcopy(CONFIG)
    values["tasks"]["rooms"] = {**values["tasks"]["mini_classification"], "dataset": "scannet"}
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    assert "'scannet' (kind 'scannet') has scenes, and a task of kind 'classification' is about single" in str(
        caught.value
    )


def test_a_student_that_needs_more_points_than_it_is_given_is_refused():
    values = {**copy.deepcopy(CONFIG), "suite": "rooms"}
    read_config(values)
    values["tasks"]["rooms_detection"]["num_points"] = 100
    values["datasets"]["room_frames"] |= {"num_points": 127, "protocol": "frames/4x80x60-random127"}
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    told = [line for line in str(caught.value).splitlines() if line.startswith("  suites.rooms.")]
    assert len(told) == 7  # four runs of the transformer meet the task, three of them learn from the frames
    assert "student 'scene_transformer_mini' of run 'mini_scenes_scratch' needs clouds of 128 points, and" in told[0]
    assert "tasks.rooms_detection gives it 100" in told[0]
