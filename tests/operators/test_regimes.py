"""Regimes on a small 3D network: what a step of training changes, by hashes, and how much is trained."""

import pytest
import torch
import torchvision
from torch import nn

from pointlift.operators.image_networks import inflatable_stages
from pointlift.operators.inflation import Inflation, inflate_stages
from pointlift.operators.regimes import changed, freeze, group_tensors, num_trainable, set_training, tensor_hashes

REGIMES = ("io", "ioms", "io_bn", "all")


def network_3d():
    """A stem, two stages and a head over dense grids; every part has a batch norm."""

    def layer(width, wider):
        return nn.Sequential(nn.Conv3d(width, wider, 3, padding=1, bias=False), nn.BatchNorm3d(wider), nn.ReLU())

    parts = {"stem": layer(2, 4), "layer1": layer(4, 4), "layer2": nn.Sequential(layer(4, 6))}
    pool = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    return nn.Sequential(nn.ModuleDict(parts | {"head": nn.Sequential(pool, nn.Linear(6, 3), nn.BatchNorm1d(3))}))[0]


def answer(network, grid):
    for part in network.values():
        grid = part(grid)
    return grid


def grouped(network):
    return group_tensors(network, ["stem"], ["layer1", "layer2"])


def test_every_tensor_is_in_one_group():
    network = network_3d()
    groups = grouped(network)
    assert groups.middle == ("layer1.0.weight", "layer2.0.0.weight")
    assert groups.norm_affine == ("layer1.1.weight", "layer1.1.bias", "layer2.0.1.weight", "layer2.0.1.bias")
    assert len(groups.norm_statistics) == 6
    assert all(name.startswith("stem") for name in groups.input)
    assert all(name.startswith("head") for name in groups.output)
    assert sorted(groups.input + groups.output + groups.stages) == sorted(network.state_dict())


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_with_weight_decay_changes_what_the_regime_says_and_no_bit_more(regime):
    network = network_3d()
    groups = grouped(network)
    freeze(network, groups, regime)
    set_training(network, groups, regime)
    # All parameters are handed over: frozen ones must survive weight decay and momentum.
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = tensor_hashes(network.state_dict())
    for _ in range(2):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(answer(network, torch.randn(4, 2, 3, 3, 3)), torch.tensor([0, 1, 2, 0]))
        loss.backward()
        optimiser.step()
    assert changed(before, tensor_hashes(network.state_dict())) == groups.changing(regime)


def test_what_each_regime_adds():
    groups = grouped(network_3d())
    sets = [groups.changing(regime) for regime in REGIMES]
    assert sets[0] == {*groups.input, *groups.output}
    assert sets[1] - sets[0] == set(groups.norm_statistics)
    assert sets[2] - sets[1] == set(groups.norm_affine)
    assert sets[3] - sets[2] == set(groups.middle)
    assert sets[0] < sets[1] < sets[2] < sets[3]


def test_parts_that_are_not_there_or_are_two_things_are_refused():
    network = network_3d()
    with pytest.raises(ValueError, match="no tensors in 'layer3'"):
        group_tensors(network, ["stem"], ["layer1", "layer3"])
    with pytest.raises(ValueError, match=r"both input and stages: layer1\.0\.weight"):
        group_tensors(network, ["stem", "layer1.0"], ["layer1"])


def test_hashes_tell_bits_types_and_shapes_apart():
    one = torch.tensor([0.0, 1.0])
    tensors = {
        "same": torch.tensor([9.0, 0.0, 9.0, 1.0])[1::2],
        "negative zero": torch.tensor([-0.0, 1.0]),
        "next": torch.nextafter(one, torch.ones(2)),
        "shape": one.reshape(1, 2),
        "type": one.view(torch.int32),
        "half": one.bfloat16(),
        "counter": torch.tensor(1),
    }
    hashes = tensor_hashes(tensors)
    first = tensor_hashes({"one": one})["one"]
    assert [name for name, value in hashes.items() if value == first] == ["same"]
    assert len(set(hashes.values())) == len(hashes)
    assert tensor_hashes(tensors, ["half"]) == {"half": hashes["half"]}
    with pytest.raises(KeyError):
        tensor_hashes(tensors, ["absent"])
    assert changed({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == {"b", "c"}


@pytest.mark.parametrize(
    ("name", "total", "io", "io_bn"),
    [
        ("resnet18", 34.37, 25_912, 35_384),
        ("resnet50", 65.60, 87_352, 140_344),
        ("resnet101", 104.65, 87_352, 192_568),
        ("resnet152", 136.81, 87_352, 238_648),
    ],
)
def test_counts_of_the_paper_s_networks(name, total, io, io_bn):
    """40 classes, 3 input channels, a stem of one 3x3x3 convolution, a head with a batch norm over its logits."""
    with torch.device("meta"):
        image_network = torchvision.models.get_model(name, weights=None)
        width = image_network.fc.in_features
        network = nn.Module()
        network.stem = nn.Sequential(nn.Conv3d(3, 64, 3, bias=False), nn.BatchNorm1d(64))
        network.head = nn.Sequential(nn.Linear(width, 40), nn.BatchNorm1d(40))
        network.stages = nn.Module()
        for number in range(1, 5):
            network.stages.add_module(f"layer{number}", getattr(image_network, f"layer{number}"))
        names = {f"stages.{key}": key for key in inflatable_stages(name)}
        made, _ = inflate_stages(image_network.state_dict(), names, Inflation("z", "none", "sum"))
    for module_name, module in network.stages.named_modules():
        if isinstance(module, nn.Conv2d):
            module.weight = nn.Parameter(made[f"stages.{module_name}.weight"])
    groups = group_tensors(network, ["stem"], ["stages"])
    counts = {}
    for regime in REGIMES:
        freeze(network, groups, regime)
        counts[regime] = num_trainable(network)
    assert counts["io"] == counts["ioms"] == io
    assert counts["io_bn"] == io_bn
    assert round(counts["all"] / 1e6, 2) == total
