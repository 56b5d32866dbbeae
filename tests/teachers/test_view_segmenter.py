"""PointMCD's teacher for parts: its size, its loss and score by slow formulas, its two phases, and what it learns."""

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import mistakes, parse
from pointlift.contracts.stages import read_stage
from pointlift.rooms import settings_class
from pointlift.teachers import view_segmenter
from pointlift.teachers.autoencoder_network import vgg_features
from pointlift.teachers.extraction import extract
from pointlift.teachers.segmenter_network import ViewSegmenter
from pointlift.teachers.training_views import TrainingViews, with_part_maps
from pointlift.teachers.view_network import preprocessing_of
from pointlift.teachers.view_segmenter import PartsOfViews, view_iou
from teachers.part_views import PART_NAMES, add_maps
from teachers.pictures import CLASSES, write_drawn_dataset, write_views

RECIPE = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3}
BLOCK = {
    "kind": "view_segmenter",
    "base_width": 4,
    "input_size": 32,
    "initialisation": "random",
    "autoencoder_epochs": 2,
    "training": {"dataset": "drawn", "rig": "flat", "recipe": RECIPE},
}


def settings(**block):
    return parse(view_segmenter.Settings, json.loads(json.dumps(BLOCK | block)), "teacher")


def tiny(num_classes=3, num_outputs=7, base_width=4):
    torch.manual_seed(0)
    return ViewSegmenter(vgg_features(base_width), base_width, num_classes, num_outputs)


def test_the_published_network_has_its_number_of_parameters():
    network = ViewSegmenter(vgg_features(64), 64, 16, 51)
    assert sum(parameter.numel() for parameter in network.parameters()) == 16_796_500
    assert network.backbone.width == 512
    names = [name for name, _ in network.decoder.named_parameters() if name.endswith("bias")]
    assert len(names) == 7  # of batch norms alone: the last convolution has none


@pytest.mark.parametrize("size", [32, 96, 224])
def test_every_pixel_has_a_score_of_every_part_and_of_the_background(size):
    with torch.no_grad():
        logits = tiny(16, 51).eval()(torch.rand(2, 3, size, size), torch.tensor([0, 15]))
    assert logits.shape == (2, 51, size, size)


def test_every_parameter_learns_and_the_class_is_told():
    network, pixels = tiny(), torch.rand(4, 3, 32, 32)
    logits = network(pixels, torch.tensor([0, 1, 2, 0]))
    (logits * torch.randn_like(logits)).sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in network.parameters())
    network.eval()
    with torch.no_grad():
        first, second = (network(pixels, torch.full((4,), label)) for label in (0, 1))
    assert not torch.allclose(first, second)


def test_the_score_of_the_specification():
    """Section 5: parts 0 to 3, one of them not there."""
    wanted, own = np.array([[[0, 0, 1, 1, 2]]]), np.ones((1, 4), dtype=bool)
    assert view_iou(wanted, np.array([[[0, 1, 1, 1, 2]]]), own)[0] == pytest.approx((0.5 + 2 / 3 + 1 + 1) / 4)
    assert view_iou(wanted, np.array([[[0, 1, 1, 1, 3]]]), own)[0] == pytest.approx((0.5 + 2 / 3 + 0 + 1) / 4)


def test_the_score_by_the_slow_formula():
    rng = np.random.default_rng(0)
    wanted, answer = rng.integers(0, 5, (6, 7, 7)), rng.integers(0, 5, (6, 7, 7))
    own = np.column_stack([rng.random((6, 4)) < 0.6, np.ones(6, dtype=bool)])
    wanted[2:][wanted[2:] == 1] = 0
    for view, found in enumerate(view_iou(wanted, answer, own)):
        scores = []
        for part in np.flatnonzero(own[view]):
            there, said = wanted[view] == part, answer[view] == part
            scores.append((there & said).sum() / (there | said).sum() if there.any() else 1.0)
        assert found == pytest.approx(np.mean(scores))


def test_settings_that_cannot_be_meant():
    found = settings_class("teachers", "view_segmenter")
    random = {"kind": "view_segmenter", "initialisation": "random"}
    assert mistakes(found, random, "t") == []
    assert "must be a multiple of 32" in mistakes(found, random | {"input_size": 100}, "t")[0]
    assert (
        "only base_width 64 has ImageNet weights" in mistakes(found, BLOCK | {"initialisation": "pretrained"}, "t")[0]
    )
    assert "t.autoencoder_epochs: -1" in mistakes(found, BLOCK | {"autoencoder_epochs": -1}, "t")[0]
    assert found(**random).learns_from_labels() and found(**random).learns_from_parts()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_drawn_dataset(folder, per_class=12, val_per_class=4)
    for split in ("train", "val"):
        add_maps(folder / f"{split}.safetensors")
    return folder


def views(folder):
    return TrainingViews(folder / "manifest.csv", [folder / "train.safetensors", folder / "val.safetensors"])


def train(folder, output, seed=0, **block):
    """(weights, text of the history)."""
    history = output / f"history{seed}.jsonl"
    options = {"history": history, "checkpoints": output / "unfinished", "device": "cpu"}
    weights = view_segmenter.train(settings(**block), views(folder), seed, **options)
    assert not (output / "unfinished").exists()
    return weights, history.read_text()


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    return train(folder, tmp_path_factory.mktemp("trained"))


def test_its_history_is_that_of_both_phases(trained):
    rows = [json.loads(line) for line in trained[1].splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["step"] for row in rows] == [9, 18, 27, 36, 45]  # 72 views in batches of 8
    shared = {"epoch", "step", "lr"}
    for row in rows[:2]:
        assert set(row) == shared | {"reconstruction_loss", "val_reconstruction_loss"}
    for row in rows[2:]:
        assert set(row) == shared | {"segmentation_loss", "val_segmentation_loss", "val_view_miou"}
    assert rows[1]["lr"] < 1e-3 < rows[2]["lr"]  # each phase has a cosine of its own


def test_the_same_bits_for_a_seed_and_others_for_another(folder, trained, tmp_path):
    again, other = train(folder, tmp_path), train(folder, tmp_path, seed=1)
    assert again[1] == trained[1]
    assert all(torch.equal(again[0][name], tensor) for name, tensor in trained[0].items())
    assert not all(torch.equal(other[0][name], tensor) for name, tensor in trained[0].items())


def test_the_first_phase_may_be_left_out(folder, trained, tmp_path):
    weights, history = train(folder, tmp_path, autoencoder_epochs=0)
    assert [json.loads(line)["epoch"] for line in history.splitlines()] == [0, 1, 2]
    assert "reconstruction_loss" not in history
    assert not all(torch.equal(weights[name], tensor) for name, tensor in trained[0].items())


def test_a_run_that_was_stopped_goes_on_with_its_finished_first_phase(folder, trained, tmp_path, monkeypatch, caplog):
    learn, stopped = view_segmenter.train_and_select, []

    def stop(*_arguments, **_options):
        stopped.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(view_segmenter, "train_and_select", stop)
    with pytest.raises(KeyboardInterrupt):
        train(folder, tmp_path)
    assert stopped and not (tmp_path / "history0.jsonl").exists()
    monkeypatch.setattr(view_segmenter, "train_and_select", learn)
    monkeypatch.setattr(view_segmenter, "learn_to_redraw", stop)
    with caplog.at_level(logging.INFO):
        weights, history = train(folder, tmp_path)
    assert "phase autoencoder was finished by an earlier try" in caplog.text
    assert history == trained[1]
    assert all(torch.equal(weights[name], tensor) for name, tensor in trained[0].items())


def test_what_an_earlier_try_with_other_settings_made_is_not_used(folder, trained, tmp_path, monkeypatch):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(view_segmenter, "train_and_select", stop)
        train(folder, tmp_path, autoencoder_epochs=1)
    assert train(folder, tmp_path)[1] == trained[1]


def test_the_loss_is_the_mean_cross_entropy_of_all_pixels(folder):
    chosen = settings(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    preprocessing = preprocessing_of(chosen)
    stored = views(folder).stored("val", preprocessing)
    own = view_segmenter._own_parts(CLASSES, tuple(PART_NAMES))
    model = PartsOfViews(tiny().eval(), preprocessing, own).eval()
    batch = with_part_maps(stored, balanced=False).rows(np.arange(stored.num_images))
    assert batch["part_map"].dtype == torch.uint8 and batch["label"].tolist() == np.repeat(stored.label, 2).tolist()
    with torch.no_grad():
        pixels = preprocessing.standardise(batch["image"])
        logits = model.network(pixels, batch["label"]).double().numpy()
        found = float(model(batch)["segmentation_loss"])
    wanted = np.where(batch["part_map"] == 255, 6, batch["part_map"])
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    slow = -np.take_along_axis(logits, wanted[:, None].astype(int), axis=1).mean()
    assert found == pytest.approx(slow, rel=1e-5)
    told = model.evaluate(stored)
    assert told["val_segmentation_loss"] == pytest.approx(slow, rel=1e-4)
    scores = view_iou(wanted, logits.argmax(axis=1), own[batch["label"].numpy()])
    assert told["val_view_miou"] == pytest.approx(scores.mean())


@pytest.mark.parametrize("size", [32, 64, 96])
def test_maps_at_another_size_are_the_nearest_pixels(folder, size):
    plain = views(folder).stored("val", preprocessing_of(settings()))
    resized = views(folder).stored("val", preprocessing_of(settings(input_size=size)))
    found, maps = resized.part_maps(np.array([[3, 0]])), plain.part_maps(np.array([3, 0]))
    assert found.shape == (1, 2, size, size) and maps.shape == (2, 32, 32)
    assert np.array_equal(found[0], np.repeat(np.repeat(maps, size // 32, axis=1), size // 32, axis=2))


def test_it_learns_which_part_is_where(folder, tmp_path):
    recipe = {"epochs": 20, "batch_size": 8, "learning_rate": 5e-3}
    training = {**BLOCK["training"], "recipe": recipe}
    _, history = train(folder, tmp_path, training=training, base_width=8)
    scores = [json.loads(line)["val_view_miou"] for line in history.splitlines()[2:]]
    stored = views(folder).stored("val", preprocessing_of(settings()))
    maps, own = stored.part_maps(np.arange(24)), view_segmenter._own_parts(CLASSES, tuple(PART_NAMES))
    wanted = np.where(maps == 255, 6, maps).astype(int)
    background = view_iou(wanted, np.full_like(wanted, 6), own[np.repeat(stored.label, 2)]).mean()
    assert background < 0.35
    assert max(scores) > 0.6, scores  # measured: 0.76; with another seed and twice the rate 0.67 to 0.78


def test_the_weights_are_a_teacher(folder, trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(trained[0], path)
    teacher = view_segmenter.build(settings(), path)
    shard = read_stage(folder / "val.safetensors", "views")
    first, second = extract(teacher, shard, 5), extract(teacher, shard, 5)
    assert first.tobytes() == second.tobytes()
    assert first.shape == (12, 2, 32) and first.min() >= 0.0
    pixels = teacher.preprocessing(torch.from_numpy(np.full((2, 32, 32, 3), 9, np.uint8)))
    with torch.no_grad():
        vector = teacher.network.backbone.maps(pixels)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(teacher.encode(torch.full((2, 32, 32, 3), 9, dtype=torch.uint8)).embedding, vector)
    with pytest.raises(ArtifactError, match="of another shape: "):
        view_segmenter.build(settings(base_width=6), path)
    with pytest.raises(ConfigError, match="come from train_teacher, but the file handed over is None"):
        view_segmenter.build(settings(), None)
    backbone = {name: tensor for name, tensor in trained[0].items() if name.startswith("backbone.")}
    save_file(backbone, tmp_path / "backbone.safetensors")
    with pytest.raises(ArtifactError, match="holds no decoder of parts: not a view_segmenter that train_teacher made"):
        view_segmenter.build(settings(), tmp_path / "backbone.safetensors")


def test_views_without_maps_and_classes_without_parts_are_told(folder, tmp_path):
    write_drawn_dataset(tmp_path, per_class=2, val_per_class=1)
    options = {"history": tmp_path / "history.jsonl", "device": "cpu"}
    with pytest.raises(
        ArtifactError, match="the views have none, or not the same ones; take a rig with part_maps: true"
    ):
        view_segmenter.train(settings(), views(tmp_path), 0, **options)
    add_maps(tmp_path / "train.safetensors")
    with pytest.raises(ArtifactError, match="or not the same ones"):
        view_segmenter.train(settings(), views(tmp_path), 0, **options)
    for split in ("train", "val"):
        add_maps(tmp_path / f"{split}.safetensors", part_names=PART_NAMES[:4])
    with pytest.raises(ArtifactError, match="no part of class 'frame' is among the dataset's"):
        view_segmenter.train(settings(), views(tmp_path), 0, **options)
    assert not (tmp_path / "history.jsonl").exists()


def test_maps_are_part_of_what_a_run_depends_on(tmp_path):
    write_views(tmp_path / "train.safetensors", CLASSES)
    header = "shape_id,class_name,label,split,shard,source_path,sha256"
    ids = [f"{name}-train-{row}" for row, name in enumerate(CLASSES)]
    lines = [f"{shape_id},{shape_id.split('-')[0]},{row},train,0000,," for row, shape_id in enumerate(ids)]
    (tmp_path / "manifest.csv").write_text("\n".join([header, *lines]) + "\n")
    given = TrainingViews(tmp_path / "manifest.csv", [tmp_path / "train.safetensors"])
    bare = given.stored("train", preprocessing_of(settings())).checksum()
    add_maps(tmp_path / "train.safetensors")
    assert given.stored("train", preprocessing_of(settings())).checksum() != bare
