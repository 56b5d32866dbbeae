"""import_episodes: what is asked for wrongly is told before anything is read."""

import argparse
import pickle

import numpy as np
import pytest
import yaml

import import_episodes
import point_layouts
from pointlift.contracts.episodes import read_episodes
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.datasets import modelnet40


@pytest.fixture
def given(tmp_path, repository):
    """Arguments for a small layout: two airplanes and two xboxes to learn from, one of each to be asked about."""
    point_layouts.write_modelnet_resampled(
        tmp_path / "data" / "mn",
        train=("airplane_0001", "airplane_0002", "xbox_0001", "xbox_0002"),
        test=("airplane_0627", "xbox_0104"),
    )
    config = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    config["paths"]["data"] = str(tmp_path / "data")
    config["datasets"]["mn"] = {
        "kind": "modelnet_resampled", "folder": "mn", "partial": True, "protocol": "mn40/resampled8k-fps1024-partial"
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    folder = tmp_path / "2way_2shot"
    folder.mkdir()
    output = tmp_path / "episodes" / "mn40_pointbert" / "2w2s.json"
    return argparse.Namespace(config=tmp_path / "config.yaml", dataset="mn", folder=folder, output=output)


def write_fold(given, number):
    def cloud(shape_id):
        name = shape_id.rpartition("_")[0]
        path = given.config.parent / "data/mn/modelnet40_normal_resampled" / name / f"{shape_id}.txt"
        points = np.loadtxt(path, delimiter=",").astype(np.float32)[::3]
        return points, 0, np.int32(modelnet40.CLASS_NAMES.index(name))

    fold = {
        "train": [cloud(shape_id) for shape_id in ("xbox_0002", "airplane_0001", "xbox_0001", "airplane_0002")],
        "test": [cloud(shape_id) for shape_id in ("xbox_0104", "airplane_0627")],
    }
    (given.folder / f"{number}.pkl").write_bytes(pickle.dumps(fold, protocol=3))


def test_a_folder_becomes_a_file(given):
    for number in range(11):  # 10 comes after 9, not after 1
        write_fold(given, number)
    import_episodes.main(given)
    found = read_episodes(given.output)
    assert (found.name, found.base, found.origin, len(found.folds)) == ("mn40_pointbert/2w2s", "mn40", "imported", 11)
    assert list(found.sources) == [f"2way_2shot/{number}.pkl" for number in range(11)]
    assert found.folds[0]["xbox"].support == ("xbox_0002", "xbox_0001")
    assert found.folds[10]["airplane"].queries == ("airplane_0627",)


def test_a_malicious_fold_leaves_nothing(given):
    (given.folder / "0.pkl").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(ArtifactError, match=r"0\.pkl: not a pickle .*Nothing of it was run"):
        import_episodes.main(given)
    assert not given.output.exists()


def test_mistakes_are_told(given):
    with pytest.raises(ArtifactError, match="without a gap"):
        import_episodes.main(given)
    write_fold(given, 1)
    with pytest.raises(ArtifactError, match="without a gap"):
        import_episodes.main(given)
    write_fold(given, 0)
    for name in ("none", "lpsb"):
        with pytest.raises(ConfigError, match=f"{name}: no dataset"):
            import_episodes.main(argparse.Namespace(**{**vars(given), "dataset": name}))
    with pytest.raises(ConfigError, match="must end in"):
        import_episodes.main(argparse.Namespace(**{**vars(given), "output": given.output.with_name("5 way.json")}))
