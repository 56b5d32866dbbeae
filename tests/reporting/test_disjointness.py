from pathlib import Path

import pytest

from pointlift.contracts.errors import ArtifactError, PointliftError
from pointlift.reporting.disjointness import check_disjoint, excluded_shapes, used_shapes
from pointlift.reporting.slices import Disjoint
from reporting.fixture_metrics import manifest_table

IDS = [f"chair-a-{index:05d}" for index in range(10)]
OTHERS = [f"chair-b-{index:05d}" for index in range(10)]
ROW = Disjoint(row="mcd down/transfer", sets=(("up", ("train", "val")), ("down", ("train",)), ("down", ("test",))))


def _manifests() -> dict:
    down = manifest_table(OTHERS, salt="down")
    down.loc[5:, "split"] = "test"
    return {"up": manifest_table(IDS, salt="up"), "down": down}


def test_disjoint_sets_pass() -> None:
    check_disjoint([ROW], _manifests(), {})


def test_a_planted_shape_id_is_named() -> None:
    manifests = _manifests()
    manifests["up"].loc[3, "shape_id"] = OTHERS[7]
    with pytest.raises(PointliftError, match=rf"up \(train\+val\) and down \(test\) share 1 shape: {OTHERS[7]}"):
        check_disjoint([ROW], manifests, {})


def test_a_planted_mesh_under_another_id_is_named() -> None:
    manifests = _manifests()
    manifests["up"].loc[3, "sha256"] = manifests["down"].loc[2, "sha256"]
    with pytest.raises(PointliftError, match=rf"{IDS[3]} = {OTHERS[2]}") as caught:
        check_disjoint([ROW], manifests, {})
    assert "down (train)" in str(caught.value)


def test_the_same_mesh_in_train_and_test_of_one_dataset_is_found() -> None:
    manifests = _manifests()
    manifests["down"].loc[9, "sha256"] = manifests["down"].loc[0, "sha256"]
    with pytest.raises(PointliftError, match=r"down \(train\) and down \(test\)"):
        check_disjoint([ROW], manifests, {})


def test_every_fault_is_told_at_once_and_long_lists_are_cut() -> None:
    manifests = _manifests()
    manifests["up"]["sha256"] = manifests["down"]["sha256"]
    second = Disjoint(row="other", sets=(("up", ("train",)), ("up", ("train",))))
    with pytest.raises(PointliftError) as caught:
        check_disjoint([ROW, second], manifests, {})
    assert "down (train) share 5 shapes" in str(caught.value)
    assert "down (test) share 5 shapes" in str(caught.value)
    assert "and 5 more" in str(caught.value)


def test_splits_that_are_not_named_do_not_count_and_unknown_hashes_are_no_match() -> None:
    manifests = _manifests()
    manifests["up"].loc[3, ["shape_id", "split"]] = [OTHERS[7], "test"]
    manifests["up"]["sha256"] = ""
    manifests["down"]["sha256"] = ""
    check_disjoint([ROW], manifests, {})


def test_a_missing_manifest_is_an_error() -> None:
    with pytest.raises(ArtifactError, match="no manifest of down"):
        check_disjoint([ROW], {"up": _manifests()["up"]}, {})


def test_quarantined_shapes_do_not_count() -> None:
    manifests = _manifests()
    manifests["up"].loc[3, "sha256"] = manifests["down"].loc[7, "sha256"]
    check_disjoint([ROW], used_shapes(manifests, [("up", [IDS[3]]), ("elsewhere", ["x"])]), {})
    with pytest.raises(PointliftError, match="share 1 shape"):
        check_disjoint([ROW], used_shapes(manifests, [("up", [IDS[4]])]), {})
    assert len(manifests["up"]) == 10


def test_what_distillation_leaves_out_counts_for_a_teacher(tmp_path: Path) -> None:
    manifests = _manifests()
    manifests["up"].loc[3, "sha256"] = manifests["down"].loc[7, "sha256"]
    paths = [tmp_path / f"up.duplicates.{other}.csv" for other in ("down", "elsewhere")]
    for path, shape_id in zip(paths, (IDS[3], IDS[4]), strict=True):
        path.write_text(f"shape_id,other_id,how,chamfer_spacings\n{shape_id},x,near,1.0\n", encoding="utf-8")
    excluded = excluded_shapes(paths)
    assert excluded == {"up": {IDS[3], IDS[4]}}
    check_disjoint([ROW.model_copy(update={"distilled": "up"})], manifests, excluded)
    with pytest.raises(PointliftError, match=rf"{IDS[3]} = {OTHERS[7]}"):
        check_disjoint([ROW], manifests, excluded)


def _rooms(frames: dict[str, str], scans: dict[str, str]) -> dict:
    """Manifests of frames and scans, by id and split."""
    tables = {}
    for name, ids in (("frames", frames), ("scans", scans)):
        tables[name] = manifest_table([f"room-{name}-{number}" for number in range(len(ids))], salt=name)
        tables[name]["shape_id"], tables[name]["split"] = list(ids), list(ids.values())
    return tables


SCANS = {"scene0001_00": "train", "scene0002_00": "val", "scene0007_00": "test"}
SEEN = (("scans", ("train", "val")), ("scans", ("test",)), ("frames", ("train", "val", "test")))
PLACES = {"scans": r"scene\d{4}", "frames": r"scene\d{4}"}


def test_frames_of_a_test_room_are_found_though_no_id_is_shared() -> None:
    row = Disjoint(row="concept rooms/transfer", sets=SEEN, places=PLACES)
    leaking = _rooms({"scene0001_00-25": "train", "scene0007_01-50": "val"}, SCANS)
    with pytest.raises(PointliftError, match=r"scans \(test\) and frames \(train\+val\) .* 1 place: scene0007"):
        check_disjoint([row], leaking, {})
    check_disjoint([row.model_copy(update={"places": {}})], leaking, {})
    check_disjoint([row.model_copy(update={"places": {**PLACES, "frames": r"scene\d{4}_\d{2}"}})], leaking, {})


def test_frames_of_train_rooms_and_unused_test_frames_pass() -> None:
    row = Disjoint(row="concept rooms/transfer", sets=SEEN, places=PLACES)
    check_disjoint([row], _rooms({"scene0001_00-25": "train", "scene0007_01-50": "test"}, SCANS), {})


def test_a_room_in_train_and_test_of_one_set_is_found() -> None:
    row = Disjoint(row="scratch rooms/transfer", sets=SEEN[:2], places=PLACES)
    with pytest.raises(PointliftError, match=r"scans \(test\) and scans \(train\+val\) .* scene0001"):
        check_disjoint([row], _rooms({}, {**SCANS, "scene0001_01": "test"}), {})
