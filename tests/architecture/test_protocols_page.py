"""docs/protocols.md explains whatever can stand in the name of a protocol, and every arm and task."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from pointlift import rooms
from pointlift.contracts.blocks import Arm
from pointlift.reporting.leaderboard import JOINT_CONTROLS, TRANSFER_CONTROLS

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "protocols.md").read_text(encoding="utf-8")
EXPLAINED = set(re.findall(r"`([^`]+)`", PAGE))
DATASETS = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))["datasets"]


@pytest.mark.parametrize("kind", rooms.available("tasks"))
def test_every_task_has_its_paragraph_and_its_published_protocols_theirs(kind):
    assert re.search(rf"^\* .*\*\*`{kind}`\*\*", PAGE, re.MULTILINE)
    assert set(rooms.settings_class("tasks", kind).protocols) <= EXPLAINED


def test_every_base_of_the_shipped_config_is_explained():
    assert {block["protocol"].split("/")[0] for block in DATASETS.values()} <= EXPLAINED


def test_every_control_stands_in_the_table():
    rows = {arm for line in PAGE.splitlines() if line.startswith("| `") for arm in re.findall(r"`(\w+)`", line)}
    assert {*JOINT_CONTROLS, *TRANSFER_CONTROLS} <= rows & set(get_args(Arm))
