"""Depth maps against a slow loop, turns and shifts of clouds; the 2D network as torchvision has it, behind them."""

import pytest
import torch
import torchvision
from torch import nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.image_networks import architecture_of, read_stages, small_network, stage_shapes, stages_of
from pointlift.operators.inflation import Inflation
from pointlift.operators.regimes import tensor_hashes
from pointlift.students.depth_maps import _SIDES, depth_maps
from pointlift.students.projection_resnet import Settings, build
from students.regime_step import REGIMES, train_one_step

ANY = Inflation("z", "mean", "sum")


def student(architecture="resnet8", **values):
    block = {"kind": "projection_resnet", "architecture": architecture, "resolution": 16, **values}
    return build(parse(Settings, block, "student"))


def clouds(batch=3, count=60, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(batch, count, 3, generator=generator, dtype=torch.float64) * torch.tensor([1, 0.6, 0.8])).to(
        dtype
    )


def unsettle(network):
    """Eval mode, with batch norms that do something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.double().eval()


def slow_maps(points_N3, resolution, num_views, point_size):
    """One cloud, point by point, pixel by pixel."""
    low, high = points_N3.amin(dim=0), points_N3.amax(dim=0)
    half, maps = float((high - low).max() / 2), torch.zeros(num_views, resolution, resolution, dtype=points_N3.dtype)
    for view, sides in enumerate(torch.tensor(_SIDES[:num_views]).to(points_N3.dtype)):
        for point in (points_N3 - (low + high) / 2) / half:
            right, down, towards = (sides @ point).tolist()
            column, row = (min(int((place + 1) / 2 * resolution), resolution - 1) for place in (right, down))
            reach = range(-(point_size // 2), point_size // 2 + 1)
            for y, x in ((row + dy, column + dx) for dy in reach for dx in reach):
                if 0 <= y < resolution and 0 <= x < resolution:
                    maps[view, y, x] = max(maps[view, y, x], (towards + 3) / 4)
    return maps


@pytest.mark.parametrize("point_size", [1, 3, 5])
@pytest.mark.parametrize("num_views", [3, 6])
def test_depth_maps_are_those_of_a_slow_loop(num_views, point_size):
    points = clouds(dtype=torch.float64)
    found = depth_maps(points, 12, num_views, point_size)
    wanted = torch.stack([slow_maps(cloud, 12, num_views, point_size) for cloud in points])
    torch.testing.assert_close(found.maps, wanted, rtol=0, atol=1e-12)
    assert (found.maps == 0).any() and found.maps.amax() <= 1.0
    assert found.maps[found.maps > 0].min() >= 0.5


def test_views_are_no_mirrors():
    """Right, down and away are right-handed in each, and each looks along another direction."""
    sides = torch.tensor(_SIDES).double()
    away = sides * torch.tensor([1.0, 1.0, -1.0])[:, None]
    torch.testing.assert_close(torch.linalg.det(away), torch.ones(6).double())
    assert len({tuple(side[2]) for side in _SIDES}) == 6
    assert all(side[1] == (0, 0, -1) for number, side in enumerate(_SIDES) if number % 3 != 2), "z is up"


def test_a_quarter_turn_about_the_upright_axis_shows_each_side_to_the_next_viewer():
    points = clouds(dtype=torch.float64)
    turned = torch.stack([-points[..., 1], points[..., 0], points[..., 2]], dim=2)  # +x goes to +y
    before, after = depth_maps(points, 16, 6, 1).maps, depth_maps(turned, 16, 6, 1).maps
    for side, other in ((0, 1), (1, 3), (3, 4), (4, 0)):  # +x, +y, -x, -y
        torch.testing.assert_close(after[:, other], before[:, side], rtol=0, atol=1e-12)
    assert not torch.allclose(after[:, 0], before[:, 0])


def test_the_pixel_of_a_point_is_where_it_is_painted():
    points = clouds(dtype=torch.float64)
    found = depth_maps(points, 16, 6, 1)
    painted = torch.zeros_like(found.maps)
    for cloud in range(3):
        for view in range(6):
            painted[cloud, view, found.rows[cloud, view], found.columns[cloud, view]] = 1
    assert torch.equal(painted > 0, found.maps > 0)


def test_the_nearest_point_of_a_pixel_is_seen():
    """Two points behind one another on each side, in the middle of a cube of eight corners."""
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    inside = torch.tensor([[0.5, 0.1, 0.1], [-0.25, 0.1, 0.1]])
    maps = depth_maps(torch.cat([corners, inside])[None], 4, 6, 1).maps[0]
    assert maps[0].unique().tolist() == [0.0, 0.875, 1.0]
    assert maps[3].unique().tolist() == [0.0, 0.8125, 1.0]


def test_even_points_and_clouds_without_extent():
    with pytest.raises(ValueError, match="odd, not 2"):
        depth_maps(clouds(), 8, 6, 2)
    maps = depth_maps(torch.ones(1, 5, 3), 8, 6, 1).maps
    assert torch.isfinite(maps).all() and (maps > 0).sum() == 6


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet8"])
def test_behind_the_stem_it_is_the_2d_network(architecture, pool):
    """The whole network in float64: each view alone through torchvision's stages."""
    if architecture == "resnet18":
        flat = unsettle(torchvision.models.resnet18(weights=None))
        stages = nn.Sequential(flat.layer1, flat.layer2, flat.layer3, flat.layer4)
    else:
        flat = unsettle(small_network(architecture, 10, 0))
        stages = nn.Sequential(flat.layer1, flat.layer2, flat.layer3)
    net = unsettle(student(architecture, pool=pool, num_views=3, stem_stride=2, resolution=32))
    source = stages_of(flat.state_dict(), architecture, "test")
    origins = net.load_image_stages(source, ANY)
    assert set(origins) == set(source) and {origin.how for origin in origins.values()} == {"copied"}
    points = clouds(2, dtype=torch.float64)
    with torch.no_grad():
        output, found = net(points), depth_maps(points, 32, 3, 3)
        views = [stages(net.stem(found.maps[:, view, None])) for view in range(3)]
    together = (lambda rows: torch.stack(rows).amax(dim=0)) if pool == "max" else (lambda rows: sum(rows) / len(rows))
    wanted = together([maps.mean(dim=(2, 3)) for maps in views])
    torch.testing.assert_close(output.embedding, wanted, rtol=1e-9, atol=1e-9)
    size = views[0].shape[2]
    for cloud, number in ((0, 0), (1, 59), (1, 7)):
        row, column = ((place[cloud, :, number] * size // 32).tolist() for place in (found.rows, found.columns))
        seen = [maps[cloud, :, row[view], column[view]] for view, maps in enumerate(views)]
        torch.testing.assert_close(output.tokens[cloud, number], together(seen), rtol=1e-9, atol=1e-9)


def test_the_order_of_points_changes_no_bit():
    net, points = student().eval(), clouds()
    order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output, moved = net(points), net(points[:, order])
    assert torch.equal(moved.embedding, output.embedding)
    assert torch.equal(moved.tokens, output.tokens[:, order])


def test_shift_and_size_are_not_seen():
    net, points = student().eval(), (clouds() * 64).round() / 64  # so that shift and size are exact
    with torch.no_grad():
        assert torch.equal(net(points * 2 + torch.tensor([1.0, -0.5, 2.0])).embedding, net(points).embedding)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet34", "resnet50", "cifar_resnet20", "resnet8"])
def test_its_stages_are_those_of_the_2d_network(architecture):
    net = student(architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items() if "tracked" not in name}
    stages = {name: shape for name, shape in shapes.items() if not name.startswith("stem.")}
    assert stages == stage_shapes(architecture_of(architecture))
    assert net.settings.num_stages() == len(net.stage_parts) == len(architecture_of(architecture).blocks)
    assert net.settings.image_source() == architecture and "single" in net.settings.shortcuts()


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_changes_what_the_regime_says(regime):
    _, groups, moved = train_one_step(student(), clouds(), regime)
    assert moved == set(groups.changing(regime))


def test_real_weights_are_taken_as_they_are(realdata):
    source = read_stages(realdata / "image_weights" / "resnet20-12fca82f.th", "cifar_resnet20")
    net = student("cifar_resnet20")
    net.load_image_stages(source, ANY)
    assert tensor_hashes(net.state_dict(), source) == tensor_hashes(source)


def test_other_networks_are_refused():
    source = small_network("cifar_resnet20", 10, 0).state_dict()
    net = student("resnet18")
    before = tensor_hashes(net.state_dict())
    with pytest.raises(ArtifactError, match="another shape"):
        net.load_image_stages(source, ANY)
    assert tensor_hashes(net.state_dict()) == before
    for values, said in (({"num_views": 4}, "num_views"), ({"resolution": 4}, "resolution"), ({"pool": "sum"}, "pool")):
        with pytest.raises(ConfigError, match=said):
            student(**values)
