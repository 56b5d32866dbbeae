"""draw_episodes: from a manifest to a file; of ModelNet40's official lists, the committed ones."""

import argparse
import json

import pandas as pd
import pytest

import draw_episodes
from pointlift.contracts.episodes import COMMITTED, plan_of, read_episodes
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.datasets import modelnet40
from pointlift.datasets.source_folder import split_or_val


def write_rows(path, rows):
    table = pd.DataFrame([(i, name, label, split, "0000", "", "") for i, name, label, split in rows], columns=COLUMNS)
    write_manifest(path, table)
    return path


def run(manifest, output, plan, base="mn40"):
    settings = {"plan": plan_of(plan).model_dump(mode="json"), "base": base}
    draw_episodes.main(argparse.Namespace(settings=json.loads(json.dumps(settings)), manifest=manifest, output=output))
    return output


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_modelnet40s_manifest_gives_the_committed_files(tmp_path, share):
    rows = []
    for split in ("train", "test"):
        for shape_id in modelnet40.split_ids(split):
            name = shape_id.rpartition("_")[0]
            part = split_or_val(shape_id, split == "test", "modelnet_resampled", share)
            rows.append((shape_id, name, modelnet40.CLASS_NAMES.index(name), part))
    manifest = write_rows(tmp_path / "m.csv", rows)
    for name in ("5w10s", "5w20s", "10w10s", "10w20s", "1-5-10shot"):
        written = run(manifest, tmp_path / f"{name}.json", name)
        assert written.read_bytes() == (COMMITTED / f"mn40/{name}.json").read_bytes()


def test_another_dataset(tmp_path):
    rows = [
        (f"{name}-{n}", name, k, "test" if n > 5 else "train")
        for k, name in enumerate(("ball", "cone", "cube"))
        for n in range(9)
    ]
    found = read_episodes(run(write_rows(tmp_path / "m.csv", rows), tmp_path / "e.json", "2w5s", base="toy_Set"))
    assert (found.name, found.base, len(found.folds)) == ("toy_Set/2w5s", "toy_Set", 10)
    assert all(len(way.queries) == 3 for fold in found.folds for way in fold.values())
    with pytest.raises(ArtifactError, match="lower shots"):
        run(tmp_path / "m.csv", tmp_path / "none.json", "2w7s")
    assert not (tmp_path / "none.json").exists()


def test_unlabelled_shapes_are_told(tmp_path):
    manifest = write_rows(tmp_path / "m.csv", [("a", "", -1, "train")])
    with pytest.raises(ArtifactError, match="without a label"):
        run(manifest, tmp_path / "e.json", "2w1s")
