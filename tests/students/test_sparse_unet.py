"""The sparse U-Net: parameters by hand, its encoder beside the classification network, steps back, order of points."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pointlift import rooms
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.image_networks import inflatable_stages, small_network
from pointlift.operators.image_stages import stage_groups
from pointlift.operators.inflation import Inflation
from pointlift.operators.regimes import changed, freeze, set_training, tensor_hashes
from pointlift.operators.sparse_convolution import SparseConvolution3d
from pointlift.operators.student_output import shape_of
from pointlift.students import sparse_resnet
from pointlift.students.sparse_unet import Settings, build
from pointlift.tasks.segmenter import SegmentationHead


def student(architecture="resnet8", **values):
    return build(parse(Settings, {"kind": "sparse_unet", "architecture": architecture, **values}, "student"))


def clouds(batch=3, count=120, seed=0, dtype=torch.float32):
    drawn = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return functional.normalize(drawn, dim=2).to(dtype)


def settled(**values):
    """Float64 and eval mode, with batch norms that have seen clouds."""
    net = student(**{"voxel_size": 0.1, **values}).double()
    for seed in range(3):
        net(clouds(seed=seed, dtype=torch.float64))
    return net.eval()


def test_parameters_are_those_of_its_layers():
    """The authors' network with a ResNet-18 encoder, without its classifier; a 2x2x2 shortcut is of the encoder."""

    def layer(width, wider, kernel):
        return width * wider * kernel**3 + 2 * wider

    def block(width, wider, shortcut):
        return layer(width, wider, 3) + layer(wider, wider, 3) + (layer(width, wider, shortcut) if shortcut else 0)

    wanted = layer(3, 64, 3) + layer(64, 64, 3) + layer(64, 64, 2)
    wanted += 2 * block(64, 64, 0)
    for width in (64, 128, 256):
        wanted += block(width, 2 * width, 2) + block(2 * width, 2 * width, 0)
    before = 512
    for width, kept, kernel in ((512, 256, 3), (256, 128, 3), (192, 64, 3), (192, 64, 2)):
        wanted += layer(before, width, kernel) + block(width + kept, width, 1) + block(width, width, 0)
        before = width
    with torch.device("meta"):
        net = student("resnet18")
    assert sum(parameter.numel() for parameter in net.parameters()) == wanted
    assert (net.width, net.token_width) == (512, 192)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", "cifar_resnet20"])
def test_its_stages_are_those_of_the_classification_network(architecture):
    with torch.device("meta"):
        block = {"kind": "sparse_resnet", "architecture": architecture}
        other = sparse_resnet.build(parse(sparse_resnet.Settings, block, "student"))
        net = student(architecture)
    mine, theirs = (
        {name: tensor.shape for name, tensor in each.state_dict().items() if name.startswith("layer")}
        for each in (net, other)
    )
    assert mine == theirs
    assert net.stage_parts == other.stage_parts and net.source_names() == other.source_names()
    assert net.settings.shortcuts() == other.settings.shortcuts()


def test_the_encoder_is_the_classification_network_on_a_halved_grid():
    """What enters the stages, given to the other network's stages, leaves them as the embedding."""
    net = settled()
    other = sparse_resnet.build(parse(sparse_resnet.Settings, {"kind": "sparse_resnet", "architecture": "resnet8"}, ""))
    other.double().eval().load_state_dict(
        {name: tensor for name, tensor in net.state_dict().items() if name.startswith("layer")}, strict=False
    )
    seen = []
    net.halve.register_forward_hook(lambda _, __, tensor: seen.append(tensor))
    with torch.no_grad():
        output, tensor = net(clouds(dtype=torch.float64)), seen[0]
        for name in other.stage_parts:
            tensor = other.get_submodule(name)(tensor)
    assert seen[0].stride == 2 and tensor.stride == 8
    start = 0
    for number, count in enumerate(tensor.counts.tolist()):
        wanted = tensor.rows[start : start + count].mean(dim=0)
        torch.testing.assert_close(output.embedding[number], wanted, rtol=1e-9, atol=1e-12)
        start += count


def test_steps_back_write_to_the_voxels_they_came_from():
    """Strides 2, 4, 8 and back 4, 2, 1; every transposed convolution reads a map that the encoder made."""
    net, levels, strides = settled(), [], []

    def note_maps(_, given):
        levels.append(set(given[0].levels._maps))

    def note_stride(_, __, tensor):
        strides.append(tensor.stride)

    for part in net.modules():
        if isinstance(part, SparseConvolution3d) and part.transposed:
            part.register_forward_pre_hook(note_maps)
            part.register_forward_hook(note_stride)
    with torch.no_grad():
        net(clouds(dtype=torch.float64))
    assert strides == [4, 2, 1]
    for stride, kernel, made in zip(strides, (3, 3, 2), levels, strict=True):
        assert (stride, kernel, 2) in made, "made by the encoder, before the step back"


def test_points_of_one_fine_voxel_have_one_token_and_others_their_own():
    net, points = settled(), clouds(1, dtype=torch.float64)
    with torch.no_grad():
        tokens = net(points).tokens[0]
    _, inverse = (points[0] / 0.1).round().long().unique(dim=0, return_inverse=True)
    together = inverse[:, None] == inverse
    assert together.sum() > len(points[0])
    equal = (tokens[:, None] == tokens).all(dim=2)
    assert torch.equal(equal, together)


@pytest.mark.parametrize("rows", ["mean", "nearest", "offset", "occupancy"])
def test_the_order_of_points_changes_no_bit(rows):
    net, points = settled(voxel_rows=rows).float(), clouds()
    order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output, moved = net(points), net(points[:, order])
    assert torch.equal(moved.embedding, output.embedding)
    assert torch.equal(moved.tokens, output.tokens[:, order])


def test_what_is_dropped_is_dropped_in_training_alone():
    net, points = student(dropout=0.9, voxel_size=0.1), clouds()
    torch.manual_seed(0)
    first, second = net(points), net(points)
    assert not torch.equal(first.tokens, second.tokens) and torch.equal(first.embedding, second.embedding)
    net.eval()
    assert torch.equal(net(points).tokens, net(points).tokens)


@pytest.mark.parametrize("regime", ["io", "io_bn"])
def test_inflated_the_decoder_learns_and_the_stages_keep_what_the_regime_says(regime):
    net = student(voxel_size=0.1)
    source = small_network("resnet8", 10, 0).state_dict()
    origins = net.load_image_stages(source, Inflation("z", "mean", "mean"))
    assert set(inflatable_stages("resnet8")) <= set(origins)
    groups = stage_groups(net, net)
    assert all(name.startswith(("stem.", "halve.")) for name in groups.input)
    assert all(name.startswith("decoder.") for name in groups.output)
    freeze(net, groups, regime)
    set_training(net, groups, regime)
    before = tensor_hashes(net.state_dict())
    output = net(clouds())
    (output.tokens * torch.randn(output.tokens.shape)).sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1).step()
    assert changed(before, tensor_hashes(net.state_dict())) == groups.changing(regime)


def test_a_segmentation_head_reads_its_points():
    member = rooms.load("tasks", "part_segmentation")
    recipe = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    block = {"kind": "part_segmentation", "dataset": "d", "head_widths": [9], "recipe": recipe}
    net, points = student(voxel_size=0.1), clouds()
    head = SegmentationHead(shape_of(net), (), 2, 5, parse(member.Settings, block, "task"))
    scores = head(net(points), points, torch.tensor([0, 1, 0]))
    assert scores.shape == (3, points.shape[1], 5)
    (scores * torch.randn(scores.shape)).sum().backward()
    assert all(parameter.grad.any() for name, parameter in net.named_parameters() if parameter.ndim > 1), "all learn"


@pytest.mark.parametrize(("widths", "said"), [([8, 8], "3 widths above 0"), ([8, 8, 0], "above 0"), ([8] * 4, "3 wid")])
def test_a_step_back_for_each_stage(widths, said):
    with pytest.raises(ConfigError, match=said):
        student(decoder_widths=widths)
    assert student(decoder_widths=[8, 9, 10]).token_width == 10
    assert isinstance(student().decoder, nn.ModuleList) and student().token_width == 48
