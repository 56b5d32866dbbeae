"""PointMCD's supervised teacher: its size, its loss by a slow formula, and what must not change its answers."""

import json
import math
import re

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import mistakes, parse
from pointlift.contracts.stages import read_stage
from pointlift.rooms import settings_class
from pointlift.teachers import classifier_network, imagenet_cnn, imagenet_network, view_classifier
from pointlift.teachers.extraction import extract
from pointlift.teachers.training_views import TrainingViews
from pointlift.teachers.view_network import first_network, preprocessing_of
from teachers.pictures import CLASSES, write_drawn_dataset, write_views

RECIPE = {"epochs": 2, "batch_size": 6, "learning_rate": 3e-3}
BLOCK = {
    "kind": "view_classifier",
    "architecture": "resnet18",
    "width": 16,
    "input_size": 32,
    "initialisation": "random",
    "training": {"dataset": "drawn", "rig": "flat", "recipe": RECIPE},
}


def settings(**block):
    return parse(view_classifier.Settings, json.loads(json.dumps(BLOCK | block)), "teacher")


def small(num_classes=5, seed=0):
    """A network with a trunk of one convolution, in eval mode."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.ReLU())
    return classifier_network.ViewClassifier(trunk, 32, 12, num_classes).eval()


def pixels(shapes=3, views=4, seed=1):
    return torch.rand(shapes, views, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_the_published_network_has_its_number_of_parameters():
    network = classifier_network.ViewClassifier(torchvision.models.mobilenet_v2().features, 64, 512, 40)
    backbone, whole = (sum(p.numel() for p in part.parameters()) for part in (network.backbone, network))
    assert (backbone, whole - backbone, whole) == (2_223_872, 940_032, 3_163_904)


def test_the_order_of_views_changes_nothing_but_the_order_of_views():
    network, order = small(), torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        plain = network(pixels())
        turned = network.answer(plain.view[:, order])
    assert torch.equal(turned.shape, plain.shape)
    assert torch.equal(turned.shape_logits, plain.shape_logits)
    assert not torch.equal(turned.view_logits, plain.view_logits)
    torch.testing.assert_close(turned.view_logits, plain.view_logits[:, order])


def test_of_a_single_view_the_global_vector_is_the_head_of_that_view():
    network = small()
    with torch.no_grad():
        found = network(pixels(views=1))
        torch.testing.assert_close(found.shape, network.shape_block(found.view[:, 0]))
        torch.testing.assert_close(found.shape_logits, found.shape @ network.classifier.weight.T)
        torch.testing.assert_close(found.view_logits, found.view @ network.classifier.weight.T)
    assert network.classifier.bias is None
    assert found.view.min() >= 0.0
    assert found.shape.min() >= 0.0


def slow_loss(logits, label, smoothing):
    """Written from the definition: 1 - smoothing on the label, the rest evenly on the others."""
    total = math.log(sum(math.exp(value) for value in logits))
    weight = [smoothing / (len(logits) - 1)] * len(logits)
    weight[label] = 1.0 - smoothing
    return sum(w * (total - value) for w, value in zip(weight, logits, strict=True))


def test_the_loss_by_the_slow_formula():
    network, label = small(), [4, 0, 2]
    images = (pixels() * 255).to(torch.uint8)
    model = classifier_network.NamesOfViews(network, preprocessing_of(settings()), 0.2)
    with torch.no_grad():
        found = model({"image": images, "label": torch.tensor(label)})
        answer = network(images / 255.0)  # plain pixels in [0, 1]: no ImageNet mean
    wanted = [slow_loss(row.tolist(), k, 0.2) for row, k in zip(answer.shape_logits, label, strict=True)]
    assert float(found["global_loss"]) == pytest.approx(sum(wanted) / 3, rel=1e-5)
    wanted = [slow_loss(v.tolist(), k, 0.2) for rows, k in zip(answer.view_logits, label, strict=True) for v in rows]
    assert float(found["view_loss"]) == pytest.approx(sum(wanted) / 12, rel=1e-5)


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
    weights = view_classifier.train(settings(**block), views(folder), seed, history=history, device="cpu")
    return weights, [json.loads(line) for line in history.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(folder):
    return train(folder)


def test_its_history_says_losses_and_accuracy_on_val(trained):
    for row in trained[1]:
        assert {"global_loss", "view_loss", "val_global_loss", "val_view_loss"} < set(row)
        assert 0.0 <= row["val_view_accuracy"] <= 1.0
        assert 0.0 <= row["val_shape_accuracy"] <= 1.0


def test_the_same_bits_for_a_seed_and_others_for_another(folder, trained):
    again, other = train(folder)[0], train(folder, seed=1)[0]
    assert all(torch.equal(again[name], tensor) for name, tensor in trained[0].items())
    assert not all(torch.equal(other[name], tensor) for name, tensor in trained[0].items())


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kill_at", [2, 5])  # in the first epoch; in the second, after a look at val
def test_a_killed_training_goes_on_to_the_same_bits(folder, trained, tmp_path, kill_at, monkeypatch):
    options = {"history": tmp_path / "history.jsonl", "device": "cpu", "checkpoint_seconds": 0.0}
    calls, forward = [], classifier_network.NamesOfViews.forward

    def dying(model, batch):
        calls.append(1)
        if len(calls) == kill_at:
            raise KilledError
        return forward(model, batch)

    with monkeypatch.context() as patched:
        patched.setattr(classifier_network.NamesOfViews, "forward", dying)
        with pytest.raises(KilledError):
            view_classifier.train(settings(), views(folder), 0, **options)
    assert (tmp_path / "checkpoints" / "state.pt").exists()
    again = view_classifier.train(settings(), views(folder), 0, **options)
    assert all(torch.equal(again[name], tensor) for name, tensor in trained[0].items())
    assert (tmp_path / "history.jsonl").read_text() == (folder / "history0.jsonl").read_text()


@pytest.mark.realdata
def test_a_real_backbone_file_gives_the_trunk_of_the_imagenet_teacher(realdata):
    path = realdata / "image_weights" / "squeezenet1_0_imagenet1k_torchvision_keys_fp32.npz"
    chosen = settings(architecture="squeezenet1_0", initialisation="pretrained", backbone_file=path.name)
    trunk = imagenet_network.trunk_of(first_network(chosen, chosen.architecture, path)).eval()
    block = {"kind": "imagenet_cnn", "architecture": "squeezenet1_0", "weights_file": path.name}
    teacher = imagenet_cnn.build(parse(imagenet_cnn.Settings, block, "teacher"), path)
    with torch.no_grad():
        assert torch.equal(trunk(pixels()[0]), teacher.trunk(pixels()[0]))
    with pytest.raises(ArtifactError, match="does not hold the weights of this architecture"):
        first_network(settings(initialisation="pretrained", backbone_file=path.name), "mobilenet_v2", path)


def test_the_weights_are_a_teacher_whose_embedding_is_the_view_vector(folder, trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(trained[0], path)
    teacher = view_classifier.build(settings(), path)
    assert teacher.network.classifier.out_features == len(CLASSES)
    shard = read_stage(folder / "val.safetensors", "views")
    first, second = extract(teacher, shard, 5), extract(teacher, shard, 5)
    assert first.tobytes() == second.tobytes()
    assert first.shape == (6, 2, 16)
    assert first.min() >= 0.0
    alone = extract(teacher, shard, 1)  # eval mode: neighbours in the batch do not matter
    torch.testing.assert_close(torch.from_numpy(alone), torch.from_numpy(first), rtol=2e-3, atol=1e-3)


def test_it_learns_eight_pictures_by_heart(tmp_path, caplog):
    names = [CLASSES[row % 3] for row in range(8)]
    ids, _ = write_views(tmp_path / "train.safetensors", names, num_views=1, seed=3)
    lines = [f"{i},{name},{CLASSES.index(name)},train,0000,," for i, name in zip(ids, names, strict=True)]
    header = "shape_id,class_name,label,split,shard,source_path,sha256"
    (tmp_path / "manifest.csv").write_text("\n".join([header, *lines]) + "\n")
    recipe = RECIPE | {"epochs": 45, "batch_size": 8}
    history = tmp_path / "history.jsonl"
    block = settings(training=BLOCK["training"] | {"recipe": recipe})
    chosen = TrainingViews(tmp_path / "manifest.csv", [tmp_path / "train.safetensors"])
    view_classifier.train(block, chosen, 0, history=history, device="cpu")
    floor = slow_loss([math.log(0.8), math.log(0.1), math.log(0.1)], 0, 0.2)  # nothing can be below it
    last = json.loads(history.read_text().splitlines()[-1])
    assert floor < last["global_loss"] < floor + 0.1
    assert floor < last["view_loss"] < floor + 0.1
    assert "no usable shape in its val split: the weights are those of the last epoch" in caplog.text
    assert not any(name.startswith("val_") for name in last)


def test_training_starts_from_a_local_backbone(folder, tmp_path):
    network = torchvision.models.resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(network.state_dict(), path)
    block = {"initialisation": "pretrained", "backbone_file": path.name}
    recipe = RECIPE | {"epochs": 1, "learning_rate": 1e-12}
    block["training"] = BLOCK["training"] | {"recipe": recipe}
    options = {"history": tmp_path / "history.jsonl", "device": "cpu"}
    found = view_classifier.train(settings(**block), views(folder), 0, backbone=path, **options)
    torch.testing.assert_close(found["backbone.0.weight"], network.conv1.weight.detach(), rtol=0, atol=1e-9)
    with pytest.raises(ConfigError, match=r"backbone_file is 'resnet18\.pth', the file handed over is None"):
        view_classifier.train(settings(**block), views(folder), 0, **options)


def test_a_file_of_something_else_is_told(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor for name, tensor in trained[0].items() if name != "classifier.weight"}, path)
    with pytest.raises(ArtifactError, match=r"holds no classifier\.weight"):
        view_classifier.build(settings(), path)
    save_file(trained[0], path)
    with pytest.raises(
        ArtifactError, match=r"of another shape: view_block\.0\.weight \(16, 512\) instead of \(8, 512\)"
    ):
        view_classifier.build(settings(width=8), path)


@pytest.mark.parametrize("kind", ["view_classifier", "view_autoencoder"])
@pytest.mark.parametrize(
    "block, told",
    [
        ({}, "exactly one of .*given: none"),
        ({"initialisation": "random", "weights_file": "a.pth"}, "given: weights_file, initialisation: random"),
        ({"training": BLOCK["training"], "weights_file": "a.pth"}, "given: training, weights_file"),
        ({"weights_file": "a.pth", "backbone_file": "b.pth"}, "backbone_file is where training starts from"),
        ({"initialisation": "random", "std": [1, 0, 1]}, "std must be above 0"),
    ],
)
def test_settings_that_cannot_be_meant(kind, block, told):
    found = mistakes(settings_class("teachers", kind), {"kind": kind} | block, "teachers.x")
    assert len(found) == 1
    assert re.search(told, found[0])
