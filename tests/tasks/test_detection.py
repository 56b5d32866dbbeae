"""Detection: what its settings allow, what a scene becomes in training, and how answers are judged."""

import math

import numpy as np
import pytest

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.scenes import Scene
from pointlift.geometry.boxes import count_inside, points_inside, volumes
from pointlift.tasks.box_augmentation import augment_scene, cut_cuboid
from pointlift.tasks.detection import BoxAugmentation, build
from pointlift.tasks.detection_batches import DetectionBatches, draw_points, padded
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.scenes import BoxPredictions
from tasks.detection_cases import NAMES, RECIPE, Rooms, room, settings, student

ORIENTED = pytest.mark.parametrize("oriented", [False, True])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recipe": {**RECIPE, "augmentation": {"rotation": "up"}}}, r"recipe\.augmentation would move"),
        ({"label_smoothing": 0.1}, "label_smoothing is not read"),
        ({"decoder_width": 33}, "must be even and a multiple"),
        ({"decoder_heads": 5}, "multiple of decoder_heads"),
        ({"augmentation": {"scale": [1.1, 0.9]}}, "smallest, largest"),
        ({"evaluation_seeds": 0}, "evaluation_seeds"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(changed, message):
    with pytest.raises(ConfigError, match=message):
        settings(**changed)


def test_the_protocol_says_how_many_points_are_seen():
    assert settings(num_points=20000).protocol_words() == ("points20000",)


@ORIENTED
@pytest.mark.parametrize("seed", range(12))
def test_what_a_box_held_it_holds(oriented, seed):
    points, boxes, _ = room(seed, oriented)
    points, boxes = points + 10.0, boxes + np.array([10, 10, 10, 0, 0, 0, 0], dtype=np.float32)
    boxes[:, 3:6] *= 1.001  # what lies on a face may be rounded out of it
    wild = BoxAugmentation(rotation_degrees=180.0, scale=(0.5, 2.0))
    moved, found = augment_scene(points, boxes, wild, np.random.default_rng(seed), oriented=oriented)
    before, after = points_inside(points, boxes), points_inside(moved, found)
    assert (after >= before).all() and before.any(axis=1).all()
    assert moved.dtype == found.dtype == np.float32 and np.abs(found[:, 6]).max() <= math.pi + 1e-6
    if oriented:
        assert np.array_equal(after, before)
        ratio = volumes(found) / volumes(boxes)
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    else:
        assert not found[:, 6].any()


@pytest.mark.parametrize(("flips", "heading"), [(["x"], math.pi - 0.4), (["y"], -0.4), (["x", "y"], 0.4 - math.pi)])
def test_a_mirrored_heading_by_hand(flips, heading):
    points = np.array([[0, 0, 0], [2, 2, 2], [0.9, 0.1, 0]], dtype=np.float32)
    boxes = np.array([[0.5, 1.5, 1.0, 0.6, 0.2, 0.4, 0.4]], dtype=np.float32)
    still = BoxAugmentation(flip_x="x" in flips, flip_y="y" in flips, rotation_degrees=0.0, scale=(1.0, 1.0))
    seen = set()
    for seed in range(40):
        moved, found = augment_scene(points, boxes, still, np.random.default_rng(seed), oriented=True)
        seen.add(round(float(found[0, 6]), 4))
        if found[0, 6] == pytest.approx(heading):
            wanted = [1.5 if "x" in flips else 0.5, 0.5 if "y" in flips else 1.5, 1.0, 0.6, 0.2, 0.4, heading]
            np.testing.assert_allclose(found[0], wanted, atol=1e-6)
            turned = [2 - 0.9 if "x" in flips else 0.9, 2 - 0.1 if "y" in flips else 0.1, 0.0]
            np.testing.assert_allclose(moved[2], turned, atol=1e-6)
    assert round(heading, 4) in seen and 0.4 in seen and len(seen) == 2 ** len(flips)


def test_a_cuboid_holds_enough_points_and_the_middle_of_a_box():
    cut = 0
    for seed in range(20):
        points, boxes, _ = room(seed, False)
        inside, kept = cut_cuboid(points, boxes, 60, np.random.default_rng(seed))
        assert inside.sum() >= 60 and kept.any()
        low, high = points[inside].min(axis=0), points[inside].max(axis=0)
        assert ((points >= low) & (points <= high)).all(axis=1).sum() == inside.sum()
        cut += not inside.all()
    assert cut > 10
    inside, kept = cut_cuboid(points, boxes, len(points), np.random.default_rng(0))
    assert inside.all() and kept.all()
    assert cut_cuboid(points, np.zeros((0, 7)), 60, np.random.default_rng(0))[0].sum() >= 60


def test_points_are_drawn_without_repeats_while_there_are_enough():
    points = np.arange(30).reshape(10, 3)
    assert len(np.unique(draw_points(points, 10, "a", 1), axis=0)) == 10
    more = draw_points(points, 25, "a", 1)
    assert np.unique(more, axis=0, return_counts=True)[1].tolist().count(2) == 5
    assert np.array_equal(more, draw_points(points, 25, "a", 1))
    assert not np.array_equal(more, draw_points(points, 25, "a", 2))


def test_no_scene_and_scenes_without_boxes_are_filled_up():
    none = np.zeros((0, 7), dtype=np.float32)
    for count in (0, 2):
        boxes, label = padded([none] * count, [none[:, 0]] * count)
        assert boxes.shape == (count, 1, 7) and label.shape == (count, 1) and (label == -1).all()


@ORIENTED
def test_batches_are_of_scenes_shard_by_shard_and_the_same_again(oriented):
    given = Rooms(8, oriented)
    data = build(settings(oriented=oriented)).training_data(given, np.arange(6), 0)
    assert isinstance(data, DetectionBatches) and len(data) == 6 and data.num_batches(4) == 1
    epochs = [list(data.batches(epoch, 2, 0)) for epoch in (0, 0, 1)]
    assert given.read != sorted(given.read)
    for epoch in range(3):
        shards = np.array(given.read[6 * epoch : 6 * epoch + 6]) // 3
        assert (np.diff(shards) != 0).sum() == 1, "each shard once"
    for first, again, later in zip(*epochs, strict=True):
        assert set(first) == {"points", "boxes", "box_label", "index"}
        assert all(first[name].numpy().tobytes() == again[name].numpy().tobytes() for name in first)
        assert first["points"].numpy().tobytes() != later["points"].numpy().tobytes()
        for row, number in enumerate(first["index"].tolist()):
            own = first["box_label"][row] >= 0
            np.testing.assert_array_equal(first["box_label"][row][own], given.load(number).box_label)
            boxes = first["boxes"][row][own].numpy().astype(float)
            boxes[:, 3:6] *= 1.001
            assert (count_inside(first["points"][row].numpy(), boxes) > 5).all()
    again = [batch["index"].tolist() for batch in data.batches(1, 2, 0, start=2)]
    assert again == [batch["index"].tolist() for batch in epochs[2][2:]]
    assert (
        data.checksum()
        != build(settings(oriented=oriented, num_points=99)).training_data(given, np.arange(6), 0).checksum()
    )


def test_a_cuboid_takes_its_boxes_with_it():
    data = build(settings(augmentation={"cuboid": True}, num_points=60)).training_data(Rooms(8), np.arange(6), 0)
    counts = [(batch["box_label"] >= 0).sum().item() for epoch in range(4) for batch in data.batches(epoch, 2, 0)]
    whole = [
        (batch["box_label"] >= 0).sum().item()
        for batch in list(build(settings()).training_data(Rooms(8), np.arange(6), 0).batches(0, 2, 0))
    ]
    assert min(counts) >= 2 and sum(counts) < 4 * sum(whole)


def test_scenes_that_do_not_fit_the_settings_are_named():
    task = build(settings())
    with pytest.raises(ConfigError, match="have headings; say oriented: true"):
        task.constant_arrays(Rooms(oriented=True), np.arange(2))
    bare = Rooms()
    bare.scenes = [Scene(each.scene_id, each.points, {}) for each in bare.scenes]
    with pytest.raises(ConfigError, match=r"room[01] has no boxes"):
        next(task.training_data(bare, np.arange(2), 0).batches(0, 2, 0))
    bare.box_names = ()
    with pytest.raises(ConfigError, match="the dataset has no boxes"):
        task.model(student(), bare, None)


def predictions(given, oriented, epochs=2, seeds=3, wrong=()):
    """Answers that are the truth, but for ``wrong`` pairs of epoch and choice of points, which say other classes."""
    rows = given.rows("val", "test")
    truth, label = padded([given.load(row).boxes for row in rows], [given.load(row).box_label for row in rows])
    boxes = np.broadcast_to(truth, (epochs, seeds, *truth.shape)).copy()
    scores = np.zeros((epochs, seeds, *label.shape, len(NAMES)), dtype=np.float32)
    for at in np.ndindex(epochs, seeds, *label.shape):
        if label[at[2:]] >= 0:
            scores[(*at, (label[at[2:]] + (at[:2] in wrong)) % 3)] = 0.9
    arrays = {"epoch": np.arange(epochs), "boxes": boxes, "scores": scores, "truth": truth, "truth_label": label}
    arrays |= {"inside": np.full(boxes.shape[:-1], 50, dtype=np.int32), "split": given.split[rows]}
    return BoxPredictions(tuple(given.ids[row] for row in rows), arrays, 4, NAMES)


def values_of(judgement, selection):
    return {value.metric: value.value for value in judgement.values if value.selection == selection}


@ORIENTED
def test_perfect_answers_score_one(oriented):
    given = Rooms(oriented=oriented)
    found = build(settings(oriented=oriented)).evaluate(predictions(given, oriented))
    for selection in ("last", "val"):
        values = values_of(found, selection)
        assert all(values[f"{name}_{word}"] == 1.0 for name in ("map", "recall", "scene_recall") for word in (25, 50))
        assert values["map_25_sd"] == values["map_50_sd"] == 0.0
    assert found.values[0].metric == "map_25" and found.n_train == 4
    names = {NAMES[one] for one in given.load(5).box_label}
    assert set(found.items["class_ap_25"]) == names and found.outcomes["class_ap_25"] == (1.0,) * len(names)
    assert found.items["scene_recall_50"] == ("room5",)


def test_the_last_epoch_is_the_headline_and_seeds_are_spread():
    task, given = build(settings()), Rooms()
    found = task.evaluate(predictions(given, False, wrong={(1, 0)}))
    assert values_of(found, "val")["map_25"] == 1.0, "the first epoch is better on val"
    last = values_of(found, "last")
    assert last["map_25"] == pytest.approx(2 / 3) and last["map_25_sd"] == pytest.approx(np.std([0, 1, 1], ddof=1))
    assert last["scene_recall_25"] == pytest.approx(np.mean(found.outcomes["scene_recall_25"]))


@ORIENTED
def test_it_is_finetuned_as_every_task_on_scenes(oriented, tmp_path):
    """Two epochs of two steps; what is watched and stored is what the model says; the same bytes twice."""
    from pointlift.tasks.scenes import Scenes

    written = []
    for place in ("first", "again"):
        given = Rooms(oriented=oriented)
        held = Scenes(given.ids, given.split, (), NAMES, (), np.array([[row // 3, row % 3] for row in range(6)]))
        held.load, held.checksum = given.load, given.checksum
        task = build(settings(oriented=oriented, log_every=1))
        finetuning = Finetuning(task, student(), held, seed=0)
        asked = FinetuneSettings(run="r", student={}, task={}, arm="scratch", form="transfer", seed=0)
        finetuning.run(asked, tmp_path / place)
        finetuning.save_predictions(tmp_path / place / "predictions.safetensors")
        written.append(tmp_path / place / "predictions.safetensors")
    assert written[0].read_bytes() == written[1].read_bytes()
    assert "val_map_25" in (tmp_path / "first" / "history.jsonl").read_text()
    looked = task.look(finetuning.model, held, held.rows("val", "test"))
    assert looked["boxes"].shape == (2, 2, 8, 7) and looked["scores"].shape == (2, 2, 8, 3)
    assert looked["inside"].dtype == np.int32 and (looked["inside"] <= 128).all() and looked["inside"].any()
    assert not np.array_equal(looked["boxes"][0], looked["boxes"][1]), "other points, other boxes"
