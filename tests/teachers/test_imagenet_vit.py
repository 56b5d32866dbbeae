"""Teacher imagenet_vit: timm's own answers for the weights of a file, files that are not of the network, the blocks."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import mistakes, parse
from pointlift.operators.image_transformers import TRANSFORMERS, block_shapes
from pointlift.rooms import settings_class
from pointlift.teachers import imagenet_vit

HALF, OWN = [(0.5, 0.5, 0.5)] * 2, [(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)]
PIXELS = {"vit_tiny": HALF, "deit_tiny": OWN, "vit_small": HALF, "deit_small": OWN, "vit_base": HALF, "deit_base": OWN}
TRAINING = {"dataset": "d", "rig": "r", "recipe": {"epochs": 4, "batch_size": 6, "learning_rate": 3e-3}}
NANO = {"architecture": "vit_nano", "input_size": 32}


def settings(**block):
    return parse(imagenet_vit.Settings, {"kind": "imagenet_vit", **block}, "teacher")


def drawn(network, seed=0):
    """The network with weights that are not those of a start."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    return network.eval()


def nano_of_timm(num_classes=5, **changes):
    shape = TRANSFORMERS["vit_nano"]
    size = {"embed_dim": shape.width, "depth": shape.depth, "num_heads": shape.heads, "img_size": 32}
    return drawn(VisionTransformer(patch_size=16, num_classes=num_classes, **size | changes))


def images(size, count=3):
    shape = (count, size, size, 3)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def saved(network, path):
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def require_timms(teacher, network, pixels, size):
    """Class token and patches are those of timm's own forward, from pixels standardised by hand."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in pixels)
    found = teacher.encode(images(size), tokens=True)
    with torch.no_grad():
        rows = network.forward_features((images(size).permute(0, 3, 1, 2) / 255.0 - mean) / std)
        wanted = network.forward_head(rows, pre_logits=True)
    torch.testing.assert_close(found.embedding, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.tokens, rows[:, 1:], rtol=1e-4, atol=1e-4)
    assert found.embedding.shape == (len(wanted), teacher.width) and not teacher.nonnegative
    assert found.tokens.shape[1] == (size // 16) ** 2
    assert found.embedding.std(dim=0).mean() > 0.01 * found.embedding.abs().mean(), "images are told apart"


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
@pytest.mark.parametrize("num_classes", [0, 5])
def test_it_answers_as_timm_does_whatever_the_file(tmp_path, suffix, num_classes):
    network = nano_of_timm(num_classes)
    path = saved(network, tmp_path / f"vit.{suffix}")
    teacher = imagenet_vit.build(settings(**NANO, weights_file=path.name), path)
    require_timms(teacher, network, HALF, 32)
    assert not any(name.startswith("network.head") for name in teacher.state_dict())


@pytest.mark.parametrize("architecture", ["vit_tiny", "deit_tiny"])
def test_it_is_timms_network_of_that_name(tmp_path, architecture):
    network = drawn(timm.create_model(f"{architecture}_patch16_224"))
    path = saved(network, tmp_path / "tiny.safetensors")
    teacher = imagenet_vit.build(settings(architecture=architecture, weights_file=path.name), path)
    require_timms(teacher, network, PIXELS[architecture], 224)


@pytest.mark.parametrize("architecture", PIXELS)
def test_tensors_and_pixels_are_those_of_timms_names(architecture):
    made, name = settings(architecture=architecture, weights_file="a.npz"), f"{architecture}_patch16_224"
    with torch.device("meta"):
        ours, theirs = imagenet_vit._network(made, 1000).state_dict(), timm.create_model(name).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    published = timm.get_pretrained_cfg(name)
    assert [*made.pixels()] == [published.mean, published.std] == [*map(tuple, PIXELS[architecture])]
    assert (made.interpolation, made.input_size) == (published.interpolation, published.input_size[1])
    assert made.image_source() == architecture.replace("deit", "vit")


def test_its_stages_are_the_tensors_that_students_take(tmp_path):
    network = nano_of_timm()
    path = saved(network, tmp_path / "vit.safetensors")
    made = settings(**NANO, weights_file=path.name)
    stages, state = imagenet_vit.image_stages(made, path), network.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in stages.items()} == block_shapes("vit_nano")
    assert all(torch.equal(tensor, state[name]) for name, tensor in stages.items())
    assert made.image_source() == "vit_nano"
    random = settings(**NANO, initialisation="random")
    assert random.image_source() is None
    with pytest.raises(ArtifactError, match="random weights are no source of 2D weights"):
        imagenet_vit.image_stages(random, None)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: without(state, "pos_embed"), "missing: pos_embed"),
        (lambda state: without(state, "blocks.1.mlp.fc1.bias"), "missing: blocks.1.mlp.fc1.bias"),
        (lambda state: without(state, "head.weight"), "missing: head.weight"),
        (lambda state: without(state, "head.bias"), "missing: head.bias"),
        (lambda state: state | {"head.weight": torch.zeros(5, 7)}, "head.weight (5, 7) instead of (1000, 48)"),
        (lambda state: state | {"head.weight": torch.zeros(10**9, 0)}, "head.weight (1000000000, 0) instead of"),
        (lambda state: state | {"dist_token": torch.zeros(1, 1, 48)}, "unexpected: dist_token"),
        (lambda state: state | {"cls_token": torch.zeros(1, 48)}, "cls_token (1, 48) instead of (1, 1, 48)"),
        (lambda state: state | {"pos_embed": torch.zeros(1, 197, 48)}, "has 197 positions, and images of 32 pixels"),
        (lambda state: {"conv1.weight": torch.zeros(3)}, "unexpected: conv1.weight"),
    ],
)
def test_a_file_of_another_network_is_told_in_one_line(tmp_path, change, told):
    save_file(change(nano_of_timm().state_dict()), path := tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError) as caught:
        imagenet_vit.build(settings(**NANO, weights_file=path.name), path)
    assert told in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
@pytest.mark.parametrize("ask", [imagenet_vit.build, imagenet_vit.image_stages])
def test_a_damaged_file_is_told_in_one_line(tmp_path, suffix, ask):
    path = saved(nano_of_timm(), tmp_path / f"vit.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ArtifactError, match="not a readable weights file") as caught:
        ask(settings(**NANO, weights_file=path.name), path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


class _Calls:
    def __reduce__(self):
        return pytest.fail, ("it was run",)


def test_a_torch_file_that_would_run_something_is_refused(tmp_path):
    torch.save({"state_dict": _Calls()}, path := tmp_path / "calls.pt")
    with pytest.raises(ArtifactError, match="not a readable weights file"):
        imagenet_vit.build(settings(**NANO, weights_file=path.name), path)


def test_a_size_that_the_file_does_not_have(tmp_path):
    path = saved(nano_of_timm(), tmp_path / "vit.safetensors")
    made = settings(input_size=32, weights_file=path.name)
    with pytest.raises(ArtifactError, match="choose the architecture the file was made with"):
        imagenet_vit.build(made, path)
    with pytest.raises(ArtifactError, match=r"does not hold the blocks of vit_tiny: missing: blocks\.10"):
        imagenet_vit.image_stages(made, path)
    with pytest.raises(ConfigError, match="the file handed over is None"):
        imagenet_vit.build(made, None)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({}, "initialisation pretrained has a weights_file"),
        ({"weights_file": "a.npz", "initialisation": "random"}, "pretrained has a weights_file"),
        ({"weights_file": "a.npz", "training": TRAINING}, "training is not offered by this kind"),
        ({"weights_file": "a.npz", "std": [1.0, 0.0, 1.0]}, "std must be above 0"),
        ({"weights_file": "a.npz", "architecture": "vit_huge"}, "'vit_huge' is not allowed"),
        ({"weights_file": "a.npz", "input_size": 100}, "multiple of 16"),
    ],
)
def test_what_a_block_cannot_mean(block, told):
    found = mistakes(settings_class("teachers", "imagenet_vit"), {"kind": "imagenet_vit", **block}, "teacher")
    assert any(told in line for line in found), found


def test_random_ones_differ_by_seed_and_change_nothing_outside():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = (imagenet_vit.build(settings(**NANO, initialisation="random", random_seed=s), None) for s in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one.encode(images(32)).embedding, other.encode(images(32)).embedding)
