from pathlib import Path

from pointlift.reporting.quarantine import dataset_name, faults_of_table, faults_of_views, quarantine_rows
from pointlift.reporting.tables import Row
from reporting.fixture_metrics import manifest_table, write_views

IDS = tuple(f"chair-a-{index:05d}" for index in range(6))


def _counts(rows: list[Row]) -> list[tuple[str, ...]]:
    return [tuple(row[key] for key in ("dataset", "shapes", "stage", "quarantined", "example")) for row in rows]


def test_faults_are_counted_per_reason_and_whole_datasets_say_zero() -> None:
    faults = [("up", "prepare_meshes", "empty mesh", shape_id) for shape_id in IDS[:2]]
    faults += [("up", "prepare_meshes", "no area", IDS[2]), faults[0]]
    manifests = {"up": manifest_table(IDS), "down": manifest_table(IDS)}
    assert _counts(quarantine_rows(manifests, faults)) == [
        ("down", "6", "", "0", ""),
        ("up", "6", "prepare_meshes", "2", IDS[0]),
        ("up", "6", "prepare_meshes", "1", IDS[2]),
    ]


def test_shapes_outside_the_manifest_are_part_of_the_dataset() -> None:
    rows = quarantine_rows({"up": manifest_table(IDS)}, [("up", "prepare_meshes", "empty mesh", "lost")])
    assert rows[0]["shapes"] == "7"


def test_renders_tell_their_own_faults(tmp_path: Path) -> None:
    path = write_views(tmp_path, "up", IDS, {IDS[1]: "view 0 is blank"})
    assert faults_of_views(path) == [("up", "render_views (ring6)", "view 0 is blank", IDS[1])]


def test_a_table_of_faults_and_the_name_of_its_dataset() -> None:
    table = manifest_table(IDS[:1]).assign(stage="prepare_meshes", reason="empty mesh")
    assert faults_of_table("up", table) == [("up", "prepare_meshes", "empty mesh", IDS[0])]
    assert dataset_name(Path("x/psb.quarantine.csv")) == "psb"
    assert dataset_name(Path("x/psb.csv")) == "psb"
