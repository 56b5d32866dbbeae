"""Inflated kernels against 2D convolutions; copies and names against what was put in."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.operators.image_networks import SmallImageNetwork, architecture_of, inflatable_stages, read_stages
from pointlift.operators.inflation import Inflation, Origin, inflate, inflate_stages, load_inflated, spread_shortcut
from pointlift.operators.regimes import tensor_hashes
from pointlift.operators.sparse_convolution import SparseConvolution3d
from pointlift.operators.sparse_tensor import sparse_tensor

AXES = ("x", "y", "z")
SCALES = ("none", "mean", "center")
PLANES = {"x": ("y", "z"), "y": ("z", "x"), "z": ("y", "x")}  # where rows and columns of an image go, as documented


def kernel(size=3, out=4, inputs=3):
    return torch.randn(out, inputs, size, size, dtype=torch.float64)


def volume_of(slices, axis):
    """(B, C, n, rows, columns), slices along ``axis``, as a grid (B, C, x, y, z)."""
    rows, columns = PLANES[axis]
    place = {axis: 2, rows: 3, columns: 4}
    return slices.permute(0, 1, *(place[name] for name in AXES))


def slices_of(volume, axis):
    """The inverse of ``volume_of``."""
    rows, columns = PLANES[axis]
    return volume.permute(0, 1, *(2 + AXES.index(name) for name in (axis, rows, columns)))


def same(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_sums_and_slices(axis, size):
    weight = kernel(size)
    summed = weight.sum()
    none, mean = inflate(weight, axis, "none"), inflate(weight, axis, "mean")
    assert none.shape == mean.shape == (4, 3, size, size, size)
    same(none.sum(), size * summed)
    same(mean.sum(), summed)
    for number in range(size):
        assert torch.equal(slices_of(none, axis)[:, :, number], weight)
        assert torch.equal(slices_of(mean, axis)[:, :, number], weight / size)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_center_fills_the_middle_slice_alone(axis, size):
    weight = kernel(size)
    slices = slices_of(inflate(weight, axis, "center"), axis)
    assert torch.equal(slices[:, :, size // 2], weight)
    assert torch.count_nonzero(slices) == weight.numel()


@pytest.mark.parametrize("axis", AXES)
def test_center_of_an_even_kernel_is_refused(axis):
    with pytest.raises(ConfigError, match="2x2 has no middle slice; choose none or mean"):
        inflate(kernel(2), axis, "center")


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    ("size", "stride", "scale"),
    [
        (2, 2, "none"),
        (2, 2, "mean"),
        *((*kind, scale) for kind in ((1, 1), (3, 1), (3, 2), (7, 2)) for scale in SCALES),
    ],
)
def test_a_volume_constant_along_the_axis_answers_as_the_image_does(axis, size, stride, scale):
    weight, image = kernel(size), torch.randn(2, 3, 12, 13, dtype=torch.float64)
    padding = (size - 1) // 2
    volume = volume_of(image.unsqueeze(2).expand(-1, -1, 16, -1, -1), axis)
    answer = functional.conv3d(volume, inflate(weight, axis, scale), stride=stride, padding=padding)
    expected = functional.conv2d(image, weight, stride=stride, padding=padding)
    inner = slices_of(answer, axis)[:, :, math.ceil(padding / stride) : (16 - size + padding) // stride + 1]
    assert inner.shape[2] > 1
    factor = size if scale == "none" else 1
    same(inner, (factor * expected).unsqueeze(2).expand_as(inner), 1e-11)


@pytest.mark.parametrize(("scale", "factor"), [("none", 2.0), ("mean", 2 / 3), ("center", 1.0)])
@pytest.mark.parametrize("axis", AXES)
def test_border_slices_miss_what_is_padded(axis, scale, factor):
    weight, image = kernel(), torch.randn(1, 3, 8, 8, dtype=torch.float64)
    volume = volume_of(image.unsqueeze(2).expand(-1, -1, 5, -1, -1), axis)
    slices = slices_of(functional.conv3d(volume, inflate(weight, axis, scale), padding=1), axis)
    for border in (0, -1):
        same(slices[:, :, border], factor * functional.conv2d(image, weight, padding=1))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("axis", AXES)
def test_one_occupied_slice(axis, scale):
    weight, image = kernel(), torch.randn(1, 3, 8, 8, dtype=torch.float64)
    slices = torch.zeros(1, 3, 5, 8, 8, dtype=torch.float64)
    slices[:, :, 2] = image
    weights = inflate(weight, axis, scale)
    answer = slices_of(functional.conv3d(volume_of(slices, axis), weights, padding=1), axis)
    expected = functional.conv2d(image, weight, padding=1)
    same(answer[:, :, 2], expected / (3 if scale == "mean" else 1))
    beside = {"none": expected, "mean": expected / 3, "center": torch.zeros_like(expected)}[scale]
    same(answer[:, :, 1], beside)
    same(answer[:, :, 3], beside)
    assert not answer[:, :, [0, 4]].any()


def test_hand_vector_and_the_authors_names_of_axes():
    weight = torch.arange(9.0).reshape(1, 1, 3, 3)
    vectors = {
        "z": [0, 1, 2] * 3 + [3, 4, 5] * 3 + [6, 7, 8] * 3,
        "y": list(range(9)) * 3,
        "x": [u for column in range(3) for row in range(3) for u in [3 * row + column] * 3],
    }
    assert vectors["x"] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 1, 1, 1, 4, 4, 4, 7, 7, 7, 2, 2, 2, 5, 5, 5, 8, 8, 8]
    for option, vector in vectors.items():
        along = Inflation(option, "none", "sum", authors_axis_names=True).along
        zyx = inflate(weight, along, "none")[0, 0].permute(2, 1, 0)
        assert zyx.flatten().tolist() == vector
    assert [Inflation(axis, "none", "sum").along for axis in AXES] == list(AXES)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("other", ["x", "y"])
def test_turning_the_grid_and_the_axis_turns_the_answer(other, scale):
    weight, volume = kernel(), torch.randn(1, 3, 6, 7, 8, dtype=torch.float64)
    dims = 2 + AXES.index("z"), 2 + AXES.index(other)
    answer = functional.conv3d(volume, inflate(weight, "z", scale), padding=1)
    turned = functional.conv3d(volume.transpose(*dims), inflate(weight, other, scale), padding=1)
    same(turned.transpose(*dims), answer)


@pytest.mark.parametrize(("shortcut", "factor"), [("sum", 8.0), ("mean", 1.0), ("single", 1.0)])
def test_a_spread_shortcut_on_a_full_cell(shortcut, factor):
    weight, row = kernel(1), torch.randn(3, dtype=torch.float64)
    spread = spread_shortcut(weight, shortcut)
    size = 1 if shortcut == "single" else 2
    assert spread.shape == (4, 3, size, size, size)
    cell = row.reshape(1, 3, 1, 1, 1).expand(-1, -1, 2, 2, 2)
    same(functional.conv3d(cell, spread, stride=2).flatten(), factor * weight[:, :, 0, 0] @ row)


@pytest.mark.parametrize("wrong", [torch.zeros(3, 3), torch.zeros(2, 2, 3, 1), torch.zeros(2, 2, 3, 3, 3)])
def test_what_is_no_kernel_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\(out, in, k, k\)"):
        inflate(wrong, "z", "none")
    with pytest.raises(ValueError, match=r"\(out, in, 1, 1\)"):
        spread_shortcut(wrong, "sum")


@pytest.mark.parametrize("scale", SCALES)
def test_the_source_keeps_its_bits_and_shares_no_memory(scale):
    source = {
        "layer1.0.conv1.weight": kernel(),
        "layer1.0.conv2.weight": kernel(1),
        "layer1.0.bn1.weight": torch.rand(4),
    }
    before = tensor_hashes(source)
    made, _ = inflate_stages(source, {name: name for name in source}, Inflation("x", scale, "mean"))
    for tensor in made.values():
        tensor.zero_()
    assert tensor_hashes(source) == before


class Block3d(nn.Module):
    """A basic residual block on a dense grid, batch norms and shortcut as in 2D; empty voxels stay empty."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm3d(width), nn.BatchNorm3d(width)

    def forward(self, grid, occupied=1):
        inner = functional.relu(self.bn1(self.conv1(grid) * occupied)) * occupied
        return functional.relu(self.bn2(self.conv2(inner) * occupied) + grid) * occupied


class Network3d(nn.Module):
    """Stages of a small CIFAR network in 3D, first stage only ever run."""

    def __init__(self, blocks=1):
        super().__init__()
        self.layer1 = nn.Sequential(*(Block3d(16) for _ in range(blocks)))


def settled_2d(blocks=1):
    """A small 2D network, float64, in eval mode, whose batch norms do something."""
    network = SmallImageNetwork(architecture_of("resnet8"), 10).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
            module.num_batches_tracked += 7
    return network.eval()


def first_stage(network):
    source = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("layer1")}
    return source, {name: name for name in source if not name.endswith("tracked")}


@pytest.mark.parametrize("scale", ["none", "center"])
@pytest.mark.parametrize("axis", AXES)
def test_a_flat_sheet_answers_as_the_image_does(axis, scale):
    """Submanifold convolution (dense, with empty voxels held empty), a whole residual block in eval mode."""
    flat, solid = settled_2d(), Network3d().double().eval()
    source, names = first_stage(flat)
    load_inflated(solid, solid.state_dict().keys(), source, names, Inflation(axis, scale, "mean"))
    image = torch.rand(2, 16, 6, 7, dtype=torch.float64)
    slices, occupied = torch.zeros(2, 16, 4, 6, 7, dtype=torch.float64), torch.zeros(1, 1, 4, 6, 7)
    slices[:, :, 1], occupied[:, :, 1] = image, 1
    answer = solid.layer1[0](volume_of(slices, axis), volume_of(occupied, axis))
    same(slices_of(answer, axis)[:, :, 1], flat.layer1(image))


def test_batch_norms_are_copied_bit_for_bit_with_their_counters():
    flat, solid = settled_2d(), Network3d().double()
    source, names = first_stage(flat)
    origins = load_inflated(solid, solid.state_dict().keys(), source, names, Inflation("z", "mean", "mean"))
    copied = [name for name in solid.state_dict() if ".bn" in name]
    assert len(copied) == 10
    assert tensor_hashes(solid.state_dict(), copied) == tensor_hashes(source, copied)
    assert solid.layer1[0].bn1.num_batches_tracked == 7
    assert {origins[name] for name in copied} == {Origin(name, "copied") for name in copied}
    assert origins["layer1.0.conv2.weight"] == Origin("layer1.0.conv2.weight", "inflated along z, divided by 3")
    assert set(origins) == set(solid.state_dict())


def test_a_source_without_counters_leaves_those_of_the_network():
    flat, solid = settled_2d(), Network3d().double()
    source, names = first_stage(flat)
    source = {name: tensor for name, tensor in source.items() if name in names}
    origins = load_inflated(solid, solid.state_dict().keys(), source, names, Inflation("z", "mean", "mean"))
    assert set(origins) == set(names)
    assert solid.layer1[0].bn1.num_batches_tracked == 0


def test_sparse_convolutions_take_the_same_kernels():
    solid = nn.ModuleDict({"conv1": SparseConvolution3d(3, 4, 3)})
    weight = kernel().float()
    source = {"layer1.0.conv1.weight": weight}
    load_inflated(solid, ["conv1.weight"], source, {"conv1.weight": next(iter(source))}, Inflation("y", "none", "sum"))
    assert torch.equal(solid["conv1"].weight, inflate(weight, "y", "none"))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("axis", AXES)
def test_sparse_convolutions_of_a_sheet_answer_as_the_image_does(axis, scale, stride):
    weight, image = kernel(), torch.randn(1, 3, 6, 6, dtype=torch.float64)
    grid = volume_of(image.unsqueeze(2), axis)[0].movedim(0, 3)
    places = functional.pad(torch.nonzero(torch.ones(grid.shape[:3])), (1, 0)).int()
    layer = SparseConvolution3d(3, 4, 3, stride).double()
    layer.load_state_dict({"weight": inflate(weight, axis, scale)})
    answer = slices_of(layer(sparse_tensor(places, grid.reshape(-1, 3), 1)).dense(6 // stride), axis)
    expected = functional.conv2d(image, weight, stride=stride, padding=1)
    same(answer[:, :, 0], expected / (3 if scale == "mean" else 1))
    assert not answer[:, :, 1:].any()


INFLATION = Inflation("z", "mean", "mean")


@pytest.mark.parametrize("number", range(10))
def test_any_forgotten_or_renamed_tensor_is_named_and_nothing_is_loaded(number):
    solid = Network3d().double()
    source, names = first_stage(settled_2d())
    name, before = list(names)[number], tensor_hashes(solid.state_dict())
    lost = {key: value for key, value in source.items() if key != name}
    for changed in (lost, {**lost, f"{name}.old": source[name]}):
        with pytest.raises(ArtifactError, match=rf"found sources of 9 of 10.*missing: {name} \(from {name}\)"):
            load_inflated(solid, solid.state_dict().keys(), changed, names, INFLATION)
    forgotten = {key: value for key, value in names.items() if key != name}
    with pytest.raises(ArtifactError, match=rf"found sources of 9 of 10.*missing: {name};"):
        load_inflated(solid, solid.state_dict().keys(), source, forgotten, INFLATION)
    assert tensor_hashes(solid.state_dict()) == before


def test_other_shapes_and_names_without_a_place_are_told():
    solid = Network3d().double()
    source, names = first_stage(settled_2d())
    wide = source | {"layer1.0.conv1.weight": kernel(5, 16, 16)}
    with pytest.raises(ArtifactError, match=r"another shape: layer1\.0\.conv1\.weight \(16, 16, 3, 3, 3\) from .*5, 5"):
        load_inflated(solid, solid.state_dict().keys(), wide, names, INFLATION)
    with pytest.raises(ArtifactError, match=r"no stage tensors: head\.weight"):
        load_inflated(
            solid, solid.state_dict().keys(), source, names | {"head.weight": "layer1.0.conv1.weight"}, INFLATION
        )
    with pytest.raises(ArtifactError, match=r"not of this network: layer9\.weight"):
        load_inflated(solid, [*solid.state_dict(), "layer9.weight"], source, names, INFLATION)
    with pytest.raises(ArtifactError, match=r"found sources of 0 of 20.*missing: .* and 17 more"):
        load_inflated(two := Network3d(2).double(), two.state_dict().keys(), {}, {}, INFLATION)


@pytest.mark.parametrize("scale", SCALES)
def test_real_weights_are_inflated_whole(realdata, scale):
    name = "cifar_resnet20"
    source = read_stages(realdata / "image_weights" / "resnet20-12fca82f.th", name)
    made, origins = inflate_stages(source, {key: key for key in inflatable_stages(name)}, Inflation("z", scale, "mean"))
    assert set(made) == set(origins) == set(source)
    for key, tensor in made.items():
        slices = slices_of(tensor, "z") if tensor.ndim == 5 else None
        if slices is None:
            assert torch.equal(tensor, source[key])
        elif scale == "mean":
            torch.testing.assert_close(slices.sum(2), source[key], rtol=0, atol=1e-6)
        else:
            assert torch.equal(slices[:, :, 1], source[key])


def test_a_real_stage_on_a_flat_sheet_answers_as_in_2d(realdata):
    network = SmallImageNetwork(architecture_of("cifar_resnet20"), 10).double().eval()
    source = read_stages(realdata / "image_weights" / "resnet20-12fca82f.th", "cifar_resnet20")
    network.load_state_dict(source, strict=False)
    solid = Network3d(3).double().eval()
    names = {name: name for name in source if name.startswith("layer1")}
    load_inflated(solid, solid.state_dict().keys(), source, names, Inflation("y", "center", "mean"))
    image = torch.rand(1, 16, 8, 9, dtype=torch.float64)
    grid = volume_of(image.unsqueeze(2), "y")
    for block in solid.layer1:
        grid = block(grid)
    same(slices_of(grid, "y")[:, :, 0], network.layer1(image), 1e-10)
