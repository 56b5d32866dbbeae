"""Semantic segmentation of scenes: blocks averaged as a slow reference has it, what is learnt, what is judged."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.manifest import write_manifest
from pointlift.contracts.scenes import Scene
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, write_stage
from pointlift.datasets.ingest import load_points_shard, manifest_rows
from pointlift.operators.student_output import StudentOutput
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.point_classifier import PointClassifier
from pointlift.tasks.scene_blocks import cut_pieces
from pointlift.tasks.scenes import PointPredictions, read_point_predictions, read_scenes
from pointlift.tasks.semantic_segmentation import Settings, build, clipped
from scene_layouts import S3DIS_CLASSES, write_s3dis
from tasks.toy_scenes import SEMANTIC_NAMES, write_scenes

RECIPE = {"epochs": 1, "batch_size": 2, "learning_rate": 0.01}


def settings(**changes):
    block = {"kind": "semantic_segmentation", "dataset": "d", "recipe": RECIPE, "num_points": 16, "head_widths": [8]}
    return parse(Settings, block | changes, "task")


def student(kind, **values):
    module = rooms.load("students", kind)
    return module.build(parse(module.Settings, {"kind": kind, **values}, "student"))


def pointnet():
    return student("pointnet", widths=[8, 8], input_transform=False, feature_transform=False)


def room(count=700, extent=(5.0, 3.0, 2.0), seed=0, num_classes=5):
    rng = np.random.default_rng(seed)
    points = (rng.random((count, 3)) * extent).astype(np.float32)
    return Scene("room", points, {"semantic_label": rng.integers(-1, num_classes, count).astype(np.int16)})


class Places(nn.Module):
    """Tokens are the places themselves: what a point is called hangs on where it stands in its block alone."""

    width = token_width = 3

    def forward(self, points_BN3):
        index = torch.arange(points_BN3.shape[1]).expand(points_BN3.shape[:2])
        return StudentOutput(points_BN3.mean(dim=1), points_BN3, points_BN3, index, {})


# ---- one answer a point ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, None])
def test_a_points_answer_is_the_mean_over_the_blocks_it_stands_in(size):
    """Against loops in float64 that know blocks from their definition, not from the code."""
    scene = room(200)
    chosen = settings(block_size=size, unit=0.5, head_widths=[], read_embedding=False)
    model = PointClassifier(Places(), 5, chosen).eval()
    weight, bias = (part.detach().double().numpy() for part in (model.head.scores.weight, model.head.scores.bias))
    places = scene.points.astype(np.float64)
    low, high = places[:, :2].min(axis=0), places[:, :2].max(axis=0)
    if size is None:
        blocks = [((low + high) / 2, np.ones(len(places), dtype=bool))]
    else:
        edges = [[*np.arange(low[axis], high[axis] - 1.0, 0.5), high[axis] - 1.0] for axis in (0, 1)]
        blocks = []
        for edge in ([x, y] for x in edges[0] for y in edges[1]):
            inside = ((places[:, :2] >= edge) & (places[:, :2] <= np.array(edge) + 1.0 + 1e-12)).all(axis=1)
            blocks.append((np.array(edge) + 0.5, inside))
    wanted = np.zeros((len(places), 5))
    for number, place in enumerate(places):
        votes = []
        for centre, inside in blocks:
            if inside[number]:
                scores = weight @ ((place - [*centre, places[inside, 2].min()]) / 0.5) + bias
                votes.append(np.exp(scores) / np.exp(scores).sum())
        wanted[number] = np.mean(votes, axis=0)
    found = model.probabilities(scene)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.answer(scene), found.argmax(axis=1))


@pytest.mark.parametrize("at_once", [1, 48, 1 << 15])
def test_batches_of_pieces_make_no_difference(at_once, monkeypatch):
    """A student whose answers hang on all points it is given, piece by piece in float64 beside it."""
    monkeypatch.setattr("pointlift.tasks.point_classifier._POINTS_AT_ONCE", at_once)
    scene, chosen = room(), settings(block_size=1.5)
    model = PointClassifier(pointnet(), 5, chosen).eval()
    total, votes = np.zeros((700, 5)), np.zeros((700, 1))
    for piece in cut_pieces(scene, chosen):
        with torch.no_grad():
            scores = model.logits(torch.from_numpy(piece.points)[None])[0].double().numpy()
        for row, score in zip(piece.rows, scores, strict=False):
            total[row] += np.exp(score) / np.exp(score).sum()
            votes[row] += 1
    np.testing.assert_allclose(model.probabilities(scene), total / votes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("pointnet", {"widths": [8, 8], "input_transform": False, "feature_transform": False}),
        ("sparse_unet", {"architecture": "resnet8", "voxel_size": 0.2}),
        ("point_transformer", {"num_groups": 4, "group_size": 4}),
    ],
)
def test_any_student_answers_every_point_and_learns_from_the_head(kind, values):
    scene, chosen = room(90), settings(block_size=2.0)
    model = PointClassifier(student(kind, **values), 5, chosen)
    points = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0))
    label = torch.arange(32).reshape(2, 16) % 5
    model({"points": points, "semantic_label": label})["task_loss"].backward()
    assert all(part.grad is not None and part.grad.any() for part in model.head.parameters())
    assert any(part.grad is not None and part.grad.any() for part in model.student.parameters())
    found = model.eval().probabilities(scene)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    assert model.probabilities(scene).tobytes() == found.tobytes()


def test_behind_a_u_net_the_head_may_be_one_linear_layer():
    net = student("sparse_unet", architecture="resnet8", voxel_size=0.2)
    head = PointClassifier(net, 13, settings(head_widths=[], read_embedding=False)).head
    assert sum(part.numel() for part in head.parameters()) == 13 * (net.token_width + 1)
    points = torch.randn(2, 30, 3)
    output = net.eval()(points)
    torch.testing.assert_close(head(output, points), output.tokens @ head.scores.weight.T + head.scores.bias)


def test_with_the_embedding_a_linear_layer_reads_both():
    head = PointClassifier(Places(), 4, settings(head_widths=[])).head
    points = torch.randn(2, 30, 3)
    output = Places()(points)
    both = torch.cat([output.tokens, output.embedding[:, None].expand(-1, 30, -1)], dim=2)
    torch.testing.assert_close(head(output, points), both @ head.scores.weight.T + head.scores.bias)


def test_points_without_a_class_teach_nothing():
    model = PointClassifier(Places(), 4, settings()).eval()
    points, label = torch.randn(2, 16, 3), torch.randint(0, 4, (2, 16))
    label[:, 5:] = -1
    values = model({"points": points, "semantic_label": label})
    scores = model.logits(points)[:, :5]
    wanted = nn.functional.cross_entropy(scores.flatten(0, 1), label[:, :5].flatten())
    torch.testing.assert_close(values["task_loss"], wanted)
    right = (scores.argmax(dim=2) == label[:, :5]).float().mean()
    torch.testing.assert_close(values["train_point_accuracy"], right)
    none = model({"points": points, "semantic_label": torch.full((2, 16), -1)})
    assert none["task_loss"] == 0.0 and none["train_point_accuracy"] == 0.0
    none["task_loss"].backward()


# ---- what is judged --------------------------------------------------------------------------------------------------


def predictions(labelled, hits, answered, split, names=("a", "b")):
    arrays = {"epoch": np.arange(len(hits)), "split": np.array(split, np.uint8)}
    given = {"labelled": labelled, "hits": hits, "answered": answered}
    arrays |= {name: np.array(array, np.int32) for name, array in given.items()}
    return PointPredictions(tuple(f"s{row}" for row in range(len(split))), arrays, 7, names)


def values_of(judgement):
    return {(value.metric, value.selection): value.value for value in judgement.values}


#: Two epochs of a val scene and two test scenes, ten points of each class in all but the last, which has none of b.
TWO_EPOCHS = predictions(
    labelled=[[10, 10], [10, 10], [20, 0]],
    hits=[[[10, 10], [10, 0], [20, 0]], [[5, 5], [10, 10], [10, 0]]],
    answered=[[[10, 10], [20, 0], [20, 0]], [[10, 10], [10, 10], [10, 10]]],
    split=[1, 2, 2],
)


def test_scores_are_over_the_points_of_all_test_scenes_of_the_last_epoch_and_of_that_best_on_val():
    found = build(settings()).evaluate(TWO_EPOCHS)
    assert values_of(found) == pytest.approx(
        {
            ("mean_iou", "last"): (20 / 30 + 10 / 20) / 2,
            ("mean_class_accuracy", "last"): (20 / 30 + 1) / 2,
            ("point_accuracy", "last"): 30 / 40,
            ("scene_mean_iou", "last"): (1 + (10 / 20 + 0) / 2) / 2,
            ("mean_iou", "val"): (30 / 40 + 0) / 2,
            ("mean_class_accuracy", "val"): (1 + 0) / 2,
            ("point_accuracy", "val"): 30 / 40,
            ("scene_mean_iou", "val"): ((10 / 20 + 0) / 2 + 1) / 2,
        }
    )
    assert found.values[0].metric == "mean_iou" and (found.n_train, found.test_ids) == (7, ("s1", "s2"))
    assert found.outcomes["scene_mean_iou"] == (1.0, 0.25) and found.items["scene_mean_iou"] == ("s1", "s2")
    assert found.outcomes["class_iou"] == pytest.approx((20 / 30, 10 / 20)) and found.items["class_iou"] == ("a", "b")


def test_classes_that_never_occur_and_scenes_without_labels_stand_in_no_table():
    given = predictions([[5, 0, 0], [0, 0, 0]], [[[3, 0, 0], [0, 0, 0]]], [[[3, 0, 2], [0, 0, 0]]], [2, 2], "abc")
    found = build(settings()).evaluate(given)
    assert values_of(found)["mean_iou", "last"] == pytest.approx((3 / 5 + 0) / 2)
    assert found.items == {"scene_mean_iou": ("s0",), "class_iou": ("a", "c")}
    assert {selection for _, selection in values_of(found)} == {"last"}, "no val scene, no val epoch"


def test_a_test_split_without_labels_is_an_error():
    with pytest.raises(ArtifactError, match="no point of the test scenes"):
        build(settings()).evaluate(predictions([[0, 0]], [[[0, 0]]], [[[0, 0]]], [2]))


def test_the_authors_protocol_is_their_score_at_the_epoch_best_on_test():
    """13 classes at IoU 0.60 in the first epoch are (13 * 0.60 + 1) / 14 = 0.628571; the last epoch is worse."""
    given = predictions(
        [[80] * 13], [[[60] * 13], [[40] * 13]], [[[80] * 13], [[80] * 13]], [2], tuple("abcdefghijklm")
    )
    found = build(settings(protocol="image2point_authors")).evaluate(given)
    assert [(value.metric, value.selection) for value in found.values] == [("mean_iou_compat", "oracle_test")]
    assert found.values[0].value == pytest.approx(0.628571, abs=1e-6)
    assert values_of(build(settings()).evaluate(given))["mean_iou", "last"] == pytest.approx(40 / 120)


def test_settings_that_would_leave_points_out_or_mix_tables_are_refused():
    assert (settings().stride(), settings(block_stride=0.7).stride(), settings(block_size=None).stride()) == (
        0.5,
        0.7,
        0,
    )
    for wrong in ({"block_stride": 1.1}, {"block_size": None, "block_stride": 0.5}, {"protocol": "pointmcd_authors"}):
        with pytest.raises(ConfigError, match=r"block_stride|protocol"):
            settings(**wrong)
    assert settings(compat_clip=True).protocol_words() == ("clip4m",)
    both = settings(compat_clip=True, protocol="image2point_authors")
    assert both.protocol_words() == ("image2point_authors", "clip4m") and settings().protocol_words() == ()


def test_a_head_that_could_tell_no_points_apart_or_label_nothing_is_refused():
    with pytest.raises(ConfigError, match="points of a PointNet apart"):
        PointClassifier(pointnet(), 5, settings(read_tokens=False))
    with pytest.raises(ConfigError, match="label of 5 classes"):
        PointClassifier(pointnet(), 5, settings(label_smoothing=0.85))


# ---- through training and judgement ----------------------------------------------------------------------------------


def finetuned(task, net, scenes, folder, seed=0, arm="scratch", **said):
    torch.manual_seed(0)
    finetuning = Finetuning(task, net(), scenes, seed=seed)
    finetuning.run(FinetuneSettings(run="r", student={}, task={}, arm=arm, form="transfer", seed=seed, **said), folder)
    finetuning.save_predictions(folder / "predictions.safetensors")
    return finetuning


@pytest.fixture
def toy(tmp_path):
    return write_scenes(tmp_path, {"a": "train", "b": "train", "c": "train", "v": "val", "s": "test", "t": "test"})


def test_floor_wall_and_chair_are_learnt(toy, tmp_path):
    recipe = {"epochs": 12, "batch_size": 4, "learning_rate": 0.02}
    task = build(settings(block_size=1.5, num_points=64, crops_per_scene=16, recipe=recipe, head_widths=[16]))
    finetuned(task, pointnet, read_scenes(*toy), tmp_path)
    found = read_point_predictions(toy[0], tmp_path / "predictions.safetensors")
    assert found.semantic_names == SEMANTIC_NAMES and found.num_train == 3
    assert found.arrays["labelled"].tolist() == [[100, 100, 100]] * 3
    assert found.arrays["answered"].sum(axis=2).tolist() == [[300] * 3] * len(found.arrays["epoch"])
    values = values_of(task.evaluate(found))
    assert values["mean_iou", "last"] > 0.6, "chance is 1/5"
    assert '"val_mean_iou"' in (tmp_path / "history.jsonl").read_text().splitlines()[-1]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(toy, tmp_path):
    task, made = build(settings(block_size=1.5, crops_per_scene=2)), {}
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        finetuning = finetuned(task, pointnet, read_scenes(*toy), tmp_path / name, seed=seed)
        weights = b"".join(part.numpy().tobytes() for part in finetuning.model.state_dict().values())
        made[name] = weights + (tmp_path / name / "predictions.safetensors").read_bytes()
    assert made["one"] == made["again"] != made["other"]


@pytest.mark.parametrize("regime", ["io", "ioms", "io_bn"])
def test_a_u_net_is_trained_under_a_regime(regime, toy, tmp_path):
    """What the regime keeps is held to its hashes by the run itself."""
    task = build(settings(block_size=1.5, head_widths=[], read_embedding=False))
    net = lambda: student("sparse_unet", architecture="resnet8", voxel_size=0.2)  # noqa: E731
    torch.manual_seed(0)
    before = net().state_dict()
    finetuning = finetuned(task, net, read_scenes(*toy), tmp_path, arm=regime, regime=regime, recalibrate=True)
    after = finetuning.model.student.state_dict()
    same = {name: torch.equal(part, after[name]) for name, part in before.items()}
    assert same["layer1.0.conv1.weight"] and not any(
        same[name] for name in ("stem.0.0.weight", "decoder.0.up.0.weight")
    )


def test_what_was_counted_is_not_read_again(toy):
    task, scenes = build(settings(block_size=1.5)), read_scenes(*toy)
    model = task.model(pointnet(), scenes, None).eval()
    rows = scenes.rows("val", "test")
    looked = task.look(model, scenes, rows)
    watched = task.watched(looked, scenes, rows, np.array([True, False, False]))
    labelled = task.constant_arrays(scenes, rows)["labelled"]
    assert labelled is task.constant_arrays(scenes, rows)["labelled"] and labelled.dtype == np.int32
    iou = looked["hits"][0] / (labelled[0] + looked["answered"][0] - looked["hits"][0])
    assert watched == {"val_mean_iou": pytest.approx(iou.mean())}


def test_perfect_answers_score_one(toy):
    class Knowing(nn.Module):
        def answer(self, scene):
            return scene.arrays["semantic_label"].astype(np.int64)

    task, scenes = build(settings()), read_scenes(*toy)
    rows = scenes.rows("val", "test")
    arrays = {name: array[None] for name, array in task.look(Knowing(), scenes, rows).items()}
    arrays |= task.constant_arrays(scenes, rows) | {"epoch": np.arange(1), "split": scenes.split[rows]}
    found = task.evaluate(PointPredictions(tuple(scenes.ids[row] for row in rows), arrays, 3, SEMANTIC_NAMES))
    assert set(values_of(found).values()) == {1.0}


def test_a_dataset_without_classes_is_refused(toy):
    scenes = read_scenes(*toy)
    scenes.semantic_names = ()
    with pytest.raises(ConfigError, match="no semantic labels"):
        build(settings()).model(pointnet(), scenes, None)


def test_the_authors_clip_leaves_points_of_large_rooms_out(toy):
    large = room(4000, (20.0, 5.0, 3.0))
    kept = clipped(large, 4.0)
    centre = large.points.astype(np.float64).mean(axis=0)
    inside = (np.abs(large.points - centre) <= 4.0).all(axis=1)
    assert 0.3 < inside.mean() < 0.5 and kept.points.tolist() == large.points[inside].tolist()
    assert kept.arrays["semantic_label"].tolist() == large.arrays["semantic_label"][inside].tolist()
    scenes, rows = read_scenes(*toy), np.array([4])
    scenes.load = lambda row: large
    scenes.semantic_names = tuple("abcde")
    whole, cut = (build(settings(compat_clip=clip)) for clip in (False, True))
    labelled = (large.arrays["semantic_label"] >= 0) & inside
    assert whole.constant_arrays(scenes, rows)["labelled"].sum() == (large.arrays["semantic_label"] >= 0).sum()
    assert cut.constant_arrays(scenes, rows)["labelled"].sum() == labelled.sum()
    model = cut.model(pointnet(), scenes, None).eval()
    assert cut.look(model, scenes, rows)["answered"].sum() == labelled.sum()


def test_a_room_that_the_clip_leaves_empty_has_no_answers(toy):
    """A ring: nothing is near its middle."""
    angle = np.linspace(0, 6, 50)
    ring = np.stack([9 * np.cos(angle), 9 * np.sin(angle), 0 * angle], axis=1).astype(np.float32)
    scenes = read_scenes(*toy)
    scenes.load = lambda row: Scene("ring", ring, {"semantic_label": np.zeros(50, np.int16)})
    task = build(settings(compat_clip=True))
    looked = task.look(task.model(pointnet(), scenes, None).eval(), scenes, np.array([4]))
    assert (
        looked["answered"].tolist() == [[0, 0, 0]] == task.constant_arrays(scenes, np.array([4]))["labelled"].tolist()
    )


# ---- real layouts ----------------------------------------------------------------------------------------------------


def shards_of(kind, block, folder, made):
    """Manifest and one shard of a dataset, as read_points and build_manifest write them."""
    module = rooms.load("datasets", kind)
    chosen = parse(module.Settings, {"kind": kind, "protocol": "test/one", "folder": "x", **block}, "block")
    dataset = module.build(chosen, folder)
    arrays, attributes = load_points_shard(dataset, dataset.ids, chosen)
    write_stage(made / "0000.safetensors", "points", dataset.ids, arrays, **attributes)
    write_manifest(made / "manifest.csv", manifest_rows([("0000", read_stage(made / "0000.safetensors", "points"))]))
    return made / "manifest.csv", [made / "0000.safetensors"]


def test_rooms_in_the_layout_of_s3dis_go_through_training_and_judgement(tmp_path):
    paths = shards_of("s3dis", {"partial": True}, write_s3dis(tmp_path).parent, tmp_path)
    scenes = read_scenes(*paths)
    task = build(settings(block_size=1.0, num_points=32, crops_per_scene=2))
    finetuned(task, pointnet, scenes, tmp_path)
    found = read_point_predictions(paths[0], tmp_path / "predictions.safetensors")
    assert found.semantic_names == tuple(S3DIS_CLASSES) and found.num_train == 3
    assert found.ids == ("Area_5/hallway_6", "Area_5/office_1")
    sizes = [len(scenes.load(int(row)).points) for row in scenes.rows("test")]
    assert found.arrays["answered"].sum(axis=2).tolist() == [sizes] and sizes == [246, 246], "no point is left out"
    judgement = task.evaluate(found)
    assert 0.0 <= judgement.values[0].value < 0.5 and "chair" in judgement.items["class_iou"]


@pytest.mark.realdata
def test_a_real_scan_is_trained_on_and_all_its_points_are_answered(realdata, tmp_path):
    """The one scan is train twice and test once here: what is tested is the way, not what is learnt."""
    sample = realdata / "semantickitti" / "spvnas_sample"
    for place in ("00", "08"):
        for part, ending in (("velodyne", "bin"), ("labels", "label")):
            (tmp_path / "sequences" / place / part).mkdir(parents=True)
            (tmp_path / "sequences" / place / part / f"000000.{ending}").symlink_to(sample / f"000000.{ending}")
    paths = shards_of("semantickitti", {"partial": True}, tmp_path, tmp_path)
    scenes = read_scenes(*paths)
    changes = {"block_size": 20.0, "block_stride": 20.0, "num_points": 4096, "crops_per_scene": 4}
    task = build(settings(head_widths=[], read_embedding=False, **changes))
    net = lambda: student("sparse_unet", architecture="resnet8", voxel_size=0.4)  # noqa: E731
    finetuning = finetuned(task, net, scenes, tmp_path)
    assert finetuning.data.num_batches(2) == 2, "two steps"
    found = read_point_predictions(paths[0], tmp_path / "predictions.safetensors")
    assert len(scenes.load(1).points) == 123_389
    assert finetuning.model.probabilities(scenes.load(1)).shape == (123_389, 19)
    ignored = 4458 + 5 + 809 + 1652
    assert found.arrays["answered"].sum() == found.arrays["labelled"].sum() == 123_389 - ignored
    assert found.arrays["labelled"][0, found.semantic_names.index("road")] == 20975
    assert 0.0 < task.evaluate(found).values[0].value < 0.5


LARGE_ROOM = """
    import numpy as np, torch
    from tasks.test_semantic_segmentation import PointClassifier, Scene, pointnet, settings
    def kilobytes(name):
        return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])
    torch.set_num_threads(1)
    points = np.random.default_rng(0).random((2_000_000, 3), dtype=np.float32) * np.array([20, 12, 3], np.float32)
    model = PointClassifier(pointnet(), 13, settings(num_points=4096, block_size=2.0)).eval()
    before = kilobytes("VmRSS")
    answer = model.answer(Scene("hall", points, {}))
    assert answer.shape == (2_000_000,)
    print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process its peak memory")
def test_a_room_of_two_million_points_is_answered_in_little_memory(repository):
    program = [sys.executable, "-c", textwrap.dedent(LARGE_ROOM)]
    environment = {"PYTHONPATH": f"{repository / 'workflow_scripts'}:{repository / 'tests'}", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert 100_000 < int(ran.stdout) < 2 * 1024 * 1024, "kilobytes: at least the probabilities, less than 2 GiB"
