from pathlib import Path

from pointlift.contracts.duplicates import duplicates_name, write_duplicates
from pointlift.reporting.contamination import CHECKED, footer, read_lists
from pointlift.reporting.slices import Origin

ROWS = [("a", "x", "exact", 0.0), ("a", "y", "near", 0.9), ("b", "y", "near", 0.8)]
DISTILLED = Origin(run="mcd", saw="in-graph", sets=(("distillation", "up"), ("teacher", "pictures")))


def _lists(folder: Path, *pair: str) -> dict:
    path = folder / duplicates_name(*pair)
    write_duplicates(path, ROWS)
    return read_lists([path])


def test_what_was_left_out_is_counted_once_and_what_nobody_looked_for_is_said(tmp_path: Path) -> None:
    told = footer([DISTILLED], _lists(tmp_path, "up", "down"), "down", {"mcd"})
    assert told == [
        CHECKED,
        "2 of up's shapes are near-duplicates of down's (1 of them the same mesh or points) and are left out of "
        "distillation.",
        "No near-duplicate audit was made between down and pictures, nor within down.",
    ]


def test_a_list_of_another_set_audits_nothing(tmp_path: Path) -> None:
    told = footer([DISTILLED], _lists(tmp_path, "up", "elsewhere"), "down", {"mcd"})
    assert told[1] == "No near-duplicate audit was made between down and pictures or up, nor within down."


def test_what_distillation_leaves_out_a_teacher_may_have_seen(tmp_path: Path) -> None:
    origin = Origin(run="mcd", saw="in-graph", sets=(("distillation", "up"), ("teacher", "up")))
    told = footer([origin], _lists(tmp_path, "up", "down"), "down", {"mcd"})
    assert told[1].endswith("left out of distillation; a teacher that is trained on up saw them.")


def test_only_the_runs_of_the_table_count(tmp_path: Path) -> None:
    plain = Origin(run="scratch", saw="none")
    assert footer([DISTILLED, plain], {}, "down", {"scratch"}) == [
        CHECKED,
        "No near-duplicate audit was made within down.",
    ]


def test_published_weights_are_compared_with_nothing() -> None:
    origin = Origin(run="i2p", saw="2D weights", sets=(("published", "resnet"),))
    assert footer([origin], {}, "down", {"i2p"})[-1].startswith("What the published weights of resnet saw")
