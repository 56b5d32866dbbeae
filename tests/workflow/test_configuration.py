"""config.yaml: the shipped one is whole, and every mistake is told before anything runs."""

import copy
import datetime
import itertools
import math
from pathlib import Path
from typing import get_args

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.blocks import Arm
from pointlift.contracts.errors import ConfigError

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def values():
    return copy.deepcopy(CONFIG)


@pytest.mark.parametrize("suite", sorted(CONFIG["suites"]))
def test_every_shipped_suite_is_valid(values, suite):
    values["suite"] = suite
    config = read_config(values)
    assert set(config.chosen.runs) <= set(config.runs)


def test_every_arm_stands_in_a_shipped_run(values):
    """And the arms of one suite and method have one student, one distillation set and one recipe: they compare."""
    found = set()
    for suite in ("princeton", "mini_concept", "princeton_concept"):
        values["suite"] = suite
        config = read_config(values)
        runs = [config.runs[name] for name in config.chosen.runs]
        found |= {run.arm for run in runs}
        transfer = [run for run in runs if run.form == "transfer" and run.method]
        assert len({(run.student, run.dataset, str(run.recipe)) for run in transfer}) == 1
        for one, other in itertools.combinations([config.methods[run.method] for run in transfer], 2):
            assert len(differing(one, other)) <= 3 or one.kind != other.kind
    for suite in ("mini_image2point", "princeton_image2point"):
        runs = [config.runs[name] for name in config.suites[suite].runs]
        found |= {run.arm for run in runs}
        assert len({run.student for run in runs}) == 1
        assert len({run.image_model for run in runs} - {None}) == 1
    found |= {config.runs[name].arm for name in config.suites["replay"].runs}
    assert found == set(get_args(Arm))


def differing(one, other):
    """Keys in which two blocks differ."""
    return {key for key, value in one.model_dump().items() if getattr(other, key, value) != value}


def test_mini_is_the_default():
    assert CONFIG["suite"] == "mini"


def test_many_mistakes_are_one_message(values):
    values["suit"] = "mini"
    values["suite"] = "maxi"
    values["device"] = "tpu"
    values["datasets"]["mini_shapes"]["kind"] = "shapenet_core"
    values["rigs"]["ring6_64px"]["image_size"] = 4
    values["students"]["pointnet"] = {"kind": "pointnet", "width": 3}
    values["runs"]["mini_mcd"]["recipe"]["optimiser"] = "lion"  # three runs share this recipe
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    text = str(caught.value)
    assert text.startswith("config.yaml: 9 mistakes\n")
    for line in (
        "suit: unknown key; allowed: suite, device, paths, datasets",
        "suite: 'maxi' is not allowed: must be one of nano, mini, princeton",
        "device: 'tpu' is not allowed: must be auto, cpu or cuda",
        "datasets.mini_shapes.kind: 'shapenet_core' is not allowed: must be one of folder, modelnet, ",
        "rigs.ring6_64px.image_size: 4 is not allowed: Input should be greater than or equal to 16",
        "students.pointnet.width: unknown key; allowed: feature_transform, input_transform, kind, widths",
        "runs.mini_mcd.recipe.optimiser: 'lion' is not allowed: Input should be 'sgd' or 'adamw'",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("family", "name", "key", "value", "message"),
    [
        ("runs", "mini_mcd", "teacher", "dino", "mini_mcd.teacher: there is no block 'dino' in teachers; there are"),
        ("tasks", "mini_few_shot", "dataset", "none", "mini_few_shot.dataset: there is no block 'none'"),
        ("suites", "mini", "runs", ["nothing"], "suites.mini.runs: there is no block 'nothing' in runs"),
        ("datasets", "psb", "folder", None, "datasets.psb.folder: missing"),
    ],
)  # fmt: skip
def test_names_must_exist(values, family, name, key, value, message):
    values[family][name] = {**values[family][name], key: value}
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    assert message in str(caught.value)


def test_a_transfer_run_may_not_distil_on_what_it_is_judged_by(values):
    values["runs"]["mini_mcd"] = {**values["runs"]["mini_mcd"], "dataset": "mini_shapes"}
    with pytest.raises(ConfigError, match="'mini_mcd' is a transfer run, and dataset 'mini_shapes' stands in two"):
        read_config(values)


def test_a_transfer_run_may_not_distil_on_what_its_teacher_saw(values):
    values["runs"]["mini_mcd"] = {**values["runs"]["mini_mcd"], "dataset": "mini_teacher_shapes"}
    with pytest.raises(ConfigError, match="'mini_teacher_shapes' stands in two of its phases"):
        read_config(values)


def test_two_tasks_may_not_share_a_row(values):
    values["tasks"]["again"] = values["tasks"]["mini_few_shot"]
    values["suites"]["mini"]["tasks"] = ["mini_few_shot", "again"]
    with pytest.raises(ConfigError, match="two tasks of kind 'few_shot' on dataset 'mini_shapes' would share one row"):
        read_config(values)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("datasets/mini_shapes/max_quarantined", math.nan, "max_quarantined: nan is not allowed: must be a finite"),
        ("tasks/mini_classification/recipe/learning_rate", math.inf, "learning_rate: inf is not allowed"),
        ("datasets/mini_shapes/protocol", datetime.date(2020, 1, 1), "protocol: 2020-01-01 is read as date: quote it"),
        ("students/7", {"kind": "pointnet"}, "students.7: this name is read as int: quote it"),
        ("students/a.b", {"kind": "pointnet"}, "students.a.b: 'a.b' is not allowed as a name"),
        ("suites/mini/seeds", [0, 0], "suites.mini.seeds: 0 stands there twice"),
        ("suites/mini/seeds", [-1], "suites.mini.seeds.0: -1 is not allowed"),
        ("suites/mini/tasks", ["mini_few_shot", "mini_few_shot"], "tasks: 'mini_few_shot' stands there twice"),
        ("datasets/psb/exclude_duplicates_of", ["psb"], "names 'psb' itself"),
        ("datasets/psb/folder", "lpsb", "datasets.psb.folder: another archive, that of 'lpsb'"),
        ("datasets/psb/folder", "../psb", "'../psb' is not allowed: an archive is unpacked below paths.data"),
        ("datasets/psb", {"kind": "folder", "folder": "a", "archive": "a.zip"}, "unpack 'a.zip' into the folder"),
        ("tasks/mini_classification/recipe/augmentation", {"scale": [2.0, 1.0]}, "scale must be [smallest, largest]"),
        ("tasks/mini_classification/recipe/batch_size", 1, "recipe.batch_size: 1 is not allowed"),
        ("teachers/mini_clip/training/recipe/augmentation", {"shift": 0.1}, "a teacher looks at pictures"),
        ("runs/mini_mcd/teacher", "mini_clip_random", "runs.mini_mcd.arm: 'mcd' does not go with teacher"),
        ("runs/mini_mcd_random_teacher/teacher", "mini_clip", "'random_teacher' does not go with teacher 'mini_clip'"),
    ],
)  # fmt: skip
def test_what_would_fail_later_is_told_at_once(values, path, value, message):
    *parents, key = [7 if part == "7" else part for part in path.split("/")]
    block = values
    for parent in parents:
        block = block[parent]
    block[key] = value
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    assert message in str(caught.value)
    assert "Value error" not in str(caught.value)


def test_blocks_must_be_named_blocks(values):
    values["runs"] = ["mini_mcd"]
    with pytest.raises(ConfigError, match=r"runs: .* is not allowed: must be named blocks"):
        read_config(values)


@pytest.fixture
def with_clouds(values):
    """The shipped config with a dataset that comes as points, and tasks on it beside those on meshes."""
    values["datasets"]["clouds"] = {"kind": "modelnet_h5", "folder": "mn40", "protocol": "mn40/h5-2048-first1024"}
    values["datasets"]["rooms"] = {"kind": "semantickitti", "folder": "a", "protocol": "semantickitti/seq08-all"}
    values["datasets"]["clouds"]["exclude_duplicates_of"] = ["lpsb"]  # whatever has single shapes can be compared
    values["tasks"]["clouds_probe"] = {"kind": "linear_probe", "dataset": "clouds"}
    learn = {**values["tasks"]["mini_classification"], "dataset": "clouds"}
    values["tasks"]["clouds_classification"] = learn
    values["suites"]["clouds"] = {
        "runs": ["mini_scratch", "mini_mcd"],
        "tasks": ["clouds_probe", "clouds_classification"],
        "seeds": [0],
    }
    return values


def test_scratch_and_transfer_runs_may_be_judged_on_points(with_clouds):
    assert read_config({**with_clouds, "suite": "clouds"}).chosen.runs == ("mini_scratch", "mini_mcd")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("runs/mini_mcd/dataset", "clouds", "'clouds' (kind 'modelnet_h5') comes as points, and rig 'ring6_64px'"),
        ("teachers/mini_clip/training/dataset", "clouds", "teachers.mini_clip.training.dataset: 'clouds' (kind"),
        ("suites/clouds/runs", ["mini_joint_mcd"], "'mini_joint_mcd' is joint, its task's: 'clouds' (kind"),
        ("datasets/clouds/scan", {"num_views": 1}, "datasets.clouds.scan: kind 'modelnet_h5' comes as points; a scan"),
        ("datasets/clouds/exclude_duplicates_of", ["rooms"], "clouds.exclude_duplicates_of: 'rooms' has scenes"),
        ("datasets/rooms/exclude_duplicates_of", ["psb"], "rooms.exclude_duplicates_of: 'rooms' has scenes; only"),
        ("datasets/clouds/protocol", "mn40", "datasets.clouds.protocol: 'mn40' is not allowed: with this block's"),
        ("datasets/clouds/num_points", 512, "it is 'mn40/h5-2048-first512', or begins with 'mn40/h5-2048-first512/'"),
        ("datasets/clouds/num_points", 4096, "datasets.clouds.num_points: 4096 is not allowed"),
        ("datasets/clouds/subsample", "random", "it is 'mn40/h5-2048-random1024'"),
        ("datasets/clouds/keep_coordinates", True, "it is 'mn40/h5-2048-first1024-raw'"),
        ("datasets/clouds", {"kind": "scanobjectnn", "folder": "a", "protocol": "sonn"}, "datasets.clouds.variant: "),
        ("datasets/clouds", {"kind": "shapenet_part", "folder": "a", "archive": "a.zip"}, "unpack 'a.zip' into"),
    ],
)  # fmt: skip
def test_what_needs_meshes_or_another_protocol_is_told_in_one_line(with_clouds, path, value, message):
    *parents, key = path.split("/")
    block = with_clouds
    for parent in parents:
        block = block[parent]
    block[key] = value
    with pytest.raises(ConfigError) as caught:
        read_config(with_clouds)
    assert sum(message in line for line in str(caught.value).splitlines()) == 1


@pytest.fixture
def with_splats(with_clouds):
    """The same, with rigs that draw points, and runs on their pictures: of points, and of a dataset with meshes."""
    with_clouds["rigs"]["discs"] = {"kind": "points"}
    with_clouds["rigs"]["ranges"] = {"kind": "points", "picture": "depth"}
    of_points = {**with_clouds["runs"]["mini_mcd"], "dataset": "clouds", "rig": "discs"}
    with_clouds["runs"]["clouds_mcd_splats"] = of_points
    with_clouds["runs"]["mini_mcd_depth"] = {**with_clouds["runs"]["mini_mcd"], "rig": "ranges"}
    with_clouds["runs"]["joint-splats"] = {**with_clouds["runs"]["mini_joint_mcd"], "rig": "discs"}
    with_clouds["suites"]["splats"] = {
        "runs": ["clouds_mcd_splats", "mini_mcd_depth"],
        "tasks": ["mini_linear_probe"],
        "seeds": [0],
    }
    with_clouds["suites"]["clouds"]["runs"] += ["mini_mcd_depth", "joint-splats"]
    return with_clouds


def test_rigs_that_draw_points_serve_every_dataset(with_splats):
    for suite in ("splats", "clouds"):
        assert read_config({**with_splats, "suite": suite}).chosen.seeds == (0,)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("runs/mini_mcd/rig", "discs", "runs.mini_mcd: its pictures (rig 'discs') are splats, and its name must have"),
        ("runs/mini_mcd/rig", "ranges", "must have that word, as mini_mcd_depth has"),
        ("runs/mini_mcd_depth/rig", "discs", "runs.mini_mcd_depth: its pictures (rig 'discs') are splats"),
        ("runs/mini_mcd_depth/rig", "ring6_64px", "the word 'depth' in its name says what pictures show, and its"),
        ("runs/depth_scratch", {"student": "pointnet"}, "runs.depth_scratch: the word 'depth' in its name says what"),
        ("runs/depthless_scratch", {"student": "pointnet"}, None),
        ("teachers/mini_clip/training/rig", "discs", "teachers.mini_clip: its pictures (rig 'discs') are splats"),
        ("runs/clouds_mcd_splats/rig", "ring6_64px", "name a rig that draws points (splats6_64px, depth6_64px, "),
        ("runs/clouds_mcd_splats/rig", "none", "runs.clouds_mcd_splats.rig: there is no block 'none' in rigs"),
    ],
)  # fmt: skip
def test_what_pictures_show_stands_in_the_name(with_splats, path, value, message):
    *parents, key = path.split("/")
    block = with_splats
    for parent in parents:
        block = block[parent]
    block[key] = value
    if message is None:
        read_config(with_splats)
        return
    with pytest.raises(ConfigError) as caught:
        read_config(with_splats)
    assert sum(message in line for line in str(caught.value).splitlines()) == 1


def test_a_student_learns_from_clouds_of_one_length(with_splats):
    with_splats["datasets"]["rooms"] = {"kind": "semantickitti", "folder": "a", "protocol": "a"}
    with_splats["runs"]["clouds_mcd_splats"]["dataset"] = "rooms"
    with pytest.raises(ConfigError, match=r"'rooms' has clouds of any length \(subsample: all\)"):
        read_config(with_splats)


@pytest.fixture
def with_stored_order(with_clouds):
    """A student that takes first points as centres, distilled and judged on sets that are stored in that order."""
    with_clouds["students"]["quick"] = {"kind": "pointnet2", "centres": "first"}
    for run in ("mini_scratch", "mini_mcd"):
        with_clouds["runs"][f"{run}_quick"] = {**with_clouds["runs"][run], "student": "quick"}
    with_clouds["suites"]["clouds"]["runs"] = ["mini_scratch_quick", "mini_mcd_quick", "mini_scratch"]
    for dataset in (with_clouds["runs"]["mini_mcd"]["dataset"], "clouds"):
        with_clouds["datasets"][dataset]["order"] = "farthest_first"
    return with_clouds


def test_every_student_takes_clouds_in_farthest_point_order(with_stored_order):
    assert read_config({**with_stored_order, "suite": "clouds"}).students["quick"].centres == "first"


def test_first_points_as_centres_need_clouds_in_that_order(with_stored_order):
    distilled = with_stored_order["runs"]["mini_mcd"]["dataset"]
    for dataset in (distilled, "clouds"):
        del with_stored_order["datasets"][dataset]["order"]
    with pytest.raises(ConfigError) as caught:
        read_config(with_stored_order)
    told = "student 'quick' takes the first points as centres (centres: first), and dataset"
    lines = [line.strip() for line in str(caught.value).splitlines() if told in line]
    assert [line.split(": ")[0] for line in lines] == ["runs.mini_mcd_quick.dataset"] + ["suites.clouds.runs"] * 2
    assert f"dataset {distilled!r} is stored as sampled; say order: farthest_first" in lines[0]
    assert "'mini_scratch_quick' and its task's dataset" in lines[1] and "dataset 'clouds'" in lines[1]


def test_a_task_of_some_runs_asks_no_order_of_others(with_stored_order):
    """mini_scratch alone meets the set that is stored as sampled."""
    with_stored_order["datasets"]["more"] = {**with_stored_order["datasets"]["clouds"], "order": "sampled"}
    with_stored_order["tasks"]["more_probe"] = {"kind": "linear_probe", "dataset": "more"}
    tasks = with_stored_order["suites"]["clouds"]["tasks"]
    tasks.append({"task": "more_probe", "runs": ["mini_scratch"]})
    read_config(with_stored_order)
    tasks[-1] = "more_probe"
    with pytest.raises(ConfigError, match=r"'mini_scratch_quick' and its task's dataset: student 'quick'.*'more'"):
        read_config(with_stored_order)


def test_one_name_of_a_protocol_means_one_thing(values):
    fewer = {**values["datasets"]["nano_shapes"], "num_points": 64}
    values["datasets"]["fewer_shapes"] = fewer
    values["tasks"]["fewer_retrieval"] = {"kind": "retrieval", "dataset": "fewer_shapes"}
    suite = {"runs": ["nano_scratch"], "tasks": ["nano_retrieval", "fewer_retrieval"], "seeds": [0]}
    values["suites"]["mixed"] = suite
    num_points = values["datasets"]["nano_shapes"]["num_points"]
    with pytest.raises(ConfigError, match=rf"procedural/nano/transfer', and differ in num_points {num_points} and 64"):
        read_config(values)
    fewer["protocol"] = "procedural/nano-64"
    read_config(values)
