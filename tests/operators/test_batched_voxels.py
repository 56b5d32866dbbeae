"""Batched voxels against the float64 reference of ``geometry``, cloud by cloud."""

import numpy as np
import pytest
import torch

from pointlift.geometry import voxels as reference
from pointlift.operators.voxels import voxelise, voxelise_clouds

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def clouds(batch=3, count=250, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 3, generator=generator) + torch.arange(batch)[:, None, None] * 10


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("from_minimum", [True, False])
def test_every_cloud_has_the_voxels_of_the_reference(device, from_minimum):
    points, values = clouds(), clouds(seed=1).double()
    found = voxelise_clouds(points.to(device), 0.4, from_minimum)
    coordinates, mean = found.coordinates.cpu(), found.mean(values.flatten(0, 1).to(device)).cpu()
    for number, cloud in enumerate(points.numpy()):
        wanted = reference.voxelise(cloud, 0.4, from_minimum)
        rows = coordinates[:, 0] == number
        first = int(rows.nonzero()[0])
        np.testing.assert_array_equal(coordinates[rows, 1:], wanted.coordinates)
        np.testing.assert_array_equal(found.inverse.view(3, -1)[number].cpu() - first, wanted.inverse)
        np.testing.assert_array_equal(found.counts.cpu()[rows], wanted.counts)
        np.testing.assert_array_equal(found.representatives.cpu()[rows] - 250 * number, wanted.representatives())
        np.testing.assert_array_equal(found.first.cpu()[rows] - 250 * number, wanted.representatives(first=True))
        np.testing.assert_allclose(mean[rows], wanted.mean(values[number].numpy()), rtol=1e-13, atol=1e-15)


def test_clouds_of_any_length_in_any_order_are_those_one_by_one():
    points, cloud = clouds().flatten(0, 1)[:600], torch.arange(3).repeat_interleave(250)[:600]
    order = torch.randperm(600, generator=torch.Generator().manual_seed(2))
    plain, mixed = voxelise(points, cloud, 4, 0.4), voxelise(points[order], cloud[order], 4, 0.4)
    assert torch.equal(plain.coordinates, mixed.coordinates) and plain.levels.counts(1).tolist()[3] == 0
    assert torch.equal(plain.inverse[order], mixed.inverse)
    assert torch.equal(plain.representatives, order[mixed.representatives])
    assert torch.equal(plain.mean(points), mixed.mean(points[order])), "to the bit"


def test_rows_go_back_to_their_points_and_gradients_through_the_mean():
    voxels, values = voxelise_clouds(clouds(), 0.4), torch.randn(750, 5, requires_grad=True)
    tensor = voxels.tensor(voxels.mean(values))
    assert tensor.coordinates.dtype == torch.int32 and tensor.batch_size == 3
    spread = voxels.spread(tensor)
    assert torch.equal(spread, tensor.rows[voxels.inverse]) and len(spread) == 750
    tensor.rows.sum().backward()
    torch.testing.assert_close(values.grad[:, 0], 1.0 / voxels.counts[voxels.inverse])


def test_empty_batches_and_empty_clouds_have_no_voxels():
    empty = voxelise(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2, 0.1)
    assert empty.coordinates.shape == (0, 4) and empty.levels.counts(1).tolist() == [0, 0]
    assert empty.representatives.shape == (0,) and empty.mean(torch.zeros(0, 4)).shape == (0, 4)


@pytest.mark.parametrize(
    ("points", "cloud", "size", "told"),
    [
        ([[0.0, float("nan"), 0.0]], [0], 0.1, "not finite"),
        ([[0.0, 1e30, 0.0]], [0], 0.1, "too far away"),
        ([[0.0, 0.0, 0.0], [1e5, 0.0, 0.0]], [0, 0], 0.1, "larger voxels"),
        ([[0.0, 0.0, 0.0]], [2], 0.1, "clouds 2 to 2 of a batch of 2"),
        ([[0.0, 0.0, 0.0]], [0], 0.0, "above 0"),
        ([[0.0, 0.0]], [0], 0.1, r"must be \(N, 3\)"),
    ],
)
def test_what_has_no_voxels_is_refused(points, cloud, size, told):
    with pytest.raises(ValueError, match=told):
        voxelise(torch.tensor(points), torch.tensor(cloud), 2, size)


@pytest.mark.realdata
def test_real_clouds_have_the_voxels_of_the_reference(realdata):
    """Within the unit ball, voxels of 0.05 make at most 41 an axis; Image2Point's setting."""
    files = sorted((realdata / "modelnet40_normal_resampled").rglob("*_0*.txt"))[:2]
    if not files:
        pytest.skip("no modelnet40_normal_resampled in the real data")
    points = np.stack([np.loadtxt(path, delimiter=",", max_rows=2048)[:, :3] for path in files])
    points /= np.linalg.norm(points, axis=2).max(axis=1)[:, None, None]
    found = voxelise_clouds(torch.from_numpy(points), 0.05)
    wanted = [reference.voxelise(cloud, 0.05) for cloud in points]
    np.testing.assert_array_equal(found.coordinates[:, 1:], np.concatenate([voxels.coordinates for voxels in wanted]))
    np.testing.assert_array_equal(found.counts, np.concatenate([voxels.counts for voxels in wanted]))
    assert found.coordinates[:, 1:].max() <= 40 and len(found.counts) < 2 * 2048
