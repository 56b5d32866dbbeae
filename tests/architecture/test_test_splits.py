"""What test shapes are is told to tasks alone: every other room tries, and fails."""

import ast
from pathlib import Path
from types import FunctionType

import pandas as pd
import pytest

from pointlift.contracts.manifest import (
    COLUMNS,
    UNLABELLED,
    ClosedSplitError,
    labelled_classes,
    open_test_split,
    read_manifest,
    write_manifest,
)

PACKAGE = Path(__file__).parents[2] / "workflow_scripts" / "pointlift"
FLOORS_AND_ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
#: Kinds of shards that hold a student's answers on test, with their labels.
ANSWERS = {"predictions", "epoch_embeddings", *(f"{what}_predictions" for what in ("part", "subset", "point", "box"))}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [("a", "chair", 0, "train"), ("b", "lamp", 1, "val"), ("c", "lamp", 1, "test"), ("d", "sofa", 2, "test")]
    table = pd.DataFrame([[*row, "0000", "", ""] for row in rows], columns=COLUMNS)
    write_manifest(tmp_path / "made.csv", table)
    return tmp_path / "made.csv"


def look(path: Path) -> pd.DataFrame:
    """What a curious piece of code would do."""
    return open_test_split(path)


def look_from(module: str, path: Path) -> pd.DataFrame:
    """The same code, as if it stood in a module of this name."""
    moved = FunctionType(look.__code__, {"__name__": module, "open_test_split": open_test_split})
    found: pd.DataFrame = moved(path)
    return found


@pytest.mark.parametrize("room", sorted({*FLOORS_AND_ROOMS} - {"tasks"}))
def test_no_other_room_can_open_a_test_split(room: str, manifest: Path) -> None:
    with pytest.raises(ClosedSplitError, match=rf"pointlift\.{room}\.probe may not see"):
        look_from(f"pointlift.{room}.probe", manifest)


@pytest.mark.parametrize("module", ["__main__", "pointlift.encoder", "pointlift.tasks_beside.probe"])
def test_neither_can_an_entry_point_or_the_roof(module: str, manifest: Path) -> None:
    with pytest.raises(ClosedSplitError):
        look_from(module, manifest)


def test_tasks_see_what_everyone_else_does_not(manifest: Path) -> None:
    whole = look_from("pointlift.tasks.probe", manifest)
    assert whole["label"].tolist() == [0, 1, 1, 2] and whole["class_name"].tolist() == ["chair", "lamp", "lamp", "sofa"]
    seen = read_manifest(manifest)
    assert seen["label"].tolist() == [0, 1, UNLABELLED, UNLABELLED]
    assert seen["class_name"].tolist() == ["chair", "lamp", "", ""]
    assert seen.drop(columns=["label", "class_name"]).equals(whole.drop(columns=["label", "class_name"]))


def test_the_names_of_classes_are_no_secret(manifest: Path) -> None:
    assert labelled_classes(manifest) == [(0, "chair"), (1, "lamp"), (2, "sofa")]


def reads(path: Path) -> set[str]:
    """Words that a file hands to functions that read."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    readers = [node for node in calls if "read" in (getattr(node.func, "id", "") or getattr(node.func, "attr", ""))]
    return {arg.value for node in readers for arg in node.args if isinstance(arg, ast.Constant)}


def test_answers_on_test_shapes_are_read_by_tasks_alone() -> None:
    readers = {path.parent.name for path in PACKAGE.rglob("*.py") if reads(path) & ANSWERS}
    assert readers == {"tasks"}, "another room reads a student's answers on the test split, with their labels"
    opens = {path.parent.name for path in PACKAGE.rglob("*.py") if "_read_whole" in path.read_text()}
    assert opens == {"contracts"}
