"""From posed frames to a student, each step as the workflow calls it: clouds, pictures, targets, distillation."""

import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

import build_manifest
import extract_features
import extract_tokens
import read_points
import read_views
import train_student
import train_teacher
from frame_layouts import COLOUR_SIZE, frame, look_at, write_matrix, write_scannet_frames
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.images import images_of
from pointlift.contracts.manifest import read_manifest, write_manifest
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.geometry.cameras import project
from pointlift.reporting.contact_sheet import contact_sheets
from pointlift.reporting.quarantine import faults_of_views
from teachers import pictures

BLOCK = {"kind": "scannet_frames", "protocol": "test/one", "folder": "raw", "partial": True, "num_points": 256}
RIG = {"kind": "frames", "image_size": 32}
CLIP = {"kind": "clip", "model": pictures.MODEL, "initialisation": "random", "batch_size": 4}
IDS = [f"scene0000_0{scan}-{number}" for scan in (0, 1) for number in (0, 25, 50)]
STUDENT = {"kind": "pointnet", "widths": [8, 16, 32], "input_transform": False, "feature_transform": False}
CONCEPT = {"kind": "concept", "num_queries": 3, "num_views": None, "heads": 2, "width": 16}


def prepared(folder, ids=IDS):
    """Points, views and visibility of a folder of raw frames, as one shard each."""
    settings = {"block": BLOCK, "ids": list(ids)}
    read_points.main(Namespace(settings=settings, folder=folder / "raw", output=folder / "points"))
    views = folder / "results" / "views" / "frames" / "posed" / "0000.safetensors"
    paths = {"points": folder / "points", "views": views, "visibility": folder / "visibility"}
    read_views.main(Namespace(settings={**settings, "rig": RIG}, folder=folder / "raw", **paths))
    return paths


def extracted(folder, views, teacher=CLIP, entry=extract_features):
    path = folder / entry.__name__
    given = {"views": views, "output": path, "weights": None, "threads": 1, "device": "cpu"}
    entry.main(Namespace(settings={"block": teacher}, **given))
    return path


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    write_scannet_frames(folder / "raw", {"train": ("scene0000_00", "scene0000_01"), "val": ("scene0011_00",)})
    paths = prepared(folder)
    paths["features"] = extracted(folder, paths["views"])
    return folder, paths


def trained(folder, paths, method, epochs=1, **changes):
    """The history of a distillation of two steps an epoch."""
    recipe = {"epochs": epochs, "batch_size": 3, "learning_rate": 0.01}
    settings = {
        "run": "r",
        "student": STUDENT,
        "method": method,
        "recipe": recipe,
        "arm": "concept",
        "seed": 0,
        **changes,
    }
    stages = {name: [paths[name]] if name in paths else [] for name in ("points", "visibility", "features", "tokens")}
    nothing = {"checkpoints": None, "curves": None, "manifest": None, "exclude": [], "init": None, "source": None}
    outputs = {"output": folder / "weights", "projector": folder / "projector"}
    given = {**outputs, **stages, **nothing, "threads": 1, "device": "cpu", "code": ""}
    train_student.main(Namespace(settings=settings, **given))
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_the_process_writes_the_same_bytes(stages, repository, tmp_path):
    folder, paths = stages
    settings = json.dumps({"block": BLOCK, "ids": IDS, "rig": RIG})
    command = [sys.executable, repository / "workflow_scripts" / "read_views.py", "--settings", settings]
    command += ["--folder", folder / "raw", "--points", paths["points"]]
    command += ["--views", tmp_path / "views", "--visibility", tmp_path / "visibility"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "read 6 views in" in done.stderr
    for name in ("views", "visibility"):
        assert (tmp_path / name).read_bytes() == paths[name].read_bytes()


def test_pictures_show_the_points_that_are_marked(stages):
    _, paths = stages
    points, views, seen = (read_stage(paths[name], name, IDS) for name in ("points", "views", "visibility"))
    assert views["valid"].all() and views.attributes["num_views"] == 1
    for index in range(len(IDS)):
        own = slice(*points["point_offsets"][index : index + 2])
        poses, pinhole = views["posed_world_to_camera"][index], views["posed_intrinsics"][index, 0]
        pixels, _ = project(points["points"][own], poses, pinhole)
        inside = ((pixels[0] >= 0) & (pixels[0] < 32)).all(axis=1)
        visible = np.unpackbits(seen["visible"][index, 0], count=256).astype(bool)
        assert 100 < visible.sum() < 256 and (visible == inside).mean() > 0.98  # all but those on the very edge
        column, row = np.floor(pixels[0, visible]).astype(int).T
        shown = images_of(views, index)[0, row, column].astype(float)
        own_colour = points["colour"][own][visible].astype(float)
        assert np.abs(shown - own_colour).mean() < 12  # pictures are smoothed where they are made smaller
        apart = np.abs(shown - np.roll(own_colour, 40, axis=0)).mean()
        assert apart > 1.5 * np.abs(shown - own_colour).mean()


def test_targets_are_those_of_the_pictures_with_their_own_cameras(stages):
    _, paths = stages
    features, views = read_stage(paths["features"], "features", IDS), read_stage(paths["views"], "views")
    assert features["embedding"].shape == (6, 1, 24) and "world_to_camera" not in features.arrays
    np.testing.assert_array_equal(features["posed_world_to_camera"], views["posed_world_to_camera"])
    assert len(np.unique(features["embedding"], axis=0)) == 6


@pytest.mark.parametrize("query", ["learned", "image", "view"])
def test_a_student_learns_concepts_of_frames(query, stages, tmp_path):
    history = trained(tmp_path, stages[1], {**CONCEPT, "query": query}, epochs=2)
    assert len(history) == 2 and all(np.isfinite(line["concept_loss"]) for line in history)
    weights = load_file(tmp_path / "weights")
    untrained = tmp_path / "scratch"
    untrained.mkdir()
    trained(untrained, {}, None, recipe=None, arm="scratch")
    assert any((weights[name] != value).any() for name, value in load_file(untrained / "weights").items())


def test_concepts_that_ask_by_the_view_are_given_each_frames_own_camera(stages, tmp_path):
    _, paths = stages
    first = trained(tmp_path, paths, {**CONCEPT, "query": "view"})
    features = read_stage(paths["features"], "features")
    moved = features.arrays["posed_world_to_camera"].copy()
    moved[:, :, :3, 3] += 1.0
    write_stage(tmp_path / "moved", "features", features.ids, {**features.arrays, "posed_world_to_camera": moved})
    other = trained(tmp_path, {**paths, "features": tmp_path / "moved"}, {**CONCEPT, "query": "view"})
    assert first[0]["concept_loss"] != other[0]["concept_loss"]


def test_points_and_patches_are_learned_by_the_other_methods(stages, tmp_path):
    folder, paths = stages
    history = trained(tmp_path, paths, {"kind": "pointmcd"}, arm="mcd")
    assert np.isfinite(history[-1]["view_loss"])
    tokens = extracted(folder, paths["views"], entry=extract_tokens)
    history = trained(tmp_path, {**paths, "tokens": tokens}, {**CONCEPT, "token_weight": 0.5})
    assert np.isfinite(history[-1]["token_loss"])


def test_a_teacher_that_needs_no_classes_learns_from_frames(stages, tmp_path):
    _, paths = stages
    rows = {"block": BLOCK, "dataset": "frames"}
    outputs = {"output": tmp_path / "manifest.csv", "quarantine": tmp_path / "quarantine.csv"}
    build_manifest.main(Namespace(settings=rows, shards=[paths["points"]], **outputs))
    table = read_manifest(outputs["output"])
    table["split"] = ["train"] * 4 + ["val"] * 2
    write_manifest(outputs["output"], table)
    recipe = {"epochs": 1, "batch_size": 2, "learning_rate": 0.001}
    training = {"dataset": "frames", "rig": "posed", "recipe": recipe}
    block = {"kind": "view_autoencoder", "base_width": 4, "input_size": 32, "initialisation": "random"}
    settings = json.dumps({"block": {**block, "training": training}, "class_names": None, "seed": 0})
    words = ["--settings", settings, "--manifest", outputs["output"], "--views", paths["views"], "--device", "cpu"]
    words += ["--output", tmp_path / "weights", "--history", tmp_path / "history.jsonl"]
    train_teacher.main(train_teacher.parser().parse_args([str(word) for word in words]))
    assert len(load_file(tmp_path / "weights")) > 10
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1


def test_the_report_shows_them(stages):
    _, paths = stages
    listed = pd.DataFrame({"shape_id": IDS, "class_name": [""] * 6, "split": ["train"] * 6})
    (sheet,) = contact_sheets([paths["views"]], {"frames": listed})
    assert (sheet.dataset, sheet.rig) == ("frames", "posed") and len(sheet.strips) == 6
    assert sheet.strips[0].size == (32, 32)


def test_bad_frames_are_quarantined_with_their_reason_and_the_rest_goes_on(tmp_path):
    place = write_scannet_frames(tmp_path / "raw", {"train": ("scene0000_00", "scene0000_01"), "val": ()})
    scan = place / "scene0000_00"
    (scan / "pose" / "0.txt").unlink()
    (scan / "pose" / "25.txt").write_text("-inf -inf -inf -inf\n" * 4)
    depth = scan / "depth" / "50.png"
    depth.write_bytes(depth.read_bytes()[:200])
    flat = place / "scene0000_01"
    Image.new("RGB", COLOUR_SIZE[::-1], (9, 9, 9)).save(flat / "color" / "0.jpg")
    paths = prepared(tmp_path)
    points, views, seen = (read_stage(paths[name], name) for name in ("points", "views", "visibility"))
    reasons = points.attributes["quarantine"]
    assert "0.txt: the file cannot be read" in reasons[IDS[0]]
    assert reasons[IDS[1]] == "its pose is not finite: the camera was lost in this frame"
    assert "50.png: not a whole PNG picture" in reasons[IDS[2]]
    assert list(reasons) == IDS[:3]
    assert views.attributes["quarantine"] == {IDS[3]: "view 0 is flat: contrast 0.0000, at least 0.001 is asked for"}
    assert views["valid"].tolist() == seen["valid"].tolist() == [False] * 4 + [True] * 2
    assert [fault[1] for fault in faults_of_views(paths["views"])] == ["read_views (posed)"]
    paths["features"] = extracted(tmp_path, paths["views"])
    assert len(trained(tmp_path, paths, CONCEPT, max_quarantined=0.7)) == 1
    with pytest.raises(ArtifactError, match="4 of 6 shapes are unusable"):
        trained(tmp_path, paths, CONCEPT, max_quarantined=0.1)


def test_a_pose_that_belongs_to_another_frame_is_told_when_points_are_older_than_it(stages, tmp_path):
    """The shards are made by two jobs: files that changed between them do not go together."""
    folder, paths = stages
    place = write_scannet_frames(tmp_path / "raw", {"train": ("scene0000_00", "scene0000_01"), "val": ()})
    eye = frame(0).pose[:3, 3]
    write_matrix(place / "scene0000_00" / "pose" / "0.txt", look_at(eye, eye - np.array([1.0, 0.1, 0.0])))
    settings = {"block": BLOCK, "ids": IDS, "rig": RIG}
    outputs = {"views": tmp_path / "views", "visibility": tmp_path / "visibility"}
    read_views.main(Namespace(settings=settings, folder=tmp_path / "raw", points=paths["points"], **outputs))
    told = read_stage(tmp_path / "views", "views").attributes["quarantine"]
    assert told == {IDS[0]: "a picture shows none of its points; their poses do not belong together"}
    with pytest.raises(ArtifactError, match="its shape ids are not those"):
        read_views.main(
            Namespace(settings={**settings, "ids": IDS[1:]}, folder=folder / "raw", points=paths["points"], **outputs)
        )
