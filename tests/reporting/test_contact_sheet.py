import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pointlift.contracts.images import images_of
from pointlift.contracts.stages import read_stage
from pointlift.reporting.contact_sheet import contact_sheets
from reporting.fixture_metrics import manifest_table, write_views

IDS = tuple(f"{name}-up-{index:05d}" for name in ("bed", "chair", "lamp") for index in range(4))


def test_two_usable_shapes_of_every_class(tmp_path: Path) -> None:
    path = write_views(tmp_path, "up", IDS, {"chair-up-00000": "blank"})
    (sheet,) = contact_sheets([path], {"up": manifest_table(IDS)})
    assert (sheet.dataset, sheet.rig) == ("up", "ring6")
    shown = [(strip.class_name, strip.shape_id[-1]) for strip in sheet.strips]
    assert shown == [("bed", "0"), ("bed", "1"), ("chair", "1"), ("chair", "2"), ("lamp", "0"), ("lamp", "1")]


def test_shapes_of_the_test_split_are_not_shown(tmp_path: Path) -> None:
    table = manifest_table(IDS)
    table.loc[table["shape_id"].isin(["bed-up-00000", *IDS[4:8]]), "split"] = "test"
    (sheet,) = contact_sheets([write_views(tmp_path, "up", IDS, {})], {"up": table})
    shown = [(strip.class_name, strip.shape_id[-1]) for strip in sheet.strips]
    assert shown == [("bed", "1"), ("bed", "2"), ("lamp", "0"), ("lamp", "1")]


def test_a_strip_is_the_views_side_by_side(tmp_path: Path) -> None:
    path = write_views(tmp_path, "up", IDS, {})
    strip = contact_sheets([path], {"up": manifest_table(IDS)})[0].strips[0]
    picture = Image.open(io.BytesIO(base64.b64decode(strip.source.removeprefix("data:image/png;base64,"))))
    expected = np.concatenate(list(images_of(read_stage(path, "views"), 0)), axis=1)
    assert np.array_equal(np.asarray(picture), expected)
    assert strip.size == (48, 24)


def test_large_renders_are_made_small(tmp_path: Path) -> None:
    path = write_views(tmp_path, "up", IDS[:2], {}, size=224)
    assert contact_sheets([path], {})[0].strips[0].size == (224, 112)


def test_without_a_manifest_the_first_shapes_are_shown(tmp_path: Path) -> None:
    (sheet,) = contact_sheets([write_views(tmp_path, "up", IDS, {})], {})
    assert [strip.shape_id for strip in sheet.strips] == list(IDS[:8])
    assert {strip.class_name for strip in sheet.strips} == {""}
    assert contact_sheets([], {}) == []


def test_many_classes_stay_a_small_page(tmp_path: Path) -> None:
    ids = tuple(f"class{index}-up-00000" for index in range(60))
    (sheet,) = contact_sheets([write_views(tmp_path, "up", ids, {})], {"up": manifest_table(ids)})
    assert len(sheet.strips) == 32
