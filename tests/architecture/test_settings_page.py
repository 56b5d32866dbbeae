"""docs/configuration.md says every key of config.yaml, as the code has it."""

import re
from pathlib import Path

import pytest

from pointlift import rooms
from pointlift.configuration import FAMILY_ROOMS
from pointlift.settings_page import settings_page

ROOT = Path(__file__).parents[2]
KINDS = [(family, kind) for family, room in FAMILY_ROOMS.items() for kind in rooms.available(room)]


def section(page: str, heading: str) -> str:
    return re.split(r"^#{2,3} ", page.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_page_is_what_the_code_says():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == settings_page(), "run `make format`, which writes docs/configuration.md anew"


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_every_key_that_a_block_may_have_is_told_once(family, kind):
    """The page is read from the source, pydantic's own list of keys from the class."""
    page = settings_page()
    told = section(page, f"## {family}") + section(page, f"### {family}: kind {kind}")
    above = re.findall(r"\(#(\w+)\)", told)
    while above:
        anchor = above.pop()
        name = next(line[4:] for line in page.splitlines() if line.lower() == f"### {anchor}")
        told += section(page, f"### {name}")
        above += [base.lower() for base in re.findall(r"As every (\w+)\.", section(page, f"### {name}"))]
    keys = set(re.findall(r"^- \*\*(\w+)\*\*", told, flags=re.MULTILINE))
    fields = set(rooms.settings_class(FAMILY_ROOMS[family], kind).model_fields) - {"kind"}
    assert fields <= keys


def test_types_limits_and_defaults_are_in_plain_words():
    page = settings_page()
    assert "- **val_share** (number, at least 0.0, less than 1.0, default 0.1): Share of the train shapes" in page
    assert "- **variant** (`obj_bg` or `obj_only` or `pb_t50_rs`): " in page
    assert "- **arm** (`scratch` or `scratch_matched` or `control` or " in page, "names of types are spelt out"
    assert "- **seeds** (list of whole number, length at least 1)" in page
    assert "- **method** (text or none, default none)" in page
