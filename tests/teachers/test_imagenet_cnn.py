"""ImageNet classifiers: strict local weights in every file format, the last feature map, and real weights that know."""

import numpy as np
import pytest
import torch
import torchvision
from sklearn.datasets import load_sample_images
from torch import nn

from pointlift.contracts.errors import ArtifactError, ConfigError, MachineError
from pointlift.contracts.settings import mistakes
from pointlift.rooms import settings_class
from pointlift.teachers import imagenet_cnn
from weights_file import write_weights

NAME = "resnet18"
CAFFE = {
    "architecture": "squeezenet1_0",
    "input_size": 227,
    "channel_order": "bgr",
    "pixel_scale": 1.0,
    "mean": (104.0, 117.0, 123.0),
    "std": (1.0, 1.0, 1.0),
    "weights_file": "squeezenet.npz",
}


def settings(**block):
    return imagenet_cnn.Settings(**({"kind": "imagenet_cnn", "architecture": NAME, "input_size": 64} | block))


def images(count=3):
    return torch.randint(0, 256, (count, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return torchvision.models.get_model(NAME, weights=None).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_local_weights_give_torchvisions_own_numbers(network, suffix, tmp_path):
    tensors = {k: v for k, v in network.state_dict().items() if suffix != ".npz" or "num_batches" not in k}
    path = write_weights(tmp_path / f"weights{suffix}", tensors)
    teacher = imagenet_cnn.build(settings(weights_file=path.name), path)
    pooled = []
    hook = network.avgpool.register_forward_hook(lambda _module, _inputs, output: pooled.append(output.flatten(1)))
    with torch.no_grad():
        network(teacher.preprocessing(images()))
    hook.remove()
    torch.testing.assert_close(teacher.encode(images()).embedding, pooled[0])


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "alexnet"])
def test_the_map_is_the_one_before_the_classifier(architecture):
    teacher = imagenet_cnn.build(settings(architecture=architecture, initialisation="random", input_size=96), None)
    found = teacher.encode(images(), tokens=True)
    torch.testing.assert_close(found.tokens.mean(dim=1), found.embedding)
    smallest = float(found.tokens.min())
    assert (smallest >= 0.0) == teacher.nonnegative


def test_cells_stand_row_by_row_from_the_top_left():
    block = {"architecture": "squeezenet1_1", "initialisation": "random", "input_size": 160}
    teacher = imagenet_cnn.build(settings(**block), None)
    white = torch.full((1, 160, 160, 3), 255, dtype=torch.uint8)
    dotted = white.clone()
    dotted[:, :20, -50:-30] = 0  # at the top, right of the middle
    change = (teacher.encode(dotted, tokens=True).tokens - teacher.encode(white, tokens=True).tokens).abs().sum(dim=2)
    assert change.shape == (1, 81)
    row, column = divmod(int(change.argmax()), 9)
    assert row <= 1
    assert 5 <= column <= 7


def _without(tensors):
    return {name: tensor for name, tensor in tensors.items() if name != "layer1.0.conv1.weight"}


@pytest.mark.parametrize(
    "change, told",
    [
        (_without, r"missing: layer1\.0\.conv1\.weight"),
        (lambda tensors: tensors | {"head.bias": torch.zeros(3)}, r"unexpected: head\.bias"),
        (
            lambda tensors: tensors | {"fc.weight": torch.zeros(10, 512)},
            r"of another shape: fc\.weight \(10, 512\) instead of \(1000, 512\)",
        ),
        (lambda tensors: {f"backbone.{k}": v for k, v in tensors.items()}, r"missing: .* and \d+ more; unexpected:"),
    ],
)
def test_other_keys_or_shapes_are_listed_and_nothing_is_loaded(network, change, told, tmp_path):
    path = write_weights(tmp_path / "weights.pth", change(dict(network.state_dict())))
    with pytest.raises(ArtifactError, match=told) as caught:
        imagenet_cnn.build(settings(weights_file=path.name), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_a_truncated_file_is_told_in_one_line(network, suffix, tmp_path):
    path = write_weights(tmp_path / f"weights{suffix}", dict(network.state_dict()))
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(ArtifactError, match="not a readable weights file") as caught:
        imagenet_cnn.build(settings(weights_file=path.name), path)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, fc=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtifactError, match="not a readable weights file"):
        imagenet_cnn.build(settings(weights_file=path.name), path)


def test_no_network_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(MachineError, match=r"resnet18 could not be fetched.*weights_file"):
        imagenet_cnn.build(settings(), None)


def test_settings_that_cannot_be_meant(tmp_path):
    found = settings_class("teachers", "imagenet_cnn")
    block = {"kind": "imagenet_cnn"}
    assert "'squeezenet1_0'" in mistakes(found, block | {"architecture": "resnet19"}, "teachers.x")[0]
    assert "no weights_file" in mistakes(found, block | {"initialisation": "random", "weights_file": "a"}, "t")[0]
    assert "std must be above 0" in mistakes(found, block | {"std": [0.1, 0.0, 0.1]}, "t")[0]
    with pytest.raises(ConfigError, match="weights_file is None"):
        imagenet_cnn.build(settings(initialisation="random"), tmp_path / "weights.pth")


@pytest.fixture(scope="module")
def squeezenet(realdata):
    path = realdata / "image_weights" / "squeezenet1_0_imagenet1k_torchvision_keys_fp32.npz"
    return path, imagenet_cnn.build(settings(**CAFFE), path)


def _top_names(realdata, squeezenet, image, count=5):
    path, teacher = squeezenet
    whole = torchvision.models.squeezenet1_0(weights=None)
    with np.load(path) as archive:
        whole.load_state_dict({name: torch.from_numpy(archive[name]) for name in archive.files})
    cells_BPD = teacher.encode(torch.from_numpy(image[None].copy()), tokens=True).tokens
    with torch.no_grad():
        logits = whole.eval().classifier(cells_BPD.transpose(1, 2).unflatten(2, (13, 13))).flatten()
    assert logits.isfinite().all()
    names = (realdata / "image_weights" / "imagenet_labels.txt").read_text().splitlines()[1:]  # the first is no class
    return {names[index].split(",")[0] for index in nn.functional.softmax(logits, dim=0).topk(count).indices}


@pytest.mark.realdata
def test_real_weights_recognise_a_photograph(realdata, squeezenet):
    temple = load_sample_images().images[0][:, 100:527]
    buildings = {"bell cote", "monastery", "dome", "palace", "boathouse", "stupa", "castle", "church", "mosque"}
    assert len(_top_names(realdata, squeezenet, temple) & buildings) >= 4


@pytest.mark.realdata
def test_real_weights_of_another_architecture_are_refused(realdata):
    path = realdata / "image_weights" / "squeezenet1_0_imagenet1k_torchvision_keys_fp32.npz"
    block = CAFFE | {"architecture": "squeezenet1_1", "weights_file": path.name}
    with pytest.raises(ArtifactError, match=r"of another shape: features\.0\.weight .* and \d+ more"):
        imagenet_cnn.build(settings(**block), path)
