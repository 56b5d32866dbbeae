"""2D sources: names and shapes against torchvision and the published CIFAR weights, files good and bad."""

import numpy as np
import pytest
import torch
import torchvision
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional

from pointlift.contracts.errors import ArtifactError, ConfigError, MachineError
from pointlift.operators import weight_files
from pointlift.operators.image_networks import (
    ARCHITECTURES,
    PaddedBlock,
    SmallImageNetwork,
    architecture_of,
    inflatable_stages,
    is_shortcut,
    read_stages,
    small_network,
    stage_shapes,
)
from pointlift.operators.regimes import tensor_hashes
from pointlift.operators.torchvision_weights import fetched_stages
from pointlift.operators.weight_files import load_strictly, read_weights, without_counters
from weights_file import write_weights

FILES = {"cifar_resnet20": "resnet20-12fca82f.th", "cifar_resnet56": "resnet56-4bfd9763.th"}
LARGE = [name for name, architecture in ARCHITECTURES.items() if architecture.convolved_shortcuts]
SMALL = [name for name in ARCHITECTURES if name not in LARGE]
MEAN, STD = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))


def shapes_of(network):
    """Stage tensors by name, in order, as the network itself has them."""
    state = without_counters(network.state_dict())
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith("layer")}


@pytest.mark.parametrize("name", LARGE)
def test_stages_are_those_of_torchvision(name):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    wanted = shapes_of(network)
    assert list(stage_shapes(architecture_of(name)).items()) == list(wanted.items())
    shortcuts = {f"{key}.0.weight" for key, module in network.named_modules() if key.endswith("downsample")}
    assert {key for key in wanted if is_shortcut(key)} == shortcuts
    strides = [network.get_submodule(f"layer{stage}.0").stride for stage in (1, 2, 3, 4)]
    assert architecture_of(name).strides == tuple(strides)


@pytest.mark.parametrize("name", SMALL)
def test_stages_are_those_of_the_small_networks(name):
    network = small_network(name, 10, 0)
    assert list(stage_shapes(architecture_of(name)).items()) == list(shapes_of(network).items())


def test_resnet50_by_hand():
    names = stage_shapes(architecture_of("resnet50"))
    convolutions = [name for name, shape in names.items() if len(shape) == 4]
    assert len(convolutions) == 3 * 16 + 4
    assert names["layer1.0.conv1.weight"] == (64, 64, 1, 1)
    assert names["layer1.1.conv1.weight"] == (64, 256, 1, 1)
    assert names["layer4.2.conv2.weight"] == (512, 512, 3, 3)
    assert names["layer2.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert names["layer3.5.bn3.running_var"] == (1024,)


def test_stages_may_keep_their_own_weights():
    kept = inflatable_stages("resnet18", excluded=[1, 4])
    assert {name.partition(".")[0] for name in kept} == {"layer2", "layer3"}
    with pytest.raises(ConfigError, match="resnet18 has stages 1, 2, 3, 4, not 5"):
        inflatable_stages("resnet18", excluded=[5])


def test_architectures_that_are_not_there_are_told():
    with pytest.raises(ConfigError, match=r"no 2D source 'resnet9'; there are resnet18, .*cifar_resnet20"):
        inflatable_stages("resnet9")
    with pytest.raises(ConfigError, match=r"resnet18 is torchvision's.*resnet8"):
        small_network("resnet18", 10, 0)
    with pytest.raises(ConfigError, match="torchvision has no weights of resnet8; give a local file"):
        fetched_stages("resnet8", "student inflated", "give a local file")


def test_no_network_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(MachineError, match=r"student a: .*resnet18 could not be fetched.*or give a local file"):
        fetched_stages("resnet18", "student a", "give a local file")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_stages_come_back_from_every_kind_of_file(suffix, prefix, tmp_path):
    state = small_network("resnet8", 7, 0).state_dict()
    path = write_weights(tmp_path / f"a{suffix}", {prefix + name: tensor for name, tensor in state.items()})
    stages = read_stages(path, "resnet8")
    wanted = {name: tensor for name, tensor in state.items() if name.startswith("layer")}
    assert tensor_hashes(stages) == tensor_hashes(wanted)


def test_files_of_other_networks_are_refused_with_what_differs(tmp_path):
    state = small_network("resnet8", 7, 0).state_dict()
    renamed = {name.replace("layer2.0.conv1", "layer2.0.first"): tensor for name, tensor in state.items()}
    told = r"missing: layer2\.0\.conv1\.weight; unexpected: layer2\.0\.first\.weight"
    with pytest.raises(ArtifactError, match=rf"a\.pt: does not hold the stages of resnet8: {told}"):
        read_stages(write_weights(tmp_path / "a.pt", renamed), "resnet8")
    wide = state | {"layer1.0.conv1.weight": torch.zeros(16, 16, 5, 5)}
    with pytest.raises(ArtifactError, match=r"of another shape: .*\(16, 16, 5, 5\) instead of \(16, 16, 3, 3\)"):
        read_stages(write_weights(tmp_path / "b.pt", wide), "resnet8")
    broken = state | {"layer1.0.bn1.bias": torch.full((16,), torch.nan)}
    with pytest.raises(ArtifactError, match=r"not finite: layer1\.0\.bn1\.bias"):
        read_stages(write_weights(tmp_path / "c.pt", broken), "resnet8")
    # Every tensor of the smaller network stands in the larger one, with the same shape.
    with pytest.raises(ArtifactError, match=r"unexpected: layer1\.1\.bn1\.bias, .* and \d+ more"):
        read_stages(write_weights(tmp_path / "d.pt", small_network("cifar_resnet20", 10, 0).state_dict()), "resnet8")


def test_files_larger_than_any_weights_are_refused_unread(tmp_path):
    path = tmp_path / "a.pt"
    with path.open("wb") as stream:
        stream.truncate(9 * 1024**3)  # a file of holes: it takes no room
    with pytest.raises(ArtifactError, match=r"a\.pt: 9663676416 bytes; weights files are at most"):
        read_stages(path, "resnet8")


def test_files_that_unpack_to_more_than_any_weights_are_refused_unread(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", **{"layer1.0.conv1.weight": np.zeros(100_000, np.float32)})
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    monkeypatch.setattr(weight_files, "_LARGEST_FILE", 399_999)
    monkeypatch.setattr(weight_files, "_read", lambda _: pytest.fail("it was read"))
    with pytest.raises(ArtifactError, match=r"a\.npz: 400\d\d\d bytes; weights files are at most 399999"):
        read_stages(tmp_path / "a.npz", "resnet8")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(("suffix", "seed"), [(".npz", 0), (".pt", 1), (".th", 2), (".safetensors", 3)])
def test_damaged_files_are_told_as_such(suffix, seed, tmp_path):
    """Bytes changed at random: a file is read, or told to be unreadable; nothing else is raised."""
    draw, path, told = np.random.default_rng(seed), tmp_path / f"a{suffix}", 0
    tensors = {f"layer1.{number}": torch.rand(4, 4, 3, 3) for number in range(3)}
    if suffix == ".npz":
        np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif suffix == ".th":
        torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=False)
    else:
        write_weights(path, tensors)
    whole = path.read_bytes()
    for _ in range(120):
        bytes_now = np.frombuffer(whole, np.uint8).copy()
        places = draw.integers(min(600, len(whole)) if draw.random() < 0.5 else len(whole), size=draw.integers(1, 12))
        bytes_now[places] = draw.integers(256, size=len(places))
        path.write_bytes(bytes_now.tobytes()[: draw.integers(1, len(whole)) if draw.random() < 0.3 else len(whole)])
        try:
            read_weights(path)
        except ArtifactError as error:
            assert "not a readable weights file" in str(error)
            told += 1
    assert told > 30


def test_weights_depend_on_name_and_seed_alone():
    first = tensor_hashes(small_network("resnet8", 5, 3).state_dict())
    torch.manual_seed(17)
    assert tensor_hashes(small_network("resnet8", 5, 3).state_dict()) == first
    other = tensor_hashes(small_network("resnet8", 5, 4).state_dict())
    assert other["layer1.0.conv1.weight"] != first["layer1.0.conv1.weight"]


def test_the_small_network_learns_and_its_last_two_parts_are_pooling_and_classifier():
    network = small_network("resnet8", 5, 0)
    images = torch.rand(2, 3, 33, 32)
    logits = network(images)
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    trunk = nn.Sequential(*list(network.children())[:-2])
    assert trunk(images).shape == (2, 64, 9, 8)
    with pytest.raises(ValueError, match="torchvision's"):
        SmallImageNetwork(architecture_of("resnet18"), 5)


def test_a_shortcut_without_parameters_by_hand():
    block = PaddedBlock(2, 4, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    maps = torch.rand(1, 2, 4, 4)
    answer = block(maps)
    assert torch.equal(answer[:, 1:3], maps[:, :, ::2, ::2])
    assert not answer[:, [0, 3]].any()


def real_network(realdata, name):
    network = small_network(name, 10, 0)
    load_strictly(network, realdata / "image_weights" / FILES[name])
    return network.eval()


@pytest.mark.parametrize(("name", "parameters"), [("cifar_resnet20", 269_722), ("cifar_resnet56", 853_018)])
def test_real_files_hold_exactly_these_networks(realdata, name, parameters):
    """He et al., table 6: 0.27 and 0.85 million parameters."""
    network = real_network(realdata, name)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    stages = read_stages(realdata / "image_weights" / FILES[name], name)
    assert tensor_hashes(stages) == tensor_hashes(network.state_dict(), list(stages))


@pytest.mark.parametrize("number", [0, 40, 89])
def test_a_real_file_with_one_tensor_renamed_is_refused(realdata, number, tmp_path):
    state = torch.load(realdata / "image_weights" / FILES["cifar_resnet20"], map_location="cpu", weights_only=True)
    state = dict(state["state_dict"])
    name = [key for key in state if key.startswith("module.layer")][number]
    state[f"{name}.old"] = state.pop(name)
    with pytest.raises(ArtifactError, match=f"missing: {name.removeprefix('module.')}; unexpected: .*old"):
        read_stages(write_weights(tmp_path / "a.th", state), "cifar_resnet20")


def picture(points, view):
    """Points (n, 3), y up, as a picture (1, 3, 32, 32) of grey dots before blue; near ones are brighter."""
    ahead = np.array(view) / np.linalg.norm(view)
    right = np.cross(ahead, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    points = points / np.abs(points).max()
    column, row = ((side * 0.9 + 1) / 2 * 127 for side in (points @ right, -(points @ np.cross(right, ahead))))
    depth, pixels = points @ ahead, np.full((129, 129, 3), [0.55, 0.7, 0.9])
    for number in np.argsort(-depth):
        i, j = int(row[number]), int(column[number])
        pixels[i : i + 2, j : j + 2] = 0.9 - 0.25 * (depth[number] + 1)
    return functional.interpolate(torch.from_numpy(pixels[:128, :128]).permute(2, 0, 1)[None].float(), 32, mode="area")


@pytest.mark.parametrize("name", FILES)
def test_real_weights_see_airplanes_in_pictures_of_airplanes(realdata, name):
    """Class 0 of CIFAR-10 is airplane; of ten classes, most views of six real airplanes must be given that one."""
    folder = realdata / "modelnet40_normal_resampled" / "airplane"
    clouds = [np.loadtxt(path, delimiter=",")[::2, :3] for path in sorted(folder.glob("airplane_*.txt"))]
    views = ((1, -0.3, 0.3), (0.3, -0.3, 1), (1, -0.3, 1), (1, 0.2, -0.6))
    pictures = torch.cat([picture(cloud, view) for cloud in clouds for view in views])
    with torch.no_grad():
        classes = real_network(realdata, name)((pictures - MEAN) / STD).argmax(1)
    assert len(classes) == 24
    assert (classes == 0).float().mean() > 0.6


def drift(network, images):
    """How far the means before each batch norm are from the running means, in running deviations, over all norms."""
    found = []

    def compare(norm, given):
        gap = given[0].mean((0, 2, 3)) - norm.running_mean
        found.append((gap.square() / norm.running_var).mean().sqrt())

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(compare) for norm in norms]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return float(torch.stack(found).mean())


@pytest.mark.parametrize("name", FILES)
def test_real_weights_meet_photographs_with_the_statistics_they_were_trained_to(realdata, name, monkeypatch):
    """With other shortcuts than those of the training, running statistics no longer fit what photographs give."""
    patches = []
    for image in load_sample_images().images:
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255.0
        small = functional.interpolate(pixels, scale_factor=0.3, mode="bilinear", antialias=True)
        patches += [part for row in small.split(32, 2)[:-1] for part in row.split(32, 3)[:-1]]
    images = (torch.cat(patches) - MEAN) / STD
    network = real_network(realdata, name)
    right = drift(network, images)
    pad = functional.pad
    monkeypatch.setattr(functional, "pad", lambda kept, by: pad(kept, (*by[:4], 0, by[4] + by[5])))
    assert right < 0.4
    assert drift(network, images) > 1.25 * right
