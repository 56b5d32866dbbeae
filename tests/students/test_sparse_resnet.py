"""Sparse residual networks: parameters as counted for the authors', sheets against 2D networks, order and shift."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.image_networks import (
    ImageArchitecture,
    PaddedBlock,
    architecture_of,
    inflatable_stages,
    read_stages,
    small_network,
    stage_shapes,
)
from pointlift.operators.image_stages import stage_groups, takes_image_weights
from pointlift.operators.inflation import Inflation, load_inflated
from pointlift.operators.regimes import changed, freeze, num_trainable, tensor_hashes
from pointlift.operators.sparse_tensor import sparse_tensor
from pointlift.students.sparse_blocks import sparse_stages, voxel_rows
from pointlift.students.sparse_resnet import Settings, build
from students.regime_step import REGIMES, train_one_step

AXES = ("x", "y", "z")
PLANES = {"x": ("y", "z"), "y": ("z", "x"), "z": ("y", "x")}  # where rows and columns of an image go, as documented


def student(architecture="resnet8", **values):
    return build(parse(Settings, {"kind": "sparse_resnet", "architecture": architecture, **values}, "student"))


def clouds(batch=3, count=60, seed=0, dtype=torch.float32):
    drawn = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return functional.normalize(drawn, dim=2).to(dtype)


def unsettle(network):
    """Eval mode, with batch norms that do something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.double().eval()


def sheet(axis, rows, columns, batch=2):
    """Points in the middle of the voxels (of edge 1/4) of a sheet orthogonal to ``axis``, row by row of its image."""
    names = PLANES[axis]
    places = {axis: torch.zeros(rows, columns)}
    places |= dict(zip(names, torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), strict=True))
    return (torch.stack([places[name] for name in AXES], dim=2).flatten(0, 1).double() / 4).expand(batch, -1, -1)


def image_of(tensor, axis, rows, columns):
    """Rows of a sparse tensor on such a sheet as maps (B, C, rows, columns)."""
    grid = tensor.dense(max(rows, columns))
    dims = [2 + AXES.index(name) for name in (axis, *PLANES[axis])]
    return grid.permute(0, 1, *dims)[:, :, 0, :rows, :columns]


PARAMETERS = {  # with 40 classes, in millions; input and output alone; and with the batch norms of the stages
    "resnet18": (34.37, 25_912, 35_384),
    "resnet50": (65.60, 87_352, 140_344),
    "resnet101": (104.65, 87_352, 192_568),
    "resnet152": (136.81, 87_352, 238_648),
}


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_parameters_as_counted_for_the_authors_networks(architecture):
    with torch.device("meta"):
        net = student(architecture)
        model = nn.ModuleDict({"student": net, "head": nn.Sequential(nn.Linear(net.width, 40), nn.BatchNorm1d(40))})
    total, io, io_bn = PARAMETERS[architecture]
    groups = stage_groups(model, net)
    found = {}
    for regime in ("all", "io", "ioms", "io_bn"):
        freeze(model, groups, regime)
        found[regime] = num_trainable(model)
    assert round(found["all"] / 1e6, 2) == total
    assert (found["io"], found["ioms"], found["io_bn"]) == (io, io, io_bn)


@pytest.mark.filterwarnings("ignore:for .*non-meta")
@pytest.mark.parametrize("shortcut", ["single", "sum", "mean"])
@pytest.mark.parametrize("architecture", [*PARAMETERS, "resnet34", "cifar_resnet20", "cifar_resnet56", "resnet8"])
def test_every_2d_architecture_fills_all_stages(architecture, shortcut):
    """Without numbers: all names and shapes fit, and the wrong spread of a shortcut is refused."""
    with torch.device("meta"):
        nets = [student(architecture, shortcut_kernel=kernel) for kernel in (1, 2)]
        source = {name: torch.zeros(shape) for name, shape in stage_shapes(architecture_of(architecture)).items()}
    for net, kernel in zip(nets, (1, 2), strict=True):
        assert net.image_source == net.settings.image_source() == architecture and takes_image_weights(net)
        assert net.settings.num_stages() == len(net.stage_parts) == len(architecture_of(architecture).blocks)
        if shortcut in net.settings.shortcuts():
            origins = net.load_image_stages(source, Inflation("z", "none", shortcut))
            stages = {name for name in net.state_dict() if name.startswith("layer") and "tracked" not in name}
            assert set(origins) == stages
        else:
            assert kernel == (2 if shortcut == "single" else 1)
            with pytest.raises(ArtifactError, match="another shape"):
                net.load_image_stages(source, Inflation("z", "none", shortcut))


def averaged(block, maps_BCHW):
    """A block of a CIFAR network whose shortcut is the average of the pixels, where it takes every second one."""
    inner = functional.relu(block.bn1(block.conv1(maps_BCHW)))
    kept = functional.avg_pool2d(maps_BCHW, block.stride)
    shortcut = functional.pad(kept, (0, 0, 0, 0, block.added // 2, block.added - block.added // 2))
    return functional.relu(block.bn2(block.conv2(inner)) + shortcut)


@pytest.mark.parametrize("scale", ["none", "center"])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("architecture", ["resnet8", "cifar_resnet20"])
def test_a_flat_cloud_answers_as_its_picture_does(architecture, axis, scale):
    """All stages behind the stem, in eval mode and float64: rows of the last stage, embedding and tokens."""
    flat, net = unsettle(small_network(architecture, 10, 0)), unsettle(student(architecture, voxel_size=0.25))
    net.load_image_stages(flat.state_dict(), Inflation(axis, scale, "mean"))
    seen = []
    net.stem.register_forward_hook(lambda _, __, tensor: seen.append(tensor))
    with torch.no_grad():
        output = net(sheet(axis, 8, 12))
        maps = image_of(seen[0], axis, 8, 12)
        for stage in (flat.layer1, flat.layer2, flat.layer3):
            for block in stage:
                maps = averaged(block, maps)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(output.embedding, maps.mean(dim=(2, 3)), **close)
    every = maps.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3).flatten(2).mT
    torch.testing.assert_close(output.tokens, every, **close)
    assert every.std() > 0.1


@pytest.mark.parametrize("stride", [1, 2])
def test_without_a_coarser_level_the_2d_network_is_met_as_it_is(stride):
    """Blocks that keep their level need no average: the 2D block itself, whatever is occupied beside the sheet's."""
    flat = unsettle(PaddedBlock(4, 4, 1))
    stages = sparse_stages(ImageArchitecture((1,), (4,), 4, convolved_shortcuts=False), 1)
    solid = unsettle(nn.ModuleDict(stages))
    source = {f"layer1.0.{name}": tensor for name, tensor in flat.state_dict().items()}
    names = {name: name for name in source if "tracked" not in name}
    load_inflated(solid, names.keys(), source, names, Inflation("y", "center", "mean"))
    image = torch.rand(1, 4, 6, 6, dtype=torch.float64)
    places = functional.pad(torch.nonzero(torch.ones(6, 1, 6)), (1, 0)).int() * stride
    tensor = sparse_tensor(places, image[0].permute(2, 1, 0).reshape(36, 4), 1, stride)
    found = solid["layer1"](tensor).rows
    torch.testing.assert_close(found, flat(image)[0].permute(2, 1, 0).reshape(36, 4), rtol=0, atol=1e-12)


class Spread(nn.Module):
    """A 1x1 convolution of an image as it is on a sheet when it is spread over 2x2x2."""

    def __init__(self, layer, factor):
        super().__init__()
        self.layer, self.factor = layer, factor

    def forward(self, maps_BCHW):
        weight = self.layer.weight.expand(-1, -1, 2, 2) * self.factor
        return functional.conv2d(functional.pad(maps_BCHW, (0, 1, 0, 1)), weight, stride=self.layer.stride)


def torchvision_stages(block, width, widths):
    """Two stages of two blocks, as torchvision builds them; the first has no stride."""
    stages = {}
    for number, inner in enumerate(widths, start=1):
        stride, layers = number, []
        for step in (stride, 1):
            wider = inner * block.expansion
            needed = step != 1 or width != wider
            shortcut = nn.Sequential(nn.Conv2d(width, wider, 1, step, bias=False), nn.BatchNorm2d(wider))
            layers.append(block(width, inner, step, shortcut if needed else None))
            width = wider
        stages[f"layer{number}"] = nn.Sequential(*layers)
    return unsettle(nn.ModuleDict(stages))


@pytest.mark.parametrize(("shortcut", "factor"), [("single", None), ("sum", 1.0), ("mean", 1 / 8)])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("axis", AXES)
def test_a_sheet_answers_as_torchvisions_blocks_do(axis, block, shortcut, factor):
    """Stage by stage; with a single shortcut the same numbers, with a spread one those of the spread convolution."""
    flat = torchvision_stages(block, 6, (3, 5))
    shape = ImageArchitecture((2, 2), (3, 5), 6, bottleneck=block is Bottleneck)
    solid = unsettle(nn.ModuleDict(sparse_stages(shape, 1 if factor is None else 2)))
    names = {name: name for name in stage_shapes(shape)}
    load_inflated(solid, names.keys(), flat.state_dict(), names, Inflation(axis, "center", shortcut))
    if factor is not None:
        for part in (part for part in flat.modules() if getattr(part, "downsample", None) is not None):
            part.downsample[0] = Spread(part.downsample[0], factor)
    _, tensor = voxel_rows(sheet(axis, 6, 8), 0.25, "mean")
    tensor = tensor.with_rows(torch.randn(len(tensor.rows), 6, dtype=torch.float64))
    maps = image_of(tensor, axis, 6, 8)
    with torch.no_grad():
        for name in ("layer1", "layer2"):
            tensor, maps = solid[name](tensor), flat[name](maps)
            torch.testing.assert_close(image_of(tensor, axis, *maps.shape[2:]), maps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axis", AXES)
def test_a_flat_cloud_with_holes_answers_as_its_picture_with_holes(axis):
    """Empty pixels are held at 0 by a mask behind every 2D layer; a shortcut is the mean over occupied pixels alone."""
    flat, net = unsettle(small_network("resnet8", 10, 0)), unsettle(student(voxel_size=0.25))
    net.load_image_stages(flat.state_dict(), Inflation(axis, "none", "mean"))
    points = sheet(axis, 8, 8)[:, torch.rand(64, generator=torch.Generator().manual_seed(3)).argsort()[:25].sort()[0]]
    corner = torch.zeros(2, 1, 3, dtype=torch.float64)  # keeps the minimum of the grid where it was
    seen = []
    net.stem.register_forward_hook(lambda _, __, tensor: seen.append(tensor))
    with torch.no_grad():
        output = net(torch.cat([corner, points], dim=1))
        maps = image_of(seen[0], axis, 8, 8)
        mask = image_of(seen[0].with_rows(torch.ones_like(seen[0].rows[:, :1])), axis, 8, 8)
        for stage in (flat.layer1, flat.layer2, flat.layer3):
            for block in stage:
                share = functional.avg_pool2d(mask, block.stride)
                kept = functional.avg_pool2d(maps, block.stride) / share.clamp_min(1e-9)
                mask = (share > 0).double()
                inner = functional.relu(block.bn1(block.conv1(maps))) * mask
                shortcut = functional.pad(kept, (0, 0, 0, 0, block.added // 2, block.added - block.added // 2))
                maps = functional.relu(block.bn2(block.conv2(inner)) + shortcut) * mask
    assert 0 < mask.sum() <= mask.numel() and len(points[0]) == 25
    wanted = maps.sum(dim=(2, 3)) / mask.sum(dim=(2, 3))
    torch.testing.assert_close(output.embedding, wanted, rtol=1e-9, atol=1e-9)


def test_real_weights_answer_as_in_2d(realdata):
    path = realdata / "image_weights" / "resnet20-12fca82f.th"
    source, flat = read_stages(path, "cifar_resnet20"), small_network("cifar_resnet20", 10, 0)
    flat.load_state_dict(source, strict=False)
    net = student("cifar_resnet20", voxel_size=0.25).double().eval()
    origins = net.load_image_stages(source, Inflation("z", "none", "mean"))
    assert len(origins) == len(source) and set(inflatable_stages("cifar_resnet20")) <= set(origins)
    seen, flat = [], flat.double().eval()
    net.stem.register_forward_hook(lambda _, __, tensor: seen.append(tensor))
    with torch.no_grad():
        output = net(sheet("z", 8, 8))
        maps = image_of(seen[0], "z", 8, 8)
        for block in (*flat.layer1, *flat.layer2, *flat.layer3):
            maps = averaged(block, maps)
    torch.testing.assert_close(output.embedding, maps.mean(dim=(2, 3)), rtol=1e-6, atol=1e-6)


def test_stages_left_out_keep_their_weights():
    net, source = student(), small_network("resnet8", 10, 0).state_dict()
    before = tensor_hashes(net.state_dict())
    origins = net.load_image_stages(source, Inflation("z", "mean", "mean"), excluded=[2])
    after = changed(before, tensor_hashes(net.state_dict()))
    assert {name.split(".")[0] for name in origins} == {"layer1", "layer3"}
    assert {name.split(".")[0] for name in after} == {"layer1", "layer3"}
    with pytest.raises(ConfigError, match="stages 1, 2, 3, not 4"):
        net.load_image_stages(source, Inflation("z", "mean", "mean"), excluded=[4])


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_changes_what_the_regime_says(regime):
    _, groups, moved = train_one_step(student(), clouds(), regime)
    assert moved == set(groups.changing(regime))
    assert all(name.startswith(("student.stem.", "head.")) for name in groups.input + groups.output)


def test_a_student_elsewhere_has_no_groups():
    with pytest.raises(ValueError, match="no part"):
        stage_groups(nn.Linear(2, 2), student())


@pytest.mark.parametrize("rows", ["mean", "nearest", "offset", "occupancy"])
@pytest.mark.parametrize("stem", ["linear", "nonlinear"])
def test_the_order_of_points_changes_no_bit(rows, stem):
    net = unsettle(student(voxel_rows=rows, stem=stem, stem_stride=2, voxel_size=0.2, pool="max")).float()
    points, order = clouds(count=200), torch.randperm(200, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output, moved = net(points), net(points[:, order])
    assert torch.equal(moved.embedding, output.embedding)
    assert torch.equal(moved.tokens, output.tokens[:, order])


def test_the_first_point_hangs_on_the_order():
    points = torch.tensor([[[0.1, 0.0, 0.0], [0.0, 0.0, 0.1], [2.0, 0.0, 0.0]]])
    for order, first in (([0, 1, 2], [0.1, 0.0, 0.0]), ([1, 0, 2], [0.0, 0.0, 0.1])):
        _, tensor = voxel_rows(points[:, order], 0.5, "first")
        assert torch.equal(tensor.rows, torch.tensor([first, [2.0, 0.0, 0.0]]))


def test_what_a_voxel_says_of_its_points():
    """One voxel of three points around (1, 0, 0), one of one point; voxels of edge 1/2."""
    points = torch.tensor(
        [[[1.1, 0.0, 0.0], [0.9, 0.1, 0.0], [1.15, 0.05, 0.0], [-0.2, 0.0, 0.75]]], dtype=torch.float64
    )
    wanted = {
        "mean": [[-0.2, 0.0, 0.75], [1.05, 0.05, 0.0]],
        "nearest": [[-0.2, 0.0, 0.75], [1.1, 0.0, 0.0]],
        "first": [[-0.2, 0.0, 0.75], [1.1, 0.0, 0.0]],
        "offset": [[1.0, -0.4, 0.0, -0.5], [1.0, 0.1, 0.1, 0.0]],
        "occupancy": [[1.0], [1.0]],
    }
    for rows, values in wanted.items():
        voxels, tensor = voxel_rows(points, 0.5, rows)
        torch.testing.assert_close(tensor.rows, torch.tensor(values, dtype=torch.float64), rtol=0, atol=1e-12)
        assert voxels.counts.tolist() == [1, 3] and tensor.coordinates[:, 1].tolist() == [0, 2]


def test_a_shift_by_voxels_is_not_seen_by_voxels_that_say_nothing_of_places():
    net = unsettle(student(voxel_rows="offset", voxel_size=0.25))
    points = clouds(dtype=torch.float64)
    points = (points * 1024).round() / 1024  # the shift is exact, and even: halves are rounded to even voxels
    with torch.no_grad():
        assert torch.equal(net(points + torch.tensor([0.5, -1.5, 3.0])).embedding, net(points).embedding)


def test_points_of_one_voxel_have_one_token_and_the_embedding_is_their_voxels_mean():
    net = unsettle(student(voxel_size=0.25))
    points = clouds(1, dtype=torch.float64)
    with torch.no_grad():
        output = net(points)
    grid = (points[0] / 0.25).round().long()
    cells = torch.div(grid - grid.amin(dim=0), 4, rounding_mode="floor")
    _, inverse = cells.unique(dim=0, return_inverse=True)
    seen = []
    for number in range(int(inverse.max()) + 1):
        rows = output.tokens[0, inverse == number]
        assert (rows == rows[0]).all()
        seen.append(rows[0])
    torch.testing.assert_close(output.embedding[0], torch.stack(seen).mean(dim=0))


def test_torchvision_has_the_networks_that_the_sizes_are_of():
    """The 3D network of kernel 1 shortcuts has the 2D network's parameters, 3x3 ones three times."""
    with torch.device("meta"):
        flat, net = torchvision.models.resnet34(), student("resnet34", shortcut_kernel=1)
    for name, tensor in net.state_dict().items():
        if name.startswith("layer") and tensor.ndim == 5:
            factor = 3 if tensor.shape[2] == 3 else 1
            assert tensor.numel() == factor * flat.state_dict()[name].numel()


@pytest.mark.parametrize(
    ("values", "said"),
    [({"architecture": "vgg"}, "architecture"), ({"voxel_size": 0.0}, "voxel_size"), ({"stem": "none"}, "stem")],
)
def test_what_cannot_be_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        student(**values)


def test_voxels_too_small_for_their_cloud_are_told_as_a_setting():
    with pytest.raises(ConfigError, match=r"voxel_size 1e-05: voxel coordinates from 0 to \d+: .*take larger voxels"):
        student(voxel_size=1e-5)(clouds())
