"""Augmentation: rows in order, distances as the transformation says, and the statistics of its draws."""

import math

import pytest
import torch

from pointlift.contracts.recipe import Augmentation
from pointlift.training.augmentation import augment, rotation_about_z, rotation_from_quaternion


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(batch: int = 4, points: int = 50) -> torch.Tensor:
    return torch.randn(batch, points, 3, generator=generator(99))


def test_nothing_asked_for_changes_no_bit_and_draws_nothing():
    source, points = generator(), clouds()
    state = source.get_state()
    assert torch.equal(augment(points, Augmentation(), source), points)
    assert torch.equal(source.get_state(), state)


def test_the_same_seed_gives_the_same_clouds_and_the_input_is_left_alone():
    settings = Augmentation(scale=(0.5, 2.0), shift=0.2, rotation="any", jitter=0.01)
    points = clouds()
    before = points.clone()
    one, two = augment(points, settings, generator(1)), augment(points, settings, generator(1))
    assert torch.equal(one, two) and torch.equal(points, before)
    assert not torch.equal(one, augment(points, settings, generator(2)))
    assert one.dtype == points.dtype and one.shape == points.shape


def test_scale_and_shift_are_one_affine_map_per_axis_and_cloud():
    points = clouds(2000, 4).double()
    found = augment(points, Augmentation(scale=(2 / 3, 3 / 2), shift=0.2), generator())
    scale = (found[:, 0] - found[:, 1]) / (points[:, 0] - points[:, 1])
    torch.testing.assert_close(found, points * scale[:, None] + (found - points * scale[:, None])[:, :1])
    shift = found[:, 0] - points[:, 0] * scale
    assert 2 / 3 <= scale.min() < 0.68 and 1.48 < scale.max() <= 1.5
    assert -0.2 <= shift.min() < -0.19 and 0.19 < shift.max() <= 0.2
    assert scale.mean().item() == pytest.approx(13 / 12, abs=4 * 0.24 / math.sqrt(6000))
    assert shift.mean().item() == pytest.approx(0.0, abs=4 * 0.115 / math.sqrt(6000))
    assert abs(torch.corrcoef(scale.T)[0, 1]) < 0.1  # axes are drawn apart


@pytest.mark.parametrize("rotation", ["up", "any"])
def test_rotations_keep_lengths_angles_and_handedness(rotation):
    frames = torch.eye(3).expand(500, 3, 3).contiguous()
    found = augment(frames, Augmentation(rotation=rotation), generator())
    torch.testing.assert_close(found @ found.transpose(1, 2), frames, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(500), atol=1e-5, rtol=0)


def test_rotation_up_keeps_height_and_turns_evenly():
    points = torch.tensor([[1.0, 0.0, 0.7]]).expand(20000, 1, 3).contiguous()
    found = augment(points, Augmentation(rotation="up"), generator())[:, 0]
    torch.testing.assert_close(found[:, 2], torch.full((20000,), 0.7))
    quadrants = torch.bincount((torch.atan2(found[:, 1], found[:, 0]) / (math.pi / 2)).floor().long() + 2, minlength=4)
    assert ((quadrants - 5000).abs() < 4 * math.sqrt(20000 * 0.25 * 0.75)).all()


def test_any_rotation_is_uniform_over_the_sphere_and_its_angle():
    turned = rotation_from_quaternion(torch.randn(40000, 4, generator=generator(), dtype=torch.float64))
    # Archimedes: each coordinate of a uniform direction is uniform in (-1, 1).
    assert turned[:, 2, 2].mean().item() == pytest.approx(0.0, abs=0.012)
    assert turned[:, 2, 2].var().item() == pytest.approx(1 / 3, abs=0.01)
    # Haar measure: the mean of the trace is 0, its variance 1.
    trace = turned.diagonal(dim1=1, dim2=2).sum(1)
    assert trace.mean().item() == pytest.approx(0.0, abs=0.02)
    assert trace.var().item() == pytest.approx(1.0, abs=0.04)


def test_rotations_by_known_angles():
    quarter = rotation_about_z(torch.tensor([math.pi / 2]))[0]
    torch.testing.assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
    same = rotation_from_quaternion(torch.tensor([[math.sqrt(0.5), 0, 0, math.sqrt(0.5)]]))[0]
    torch.testing.assert_close(same, quarter, atol=1e-6, rtol=0)


def test_jitter_is_normal_noise_of_that_size():
    points = torch.zeros(20, 1000, 3)
    found = augment(points, Augmentation(jitter=0.05), generator())
    assert found.std().item() == pytest.approx(0.05, rel=0.02)
    assert found.abs().max() > 0.15


def test_rows_keep_their_order():
    points = torch.arange(30.0).reshape(1, 10, 3) / 30
    found = augment(points, Augmentation(scale=(0.9, 1.1), jitter=1e-4), generator())
    assert (found[0].sum(1).diff() > 0).all()
