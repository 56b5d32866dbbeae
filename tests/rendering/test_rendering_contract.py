"""Every renderer there is keeps the promises of its room; a new file is held to them from its first day."""

import json
from pathlib import Path

import pytest

from pointlift.contracts.rig_blocks import RigSettings
from pointlift.contracts.settings import parse
from pointlift.rooms import available, settings_class

SESSION = Path(__file__).parent / "contract_session.py"


KINDS = available("rendering")
DRAWING = [kind for kind in KINDS if not settings_class("rendering", kind).reads_frames]


def test_there_is_a_renderer():
    assert "mesh" in DRAWING
    assert set(KINDS) - set(DRAWING) == {"frames"}


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_strict_rig_settings(kind):
    found = settings_class("rendering", kind)
    assert [base.__name__ for base in found.__mro__].count(RigSettings.__name__) == 1
    assert parse(found, {"kind": kind, "image_size": 48}, "rigs.x").image_size == 48


@pytest.mark.render
@pytest.mark.parametrize("kind", DRAWING)
def test_arrays_have_the_promised_form(kind, render_process):
    done = render_process(SESSION, kind)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "world_to_camera": [[16, 4, 4], "float64"],
        "intrinsics": [[3, 3], "float64"],
        "render": [[16, 40, 40, 3], "uint8"],
        "foreground": [[16], "float32"],
        "depth": [[16, 40, 40], "float32"],
        "part_maps": [[16, 40, 40], "uint8"],
        "empty": "UnusableShapeError",
        "torch": False,
    }
