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
