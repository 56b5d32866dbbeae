"""Folds of the literature become ids again: made-up ones, and the six real airplanes."""

import pickle

import numpy as np
import pytest

from pointlift import rooms
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.settings import parse
from pointlift.datasets import modelnet40
from pointlift.datasets.episode_import import import_episodes, read_fold
from pointlift.geometry.sampling import farthest_point_order

SHAPES = {
    "train": ("airplane_0001", "airplane_0002", "airplane_0003", "bowl_0001", "bowl_0002", "bowl_0003"),
    "test": ("airplane_0627", "airplane_0628", "bowl_0065", "bowl_0066"),
}
BLOCK = {"kind": "modelnet_resampled", "folder": "x", "partial": True, "val_share": 0.3,
         "protocol": "mn40/resampled8k-fps1024-partial"}  # fmt: skip


def table(shape_id: str) -> np.ndarray:
    """A lumpy closed surface, y up, with normals, as a file of the base holds it but for the number of points."""
    rng = np.random.default_rng(abs(hash_of(shape_id)))
    direction = rng.normal(size=(2000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lump = 1 + 0.4 * np.exp(-5 * ((direction - rng.normal(size=3)) ** 2).sum(axis=1, keepdims=True))
    return np.hstack([direction * lump * rng.uniform(0.2, 0.7, size=3), direction])


def hash_of(word: str) -> int:
    return sum(ord(letter) * 31**place for place, letter in enumerate(word)) % 2**32


def opened(folder, block=BLOCK):
    module = rooms.load("datasets", "modelnet_resampled")
    return module.build(parse(module.Settings, block, "block"), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("mn") / "modelnet40_normal_resampled"
    for split, ids in SHAPES.items():
        for shape_id in ids:
            path = root / shape_id.rpartition("_")[0] / f"{shape_id}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, table(shape_id), fmt="%.6f", delimiter=",")
        (root / f"modelnet40_{split}.txt").write_text("\n".join(ids) + "\n")
    return root.parent


def stored(folder, shape_id) -> np.ndarray:
    path = folder / "modelnet40_normal_resampled" / shape_id.rpartition("_")[0] / f"{shape_id}.txt"
    return np.loadtxt(path, delimiter=",").astype(np.float32)


def normalised(points):
    centred = points[:, :3] - points[:, :3].mean(axis=0)
    return (centred / np.linalg.norm(centred, axis=1).max()).astype(np.float32)


def as_file(points):
    return points


def class_number(shape_id):
    return np.int32(modelnet40.CLASS_NAMES.index(shape_id.rpartition("_")[0]))


def write_fold(path, clouds, support, queries):
    """As the literature writes it: (points, way, class), shuffled."""
    fold = {
        role: [(clouds(shape_id), way, class_number(shape_id)) for way, shape_id in ids]
        for role, ids in (("train", support), ("test", queries))
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(fold))


FOLDS = [
    (
        [(0, "bowl_0002"), (1, "airplane_0003"), (1, "airplane_0001"), (0, "bowl_0001")],
        [(1, "airplane_0628"), (0, "bowl_0065")],
    ),
    (
        [(0, "airplane_0002"), (1, "bowl_0003"), (0, "airplane_0003"), (1, "bowl_0002")],
        [(1, "bowl_0066"), (0, "airplane_0627")],
    ),
]


def write_folds(folder, target, move):
    def clouds(shape_id):
        points = stored(folder, shape_id)
        start = hash_of(shape_id) % len(points)  # nobody wrote theirs down
        return move(points[farthest_point_order(points[:, :3].astype(np.float64), 1200, start=start)])

    paths = [target / "2way_2shot" / f"{number}.pkl" for number in range(len(FOLDS))]
    for path, (support, queries) in zip(paths, FOLDS, strict=True):
        write_fold(path, clouds, support, queries)
    return paths


@pytest.mark.parametrize("move", [as_file, normalised])
def test_every_cloud_is_found_again(tmp_path, folder, move):
    paths = write_folds(folder, tmp_path, move)
    found = import_episodes(paths, opened(folder), "mn40_pointbert/2w2s", "mn40")
    for fold, (support, queries) in zip(found.folds, FOLDS, strict=True):
        for name in ("airplane", "bowl"):
            assert list(fold[name].support) == [i for _, i in support if i.startswith(name)]
            assert list(fold[name].queries) == [i for _, i in queries if i.startswith(name)]
    assert (found.origin, found.base, found.plan.ways, found.plan.shots, found.plan.queries) == (
        "imported",
        "mn40",
        2,
        (2,),
        1,
    )
    assert found.sources == {f"2way_2shot/{path.name}": file_sha256(path) for path in paths}


@pytest.mark.parametrize("move", [as_file, normalised])
def test_a_foreign_cloud_is_told(tmp_path, folder, move):
    path = tmp_path / "2way_2shot" / "0.pkl"

    def clouds(shape_id):
        return move(table("unknown").astype(np.float32) if shape_id == "bowl_0065" else stored(folder, shape_id))

    write_fold(path, clouds, *FOLDS[0])
    with pytest.raises(ArtifactError, match=r"2way_2shot/0\.pkl: test cloud 1 \(bowl\): not found .* none of 2 shapes"):
        import_episodes([path], opened(folder), "m/2w2s", "mn40")


def test_a_query_from_the_train_split_is_told(tmp_path, folder):
    path = tmp_path / "f" / "0.pkl"
    write_fold(path, lambda shape_id: stored(folder, shape_id), FOLDS[0][0], [(1, "airplane_0002"), (0, "bowl_0065")])
    with pytest.raises(ArtifactError, match=r"test cloud 0 .*not found"):
        import_episodes([path], opened(folder), "m/2w2s", "mn40")


def test_a_shape_that_stands_twice_is_told(tmp_path, folder):
    path = tmp_path / "f" / "0.pkl"
    support = [(0, "bowl_0001"), (0, "bowl_0001"), (1, "airplane_0001"), (1, "airplane_0002")]
    write_fold(path, lambda shape_id: stored(folder, shape_id), support, FOLDS[0][1])
    with pytest.raises(ArtifactError, match="bowl_0001 stands in this fold already"):
        import_episodes([path], opened(folder), "m/2w2s", "mn40")


def test_folds_of_unequal_size_and_wrong_names_are_told(tmp_path, folder):
    path = tmp_path / "f" / "0.pkl"
    write_fold(path, lambda shape_id: stored(folder, shape_id), FOLDS[0][0][:3], FOLDS[0][1])
    with pytest.raises(ArtifactError, match="no episodes m/2w2s"):
        import_episodes([path], opened(folder), "m/2w2s", "mn40")
    write_fold(path, lambda shape_id: stored(folder, shape_id), *FOLDS[0])
    with pytest.raises(ArtifactError, match="must end in 2w2s"):
        import_episodes([path], opened(folder), "m/5w10s", "mn40")


POINTS = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "must be a dict"),
        ({"train": []}, "must be a dict"),
        ({"train": [], "test": []}, "train must be a list"),
        ({"train": {}, "test": []}, "train must be a list"),
        ({"train": [(POINTS, 0)], "test": []}, r"train cloud 0: must be \(points, way, class\)"),
        ({"train": [(POINTS[:, :2], 0, 0)], "test": []}, r"must be an array \(n, 3\)"),
        ({"train": [([1.0], 0, 0)], "test": []}, r"must be an array \(n, 3\)"),
        ({"train": [(POINTS[:5], 0, 0)], "test": []}, "64 or more"),
        ({"train": [(POINTS * np.nan, 0, 0)], "test": []}, "finite"),
        ({"train": [(POINTS.astype(int), 0, 0)], "test": []}, "real numbers"),
        ({"train": [(POINTS, 0, "bowl")], "test": []}, "class must be a whole number"),
    ],
)
def test_what_is_no_fold_is_told(tmp_path, value, told):
    (tmp_path / "0.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(ArtifactError, match=told) as error:
        read_fold(tmp_path / "0.pkl")
    assert "0.pkl" in str(error.value)


@pytest.mark.parametrize("number", [-1, 40, 10**6])
def test_a_class_that_does_not_exist_is_told(tmp_path, folder, number):
    clouds = [(POINTS, 0, number), (POINTS, 1, 0)]
    (tmp_path / "0.pkl").write_bytes(pickle.dumps({"train": clouds, "test": clouds}))
    with pytest.raises(ArtifactError, match=f"class {number} is none of 40"):
        import_episodes([tmp_path / "0.pkl"], opened(folder), "m/2w1s", "mn40")


@pytest.mark.realdata
@pytest.mark.parametrize("move", [as_file, normalised])
def test_real_airplanes_are_found_again(realdata, tmp_path, move):
    """8,192 farthest points of real files, in their order, as they stand and normalised, each among all six."""
    root = tmp_path / "modelnet40_normal_resampled"
    root.mkdir()
    (root / "airplane").symlink_to(realdata / "modelnet40_normal_resampled" / "airplane")
    (root / "bowl").mkdir()
    ids = {"train": [f"airplane_000{n}" for n in (1, 2, 3, 4)], "test": ["airplane_0627", "airplane_0628"]}
    bowls = {"train": ["bowl_0001", "bowl_0002", "bowl_0003", "bowl_0004"], "test": ["bowl_0065", "bowl_0066"]}
    for split, planes in ids.items():
        for bowl, shape_id in zip(bowls[split], planes, strict=True):  # a second class: the first one, stretched
            points = np.loadtxt(root / "airplane" / f"{shape_id}.txt", delimiter=",") * [1, 2, 1, 1, 1, 1]
            np.savetxt(root / "bowl" / f"{bowl}.txt", points, fmt="%.6f", delimiter=",")
        (root / f"modelnet40_{split}.txt").write_text("\n".join([*planes, *bowls[split]]) + "\n")

    def clouds(shape_id):
        points = stored(tmp_path, shape_id)
        return move(points[farthest_point_order(points[:, :3].astype(np.float64), 8192, start=7)])

    path = tmp_path / "2way_4shot" / "0.pkl"
    write_fold(path, clouds, *([(0, i) for i in ids[s]] + [(1, i) for i in bowls[s]] for s in ("train", "test")))
    found = import_episodes([path], opened(tmp_path), "mn40_pointbert/2w4s", "mn40").folds[0]
    for name, wanted in (("airplane", ids), ("bowl", bowls)):
        assert list(found[name].support) == wanted["train"] and list(found[name].queries) == wanted["test"]
