"""PointMCD's unsupervised teacher: its size, its parts by slow formulas, what it draws, and what its sampler takes."""

import json
import logging

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.settings import mistakes, parse
from pointlift.contracts.stages import read_stage
from pointlift.rooms import settings_class
from pointlift.teachers import view_autoencoder
from pointlift.teachers.attention import ChannelAttention, SpatialAttention
from pointlift.teachers.autoencoder_network import Decoder, ViewAutoencoder, vgg_features
from pointlift.teachers.extraction import extract
from pointlift.teachers.training_views import TrainingViews
from pointlift.teachers.view_network import preprocessing_of
from pointlift.training.data import TensorData
from pointlift.training.engine import fit
from teachers.pictures import CLASSES, write_drawn_dataset, write_views

RECIPE = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3}
BLOCK = {
    "kind": "view_autoencoder",
    "base_width": 4,
    "input_size": 32,
    "initialisation": "random",
    "training": {"dataset": "drawn", "rig": "flat", "recipe": RECIPE},
}
HEADER = "shape_id,class_name,label,split,shard,source_path,sha256"


def settings(**block):
    return parse(view_autoencoder.Settings, json.loads(json.dumps(BLOCK | block)), "teacher")


def test_the_published_network_has_its_number_of_parameters_and_draws_whole_pictures():
    network = ViewAutoencoder(vgg_features(64), 224, 64).eval()
    counts = [sum(p.numel() for p in part.parameters()) for part in (network.backbone, network)]
    assert counts == [9_357_204, 16_783_540]
    maps = []
    for stage in network.backbone.stages:
        stage.register_forward_hook(lambda _module, _inputs, found: maps.append(tuple(found.shape[1:])))
    with torch.no_grad():
        drawn = network(torch.rand(1, 3, 224, 224))
    assert drawn.shape == (1, 3, 224, 224)
    assert maps == [(128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14)]


def test_its_layers_are_torchvisions_in_their_order():
    """With attention switched off the trunk is VGG-11-BN up to its last pooling."""
    torch.manual_seed(0)
    whole = torchvision.models.vgg11_bn(weights=None).eval()
    network = ViewAutoencoder(whole.features, 32, 64).eval()
    for attention in network.backbone.attention:
        attention.register_forward_hook(lambda _module, inputs, _output: inputs[0])
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.backbone(pixels), whole.features[:-1](pixels))


@pytest.mark.parametrize("kernel", [5, 7])
def test_spatial_attention_by_the_slow_formula(kernel):
    torch.manual_seed(1)
    attention, given = SpatialAttention(kernel).double(), torch.randn(1, 4, 6, 5, dtype=torch.float64)
    found, half = attention(given).detach().numpy(), kernel // 2
    weight, x = attention.convolution.weight.detach().numpy()[0], given.numpy()[0]
    summary = np.pad(np.stack([x.mean(axis=0), x.max(axis=0)]), ((0, 0), (half, half), (half, half)))
    for row in range(6):
        for column in range(5):
            logit = (weight * summary[:, row : row + kernel, column : column + kernel]).sum()
            wanted = x[:, row, column] * (1.0 + 1.0 / (1.0 + np.exp(-logit)))
            np.testing.assert_allclose(found[0, :, row, column], wanted)


def test_channel_attention_by_the_slow_formula():
    torch.manual_seed(2)
    attention, given = ChannelAttention(6, 3).double(), torch.randn(2, 6, 4, 4, dtype=torch.float64)
    first, second = (attention.layers[place].weight.detach().numpy() for place in (0, 2))
    for x, found in zip(given.numpy(), attention(given).detach().numpy(), strict=True):
        flat = x.reshape(6, -1)
        logits = sum(second @ np.maximum(first @ summary, 0.0) for summary in (flat.mean(axis=1), flat.max(axis=1)))
        np.testing.assert_allclose(found, x * (1.0 + 1.0 / (1.0 + np.exp(-logits)))[:, None, None])
    assert not any("bias" in name for name, _ in attention.named_parameters())


@pytest.mark.parametrize("size", [32, 96, 224])
def test_multiples_of_32_are_drawn_whole(size):
    with torch.no_grad():
        assert Decoder(size, 4).eval()(torch.rand(2, 32)).shape == (2, 3, size, size)


def test_settings_that_cannot_be_meant():
    found = settings_class("teachers", "view_autoencoder")
    random = {"kind": "view_autoencoder", "initialisation": "random"}
    assert "must be a multiple of 32" in mistakes(found, random | {"input_size": 100}, "t")[0]
    narrow = BLOCK | {"initialisation": "pretrained"}
    assert "only base_width 64 has ImageNet weights" in mistakes(found, narrow, "t")[0]
    assert "'uniform' or 'label_balanced'" in mistakes(found, random | {"sampler": "balanced"}, "t")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_drawn_dataset(folder, per_class=6, val_per_class=2)
    return folder


def views(folder):
    return TrainingViews(folder / "manifest.csv", [folder / "train.safetensors", folder / "val.safetensors"])


def train(folder, seed=0, **block):
    """(weights, rows of the history)."""
    history = folder / f"history{seed}.jsonl"
    weights = view_autoencoder.train(settings(**block), views(folder), seed, history=history, device="cpu")
    return weights, [json.loads(line) for line in history.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(folder):
    return train(folder)


def test_its_history_says_what_it_draws_wrongly(trained):
    for row in trained[1]:
        assert set(row) == {"epoch", "step", "lr", "reconstruction_loss", "val_reconstruction_loss"}
        assert row["step"] == 4 * (row["epoch"] + 1)  # 36 views, batches of 8, the last partial one dropped


def test_the_same_bits_for_a_seed_and_others_for_another(folder, trained):
    again, other = train(folder)[0], train(folder, seed=1)[0]
    assert all(torch.equal(again[name], tensor) for name, tensor in trained[0].items())
    assert not all(torch.equal(other[name], tensor) for name, tensor in trained[0].items())


def test_the_loss_is_the_mean_absolute_difference_to_plain_pixels(folder, trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(trained[0], path)
    chosen = settings(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    teacher = view_autoencoder.build(chosen, path)
    stored = views(folder).stored("val", teacher.preprocessing)
    images = stored.images(np.arange(12))
    with torch.no_grad():
        pixels = teacher.preprocessing.standardise(torch.from_numpy(images))
        drawn = teacher.network(pixels).double().numpy()
    assert pixels.min() < -0.4  # the network sees standardised pixels
    wanted = np.abs(drawn - images / 255.0).mean()
    found = view_autoencoder.Redrawing(teacher.network, teacher.preprocessing).evaluate(stored)
    assert found["val_reconstruction_loss"] == pytest.approx(wanted, rel=1e-5)


def test_the_weights_are_a_teacher(folder, trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(trained[0], path)
    teacher = view_autoencoder.build(settings(), path)
    shard = read_stage(folder / "val.safetensors", "views")
    first, second = extract(teacher, shard, 5), extract(teacher, shard, 5)
    assert first.tobytes() == second.tobytes()
    assert first.shape == (6, 2, 32)
    assert first.min() >= 0.0
    alone = extract(teacher, shard, 1)
    torch.testing.assert_close(torch.from_numpy(alone), torch.from_numpy(first), rtol=2e-3, atol=1e-3)
    with pytest.raises(ArtifactError, match="of another shape: "):
        view_autoencoder.build(settings(base_width=6), path)
    with pytest.raises(ConfigError, match="come from train_teacher, but the file handed over is None"):
        view_autoencoder.build(settings(), None)


def write_unlabelled(folder, classes):
    ids, _ = write_views(folder / "train.safetensors", classes, num_views=1, seed=3)
    lines = [f"{shape_id},,-1,train,0000,," for shape_id in ids]
    (folder / "manifest.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return TrainingViews(folder / "manifest.csv", [folder / "train.safetensors"])


def test_it_learns_to_draw_eight_pictures_by_heart(tmp_path):
    coarse = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear", align_corners=True)
    images = (smooth * 255).to(torch.uint8).numpy()
    preprocessing = preprocessing_of(settings(input_size=64))
    torch.manual_seed(0)
    model = view_autoencoder.Redrawing(ViewAutoencoder(vgg_features(16), 64, 16), preprocessing)
    recipe = Recipe(epochs=100, batch_size=8, learning_rate=3e-3)
    history = tmp_path / "history.jsonl"
    fit(model, model, TensorData({"image": images}), recipe, seed=0, history=history, device="cpu")
    losses = [json.loads(line)["reconstruction_loss"] for line in history.read_text().splitlines()]
    same_for_all = np.abs(images / 255.0 - np.median(images / 255.0, axis=0)).mean()  # the best that ignores its input
    assert losses[0] > 2.0 * same_for_all
    assert losses[-1] < 0.5 * same_for_all  # measured: 0.25, with other first weights up to 0.34


def test_it_needs_no_labels_and_no_val_split(tmp_path, caplog):
    unlabelled, options = write_unlabelled(tmp_path, CLASSES), {"history": tmp_path / "history.jsonl", "device": "cpu"}
    weights = view_autoencoder.train(settings(), unlabelled, 0, **options)
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert "no usable shape in its val split: the weights are those of the last epoch" in caplog.text
    assert "val_reconstruction_loss" not in (tmp_path / "history.jsonl").read_text()


def test_the_balanced_sampler_takes_labels_and_says_so(folder, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        balanced = train(folder, sampler="label_balanced")[0]
    assert "sampler label_balanced: 3 classes decide which views are seen" in caplog.text
    assert not all(torch.equal(balanced[name], tensor) for name, tensor in train(folder)[0].items())
    unlabelled = write_unlabelled(tmp_path, CLASSES)
    options = {"history": tmp_path / "history.jsonl", "device": "cpu"}
    with pytest.raises(ArtifactError, match=r"3 shapes of its train and val splits have no class .*sampler uniform"):
        view_autoencoder.train(settings(sampler="label_balanced"), unlabelled, 0, **options)
