"""SemanticKITTI reads what its layout holds: every scan with the classes and objects of its points."""

from collections import Counter

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets import semantickitti
from pointlift.geometry.clouds import check
from scene_layouts import KITTI_SCANS, kitti_scan, write_semantickitti

#: The official table, as it is published: raw label, its name, the name of the class that it counts as.
OFFICIAL = """
0 unlabeled -, 1 outlier -, 10 car car, 11 bicycle bicycle, 13 bus other-vehicle, 15 motorcycle motorcycle,
16 on-rails other-vehicle, 18 truck truck, 20 other-vehicle other-vehicle, 30 person person, 31 bicyclist bicyclist,
32 motorcyclist motorcyclist, 40 road road, 44 parking parking, 48 sidewalk sidewalk, 49 other-ground other-ground,
50 building building, 51 fence fence, 52 other-structure -, 60 lane-marking road, 70 vegetation vegetation,
71 trunk trunk, 72 terrain terrain, 80 pole pole, 81 traffic-sign traffic-sign, 99 other-object -,
252 moving-car car, 253 moving-bicyclist bicyclist, 254 moving-person person, 255 moving-motorcyclist motorcyclist,
256 moving-on-rails other-vehicle, 257 moving-bus other-vehicle, 258 moving-truck truck,
259 moving-other-vehicle other-vehicle
"""
CLASS_OF = {int(line.split()[0]): line.split()[2] for line in OFFICIAL.replace("\n", " ").split(",")}
IDS = tuple(f"{sequence}/{number:06d}" for sequence, numbers in KITTI_SCANS.items() for number in numbers)


@pytest.fixture
def opened(tmp_path, settings_of):
    """Open SemanticKITTI below a fresh folder, made on the first call; its files lie in ``opened.folder``."""

    def opened(**changes):
        if not any(tmp_path.iterdir()):
            opened.folder = write_semantickitti(tmp_path) / "sequences"
        return semantickitti.build(settings_of("semantickitti", **changes), tmp_path)

    return opened


def names_of(dataset, cloud):
    """Name of each point's class, - where it has none: a list, one point at a time."""
    return ["-" if label == -1 else dataset.semantic_names[label] for label in cloud.semantic_label.tolist()]


def test_every_scan_comes_back_with_intensity_and_class(opened):
    dataset = opened()
    assert dataset.ids == IDS and len(dataset.semantic_names) == 19
    for shape_id in dataset.ids:
        cloud = dataset.load_points(shape_id)
        rows, raw, _ = kitti_scan(shape_id[:2], int(shape_id[3:]))
        np.testing.assert_array_equal(cloud.points, rows[:, :3].astype(np.float64))
        np.testing.assert_array_equal(cloud.intensity, rows[:, 3])
        assert cloud.intensity.dtype == np.float32 and cloud.points.dtype == np.float64
        assert names_of(dataset, cloud) == [CLASS_OF[label] for label in raw.tolist()]


def test_objects_are_those_of_one_class_and_one_number(opened):
    dataset = opened()
    for shape_id in dataset.ids:
        cloud = dataset.load_points(shape_id)
        _, raw, numbers = kitti_scan(shape_id[:2], int(shape_id[3:]))
        wanted = [(CLASS_OF[label], number) for label, number in zip(raw.tolist(), numbers.tolist(), strict=True)]
        pairs = set(zip(wanted, cloud.instance_label.tolist(), strict=True))
        objects = {(pair, label) for pair, label in pairs if pair[1] > 0}
        assert {label for pair, label in pairs if pair[1] == 0} == {-1}
        assert len(objects) == len({pair for pair, _ in objects}) == len({label for _, label in objects}) > 4
        assert min(label for _, label in objects) >= 0


def test_every_official_label_counts_as_the_official_class():
    raw = np.array(sorted(CLASS_OF), np.uint32)
    found = semantickitti.classes_of(raw, "x")
    names = ["-" if label == -1 else list(semantickitti.RAW_LABELS)[label] for label in found]
    assert dict(zip(raw.tolist(), names, strict=True)) == CLASS_OF
    # the order in which the official table counts its classes, from 1
    assert list(semantickitti.RAW_LABELS)[:9] == [
        "car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist", "road",
    ]  # fmt: skip
    assert list(semantickitti.RAW_LABELS)[9:] == [
        "parking", "sidewalk", "other-ground", "building", "fence", "vegetation", "trunk", "terrain", "pole",
        "traffic-sign",
    ]  # fmt: skip
    for unknown in sorted(set(range(300)) - set(CLASS_OF)):
        with pytest.raises(UnusableShapeError, match=rf"a\.label: unknown labels {unknown};"):
            semantickitti.classes_of(np.array([10, unknown], np.uint32), "a.label")


# ---- split, listing and protocol -------------------------------------------------------------------------------------


def test_sequence_08_is_test_and_whole_sequences_are_val(opened):
    for val, wanted in ((), ["train"] * 6 + ["test"] * 2), (("07",), ["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        dataset = opened(val_sequences=list(val))
        assert [dataset.entry(shape_id).split for shape_id in dataset.ids] == wanted
    assert dataset.entry("08/000010").source_path == "sequences/08/velodyne/000010.bin"


@pytest.mark.parametrize("val", [["08"], ["11"], ["7"], [7], ["07", "07"], ["10", "07"]])
def test_val_sequences_are_those_of_train(val, settings_of):
    with pytest.raises(ConfigError, match=r"block\.val_sequences"):
        settings_of("semantickitti", val_sequences=val)


def test_the_whole_set_is_known_without_files(settings_of):
    ids = semantickitti.list_ids(settings_of("semantickitti", partial=False), None)
    counts = Counter(shape_id[:2] for shape_id in ids)
    assert len(set(ids)) == len(ids) == 23201 and list(ids) == sorted(ids)
    assert counts["08"] == 4071 and sum(counts.values()) - counts["08"] == 19130
    assert (ids[0], ids[4540], ids[4541], ids[-1]) == ("00/000000", "00/004540", "01/000000", "10/001200")
    tenth = semantickitti.list_ids(settings_of("semantickitti", partial=False, every=10), None)
    assert tenth[:2] == ("00/000000", "00/000010") and all(shape_id.endswith("0") for shape_id in tenth)
    assert len(tenth) == sum(-(-count // 10) for count in counts.values())


def test_a_part_is_listed_by_its_folders(opened):
    assert opened(every=2).ids == ("00/000000", "00/000002", "07/000000", "08/000000", "08/000010")
    (opened.folder / "08" / "velodyne" / "notes.txt").write_text("")
    (opened.folder / "00" / "velodyne").rename(opened.folder / "kept")
    assert opened().ids == IDS[4:]


def test_a_whole_set_must_be_there(opened, tmp_path, monkeypatch):
    with pytest.raises(
        ArtifactError, match=r"4 in 00 \(official 4541\).*2 in 08 \(official 4071\).*not checked.*partial: true"
    ):
        opened(partial=False)
    monkeypatch.setattr(semantickitti, "SCANS", {"00": 4, "07": 2})
    assert opened(partial=False).ids == IDS[:6]
    monkeypatch.setattr(semantickitti, "SCANS", {"00": 4, "08": 2})
    with pytest.raises(ArtifactError, match=r"official scans: 2 in 08 \(official 2\)"):  # 0 and 10, not 0 and 1
        opened(partial=False)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "semantickitti/seq08-all"),
        ({"val_sequences": ["07", "10"], "every": 10}, "semantickitti/seq08-val07-10-every10-all"),
        ({"subsample": "random", "num_points": 4096, "partial": True}, "semantickitti/seq08-random4096-partial"),
        ({"keep_coordinates": False}, "semantickitti/seq08-all-unit"),
    ],
)
def test_the_protocol_names_what_makes_another_set(changes, name, settings_of):
    settings = settings_of("semantickitti", **{"partial": False, **changes})
    assert settings.required_protocol() == name
    assert settings_of("semantickitti", protocol=name).protocol == name


# ---- damaged files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "damage", "reason"),
    [
        ("velodyne", lambda content: content[:-4], r"000001\.bin: has 2396 bytes, no multiple of 16: it was cut off"),
        ("velodyne", lambda content: content[:-16], r"000001\.label: holds 150 labels, its scan has 149 points"),
        ("velodyne", lambda content: b"", r"000001\.bin: the file is empty"),
        ("velodyne", None, r"000001\.bin: the file cannot be read: No such file"),
        ("labels", lambda content: content[:-1], r"000001\.label: has 599 bytes, no multiple of 4"),
        ("labels", lambda content: content + content, r"000001\.label: holds 300 labels, its scan has 150 points"),
        ("labels", None, r"000001\.label: the file cannot be read: No such file"),
        ("labels", lambda content: b"\x02\x00\x07\x00" + content[4:], r"000001\.label: unknown labels 2;"),
        ("labels", lambda content: b"\xff\xff\xff\xff" + content[4:], r"000001\.label: unknown labels 65535;"),
    ],
)
def test_a_damaged_scan_says_why(part, damage, reason, opened):
    dataset = opened()
    path = opened.folder / "00" / part / f"000001.{'bin' if part == 'velodyne' else 'label'}"
    content = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage(content))
    with pytest.raises(UnusableShapeError, match=reason):
        dataset.load_points("00/000001")
    if damage is None:
        assert dataset.entry("00/000001").sha256 == ""


def test_numbers_that_are_none_are_told(opened):
    dataset = opened()
    path = opened.folder / "00" / "velodyne" / "000001.bin"
    rows = np.fromfile(path, "<f4")
    for place, reason in ((4, "1 points are not finite"), (7, "intensity: a value is not finite")):
        damaged = rows.copy()
        damaged[place] = np.nan
        damaged.tofile(path)
        with pytest.raises(UnusableShapeError, match=reason):
            check(dataset.load_points("00/000001"))


def test_any_bytes_are_a_scan_or_a_reason(opened):
    dataset, rng, told = opened(), np.random.default_rng(3), 0
    scan = opened.folder / "00/velodyne/000001.bin"
    labels = opened.folder / "00/labels/000001.label"
    whole = {path: path.read_bytes() for path in (scan, labels)}
    for _ in range(300):
        for path, content in whole.items():
            damaged = bytearray(content[: rng.choice([len(content), rng.integers(len(content))], p=[0.8, 0.2])])
            for place in rng.integers(max(1, len(damaged)), size=rng.integers(3)) if damaged else ():
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
        try:
            check(dataset.load_points("00/000001"))
        except UnusableShapeError:
            told += 1
    assert 100 < told < 290


# ---- a real scan -----------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_a_real_scan(realdata, tmp_path, settings_of):
    sample = realdata / "semantickitti" / "spvnas_sample"
    for part, name in (("velodyne", "000000.bin"), ("labels", "000000.label")):
        (tmp_path / "sequences" / "08" / part).mkdir(parents=True)
        (tmp_path / "sequences" / "08" / part / name).symlink_to(sample / name)
    dataset = semantickitti.build(settings_of("semantickitti"), tmp_path)
    assert dataset.ids == ("08/000000",)
    cloud = check(dataset.load_points("08/000000"))
    assert len(cloud.points) == 123_389
    content, labels = (sample / "000000.bin").read_bytes(), (sample / "000000.label").read_bytes()
    np.testing.assert_array_equal(np.frombuffer(content, "<f4")[0::4], cloud.points[:, 0])
    np.testing.assert_array_equal(np.frombuffer(content, "<f4")[3::4], cloud.intensity)
    wanted: Counter[str] = Counter()
    objects = set()
    for place in range(0, len(labels), 4):  # two bytes of class, two bytes of object, one point at a time
        name = CLASS_OF[labels[place] + 256 * labels[place + 1]]
        number = labels[place + 2] + 256 * labels[place + 3]
        wanted[name] += 1
        if number and name != "-":
            objects.add((name, number))
    assert Counter(names_of(dataset, cloud)) == wanted
    assert wanted["road"] == 20975 and wanted["car"] == 544 + 990 and wanted["-"] == 4458 + 5 + 809 + 1652
    assert len(set(cloud.instance_label.tolist()) - {-1}) == len(objects) == 14
    # the same numbers stand for a moving car and a moving person: they must not become one object
    assert {number for name, number in objects if name == "car"} & {number for name, number in objects if name != "car"}
    road = cloud.points[np.array(names_of(dataset, cloud)) == "road"]
    assert -2.5 < np.median(road[:, 2]) < -1.0  # z is up: the road lies below the sensor on the car's roof
