"""Prompts of classes: one place for the name; classes of a manifest by number."""

import pandas as pd
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.prompts import EncodingSettings, one_place, read_classes
from pointlift.contracts.settings import mistakes


def manifest_of(folder, *classes):
    rows = [[f"s{row}", name, label, "train", "0000", "", ""] for row, (name, label) in enumerate(classes)]
    write_manifest(folder / "manifest.csv", pd.DataFrame(rows, columns=COLUMNS))
    return folder / "manifest.csv"


@pytest.mark.parametrize("prompt", ["a render", "{} and {}", "a {name}", "a { {}", "{0}", "{{}}"])
def test_a_prompt_has_one_place_for_the_name_and_no_other_brace(prompt):
    with pytest.raises(ValueError, match="names the class once"):
        one_place(("a {}", prompt))
    assert "names the class once" in mistakes(EncodingSettings, {"block": {}, "prompts": [prompt]}, "prompts")[0]


def test_good_prompts_stay_as_they_are():
    assert one_place(("a {}", "{} in grey")) == ("a {}", "{} in grey")
    assert not mistakes(EncodingSettings, {"block": {}, "prompts": ["{}"]}, "prompts")
    assert mistakes(EncodingSettings, {"block": {}, "prompts": []}, "prompts")


def test_classes_are_those_of_shapes_by_number(tmp_path):
    path = manifest_of(tmp_path, ("cup", 7), ("ant", 9), ("", -1), ("cup", 7), ("bird", 2))
    assert list(read_classes(path).items()) == [(2, "bird"), (7, "cup"), (9, "ant")]


def test_shapes_without_a_class_are_told(tmp_path):
    with pytest.raises(ArtifactError, match="need a labelled dataset"):
        read_classes(manifest_of(tmp_path, ("", -1)))


@pytest.mark.parametrize("classes", [[("cup", 0), ("ant", 0)], [("cup", 0), ("cup", 1)]])
def test_names_and_numbers_that_do_not_go_together(tmp_path, classes):
    with pytest.raises(ArtifactError, match="two numbers or a number two classes"):
        read_classes(manifest_of(tmp_path, *classes))
