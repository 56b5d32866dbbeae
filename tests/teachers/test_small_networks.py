"""Teachers of CIFAR's shape: the published files as they are, the small one trained on views; the stages of both."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import mistakes, parse
from pointlift.operators.image_networks import architecture_of, small_network, stage_shapes
from pointlift.operators.weight_files import without_counters
from pointlift.rooms import settings_class
from pointlift.teachers import cifar_resnet, imagenet_cnn, small_resnet, view_classifier
from pointlift.teachers.training_views import TrainingViews
from teachers.pictures import write_drawn_dataset

FILES = {"cifar_resnet20": "resnet20-12fca82f.th", "cifar_resnet56": "resnet56-4bfd9763.th"}
TRAINING = {"dataset": "d", "rig": "r", "recipe": {"epochs": 4, "batch_size": 6, "learning_rate": 3e-3}}


def cifar(**block):
    return parse(cifar_resnet.Settings, {"kind": "cifar_resnet", **block}, "teacher")


def small(**block):
    found = {"kind": "small_resnet", "width": 16, "initialisation": "random", **block}
    return parse(small_resnet.Settings, found, "teacher")


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("architecture", FILES)
def test_the_published_file_by_hand(realdata, architecture):
    """The whole network of the paper's section 4.2 written out with functions, from the file's tensors alone."""
    path = realdata / "image_weights" / FILES[architecture]
    teacher = cifar_resnet.build(cifar(architecture=architecture, weights_file=path.name), path)
    images = torch.randint(0, 256, (3, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = teacher.encode(images, tokens=True)
    raw = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    state = {name.removeprefix("module."): value.double() for name, value in raw.items()}

    def norm(rows, name):
        kept = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, weight, bias = (values[:, None, None] for values in kept)
        return (rows - mean) / (variance + 1e-5).sqrt() * weight + bias

    mean, std = (torch.tensor(v).double()[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    rows = (images.permute(0, 3, 1, 2).double() / 255 - mean) / std
    rows = functional.conv2d(rows, state["conv1.weight"], padding=1)
    rows = norm(rows, "bn1").relu()
    for stage in (1, 2, 3):
        for block in range({"cifar_resnet20": 3, "cifar_resnet56": 9}[architecture]):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = functional.conv2d(rows, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = functional.conv2d(norm(inner, f"{name}.bn1").relu(), state[f"{name}.conv2.weight"], padding=1)
            if stride == 2:
                added = rows.shape[1] // 2
                rows = functional.pad(rows[:, :, ::2, ::2], (0, 0, 0, 0, added, added))
            rows = (norm(inner, f"{name}.bn2") + rows).relu()
    torch.testing.assert_close(found.embedding.double(), rows.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)
    assert (teacher.width, tuple(found.tokens.shape)) == (64, (3, 64, 64))
    stages = cifar_resnet.image_stages(cifar(architecture=architecture, weights_file=path.name), path)
    wanted = {name: value.float() for name, value in state.items() if name.startswith("layer")}
    assert same(without_counters(stages), without_counters(wanted))


@pytest.mark.parametrize(
    ("kind", "block", "told"),
    [
        ("cifar_resnet", {}, "initialisation pretrained has a weights_file"),
        ("cifar_resnet", {"weights_file": "a.th", "initialisation": "random"}, "pretrained has a weights_file"),
        ("cifar_resnet", {"weights_file": "a.th", "training": TRAINING}, "kind small_resnet trains the same networks"),
        ("cifar_resnet", {"weights_file": "a.th", "std": [1.0, 0.0, 1.0]}, "std must be above 0"),
        ("small_resnet", {"training": TRAINING}, "training starts from random weights"),
        ("small_resnet", {"architecture": "resnet18", "initialisation": "random"}, "'resnet18' is not allowed"),
        ("small_resnet", {}, "weights come from exactly one of"),
    ],
)
def test_what_a_block_cannot_mean(kind, block, told):
    assert any(told in line for line in mistakes(settings_class("teachers", kind), {"kind": kind, **block}, "teacher"))


def test_a_file_of_the_other_network_is_refused(realdata):
    path = realdata / "image_weights" / FILES["cifar_resnet56"]
    with pytest.raises(ArtifactError, match="unexpected"):
        cifar_resnet.build(cifar(weights_file=path.name), path)
    with pytest.raises(ArtifactError, match="does not hold the stages of cifar_resnet20"):
        cifar_resnet.image_stages(cifar(weights_file=path.name), path)
    with pytest.raises(ConfigError, match="the file handed over is None"):
        cifar_resnet.build(cifar(weights_file="a.th"), None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file that train_teacher would write, and its history."""
    folder = tmp_path_factory.mktemp("drawn")
    write_drawn_dataset(folder, per_class=8, val_per_class=2)
    views = TrainingViews(folder / "manifest.csv", [folder / "train.safetensors", folder / "val.safetensors"])
    options = {"history": folder / "history.jsonl", "device": "cpu"}
    weights = small_resnet.train(small(training=TRAINING), views, 0, **options)
    again = small_resnet.train(small(training=TRAINING), views, 0, **options)
    assert same(weights, again)
    save_file(weights, folder / "weights.safetensors")
    lines = (folder / "history.jsonl").read_text().splitlines()
    return folder / "weights.safetensors", [json.loads(line) for line in lines]


def test_it_learns_to_name_drawings_and_its_stages_are_the_trained_ones(trained):
    path, history = trained
    assert history[-1]["global_loss"] < 0.9 * math.log(3)  # who guesses among three classes has log 3
    stages = small_resnet.image_stages(small(training=TRAINING), path)
    shapes = stage_shapes(architecture_of("resnet8"))
    assert {name: tuple(tensor.shape) for name, tensor in without_counters(stages).items()} == shapes
    teacher = small_resnet.build(small(training=TRAINING), path)
    inside = teacher.network.backbone.state_dict()
    for name, tensor in without_counters(stages).items():  # the trunk's parts: conv1, bn1, relu, layer1 ...
        stage, rest = name.split(".", 1)
        assert torch.equal(inside[f"{int(stage.removeprefix('layer')) + 2}.{rest}"], tensor)
    first = small_network("resnet8", 1, 0).state_dict()
    assert not torch.equal(stages["layer1.0.conv1.weight"], first["layer1.0.conv1.weight"])


def test_a_trained_residual_trunk_of_imagenet_shape_gives_its_stages_too(tmp_path):
    block = {"kind": "view_classifier", "architecture": "resnet18", "width": 8, "input_size": 32}
    random = parse(view_classifier.Settings, {**block, "initialisation": "random"}, "teacher")
    network = view_classifier.build(random, None).network
    network.classifier = torch.nn.Linear(8, 3, bias=False)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    made = parse(view_classifier.Settings, {**block, "weights_file": "weights.safetensors"}, "teacher")
    stages = view_classifier.image_stages(made, tmp_path / "weights.safetensors")
    assert torch.equal(stages["layer4.1.bn2.running_var"], network.backbone[7][1].bn2.running_var)
    assert set(without_counters(stages)) == set(stage_shapes(architecture_of("resnet18")))
    assert (made.image_source(), random.image_source()) == ("resnet18", None)
    with pytest.raises(ConfigError, match="hold no stages"):
        view_classifier.image_stages(random, None)


def test_only_residual_networks_that_are_not_random_are_sources():
    def source(**block):
        return parse(imagenet_cnn.Settings, {"kind": "imagenet_cnn", **block}, "teacher").image_source()

    assert source(architecture="resnet50") == "resnet50"
    assert source(architecture="squeezenet1_0") is None
    assert source(architecture="resnet18", initialisation="random") is None
    assert cifar(initialisation="random").image_source() is small().image_source() is None
    assert small(training=TRAINING).image_source() == "resnet8"
