"""Boxes as tensors against the numpy reference, shapely and finite differences; finite gradients where sides meet."""

import numpy as np
import pytest
import torch
from shapely import MultiPoint, affinity

from pointlift.geometry import boxes as geometry
from pointlift.operators.boxes import (
    all_pairs,
    axis_aligned_iou,
    corners,
    generalised_iou,
    oriented_iou,
    oriented_overlap,
    volumes,
)

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
FORMS = {
    "aligned_iou": axis_aligned_iou,
    "oriented_iou": oriented_iou,
    "aligned_giou": lambda one, other: generalised_iou(one, other, oriented=False),
    "oriented_giou": lambda one, other: generalised_iou(one, other, oriented=True),
}


def random_boxes(*shape, seed=0, spread=0.7, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)
    centre = spread * torch.randn(*shape, 3, generator=draws, dtype=torch.float64)
    edges = 0.2 + 1.8 * torch.rand(*shape, 3, generator=draws, dtype=torch.float64)
    heading = 14 * torch.rand(*shape, 1, generator=draws, dtype=torch.float64) - 7
    return torch.cat([centre, edges, heading], dim=-1).to(dtype)


def moved(boxes, angle, shift):
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]], dtype=boxes.dtype)
    centre = boxes[..., :3] @ turn.T + torch.tensor(shift, dtype=boxes.dtype)
    return torch.cat([centre, boxes[..., 3:6], boxes[..., 6:] + angle], dim=-1)


def around_by_shapely(one, other):
    """Volume around both along the axes of the one or the other, whichever is smaller, from corners alone."""
    places = geometry.corners(np.stack([one, other]))
    level = MultiPoint(places[:, :4, :2].reshape(-1, 2))
    areas = []
    for heading in (one[6], other[6]):
        x, y, to_x, to_y = affinity.rotate(level, -heading, origin=(0, 0), use_radians=True).bounds
        areas.append((to_x - x) * (to_y - y))
    return min(areas) * (places[..., 2].max() - places[..., 2].min())


@pytest.mark.parametrize("device", DEVICES)
def test_values_are_those_of_the_reference(device):
    one, other = random_boxes(2, 30), random_boxes(2, 25, seed=1)
    pairs = all_pairs(one.to(device), other.to(device))
    for form, reference in ((axis_aligned_iou, geometry.axis_aligned_iou), (oriented_iou, geometry.oriented_iou)):
        wanted = np.stack([reference(a, b) for a, b in zip(one.numpy(), other.numpy(), strict=True)])
        np.testing.assert_allclose(form(*pairs).cpu().numpy(), wanted, rtol=0, atol=1e-12)
        np.testing.assert_allclose(form(*(box.float() for box in pairs)).cpu().numpy(), wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(corners(one[0]).numpy(), geometry.corners(one[0].numpy()), atol=1e-12)
    np.testing.assert_allclose(volumes(one[0]).numpy(), geometry.volumes(one[0].numpy()), rtol=1e-12)


@pytest.mark.parametrize("tilt", [0.0, 1e-16, 1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sides_that_nearly_meet_are_no_special_case(tilt, dtype):
    """Two methods that share no step: clipping keeps corners, the integral keeps none."""
    base = random_boxes(200, dtype=dtype)
    other = base.clone()
    other[:, :2] += tilt
    other[:, 6] += tilt
    other[50:100, 3:5] *= 0.5
    other[100:150, 0] += base[100:150, 3]
    other[150:, 6] += np.pi / 2
    wanted = [geometry.oriented_iou(a[None], b[None])[0, 0] for a, b in zip(base.numpy(), other.numpy(), strict=True)]
    exact = 1e-12 if dtype == torch.float64 else 2e-6
    np.testing.assert_allclose(oriented_iou(base, other).numpy(), wanted, rtol=0, atol=exact)


def test_generalised_iou_is_that_of_shapely():
    one, other = random_boxes(150), random_boxes(150, seed=1, spread=1.5)
    found = generalised_iou(one, other, oriented=True).numpy()
    for a, b, value in zip(one.numpy(), other.numpy(), found, strict=True):
        iou = geometry.oriented_iou(a[None], b[None])[0, 0]
        union = (a[3:6].prod() + b[3:6].prod()) / (1 + iou)
        around = around_by_shapely(a, b)
        assert value == pytest.approx(iou - (around - union) / around, abs=1e-12)
    assert (found > -1).all()
    assert (found <= oriented_iou(one, other).numpy() + 1e-12).all()


def test_generalised_iou_by_hand():
    """Unit cubes a gap of 1 apart: nothing shared, 2 of 3 filled. Then half of a cube in a cube, at one face."""
    cube = torch.tensor([0.0, 0, 0, 1, 1, 1, 0])
    apart, half = cube + torch.tensor([2.0, 0, 0, 0, 0, 0, 0]), torch.tensor([0.25, 0, 0, 0.5, 1, 1, 0])
    for oriented in (False, True):
        assert generalised_iou(cube, apart, oriented=oriented).item() == pytest.approx(-1 / 3)
        assert generalised_iou(cube, half, oriented=oriented).item() == pytest.approx(0.5)
        assert generalised_iou(cube, cube, oriented=oriented).item() == pytest.approx(1.0)


def test_both_forms_agree_on_boxes_of_heading_0():
    one, other = random_boxes(100), random_boxes(100, seed=1, spread=2.0)
    one[:, 6] = other[:, 6] = 0.0
    torch.testing.assert_close(
        generalised_iou(one, other, oriented=True), generalised_iou(one, other, oriented=False), rtol=0, atol=1e-12
    )


def test_a_turned_scene_and_the_order_of_two_boxes_change_nothing():
    one, other = random_boxes(100), random_boxes(100, seed=1)
    for name in ("oriented_iou", "oriented_giou"):
        before = FORMS[name](one, other)
        there = FORMS[name](moved(one, 0.7, [100.0, -50.0, 3.0]), moved(other, 0.7, [100.0, -50.0, 3.0]))
        torch.testing.assert_close(there, before, rtol=0, atol=1e-11)
        torch.testing.assert_close(FORMS[name](other, one), before, rtol=0, atol=1e-13)
    torch.testing.assert_close(generalised_iou(one, one, oriented=True), torch.ones(100).double())


@pytest.mark.parametrize("name", FORMS)
def test_derivatives_are_those_of_differences(name):
    """Random boxes: no corner of one is within a step of a side of the other."""
    one, other = random_boxes(25).requires_grad_(), random_boxes(25, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(FORMS[name], (one, other))
    few, fewer = random_boxes(2, 4, seed=2).requires_grad_(), random_boxes(2, 3, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: FORMS[name](*all_pairs(a, b)), (few, fewer))


def test_derivatives_of_parallel_boxes():
    """Sides along the axes of the other box, where divisors are 0; none on the line of another."""
    one, other = random_boxes(40, seed=4), random_boxes(40, seed=5)
    other[:, 6] = one[:, 6] + np.pi / 2 * torch.arange(40)
    both = (one.requires_grad_(), other.requires_grad_())
    assert (oriented_overlap(*both) > 0).sum() > 10
    assert torch.autograd.gradcheck(oriented_iou, both)


def awkward_pairs(dtype):
    cube = torch.tensor([1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 0.3], dtype=dtype)
    changes = torch.zeros(14, 7, dtype=dtype)
    changes[1, 6] = 1e-7
    changes[2, 6] = np.pi / 2
    changes[3, 2] = 1.0  # on top
    changes[4, 3:6] = -0.5  # inside
    changes[5, 3:6] = -1.0  # a point
    changes[6, 5] = -1.0  # flat
    changes[7, :3] = 50.0  # far
    changes[8, 6] = np.pi / 4
    changes[9, 0] = 1e-20
    changes[10, 3] = 1e-7
    changes[11, 3:6] = -1.0 + 1e-6  # tiny
    changes[12, 3:6] = 1e4  # huge
    changes[13, 6] = 1e-20
    one = cube.repeat(14, 1)
    one[5] = one[6] = cube + changes[6]  # two boxes without volume
    return one, cube + changes


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_are_finite_where_boxes_meet_or_have_no_volume(name, dtype):
    one, other = (box.requires_grad_() for box in awkward_pairs(dtype))
    found = FORMS[name](one, other)
    found.sum().backward()
    for values in (found, one.grad, other.grad):
        assert torch.isfinite(values).all()
    sizes = (one.grad * one.detach())[:11].abs()  # of a value up to 1, by a share of an edge
    assert sizes.max() < 100


@pytest.mark.parametrize("tilt", [1e-20, 1e-18, 1e-16, 1e-14, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3])
def test_gradients_of_nearly_parallel_boxes_keep_their_digits(tilt):
    """Sides within, on and beyond the bounds of the other box; heading 0, where the smallest tilts are not rounded."""
    one = random_boxes(200, spread=0.3, dtype=torch.float32)
    other = random_boxes(200, seed=1, dtype=torch.float32)
    one[:, 6], other[:, 6] = 0.0, tilt
    gradients = []
    for dtype in (torch.float32, torch.float64):
        pair = [box.to(dtype, copy=True).requires_grad_() for box in (one, other)]
        oriented_overlap(*pair).sum().backward()
        gradients.append(torch.cat([box.grad for box in pair]).double())
    assert gradients[1].abs().max() > 0.5
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["aligned_giou", "oriented_giou"])
def test_boxes_apart_are_drawn_together(name):
    """Where nothing is shared, IoU has no gradient; the generalised form moves the box towards the truth."""
    one = torch.tensor([[3.0, 2.0, -1.0, 1.0, 1.0, 1.0, 0.4]], requires_grad=True)
    truth = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0]])
    oriented_iou(one, truth).sum().backward()
    assert not one.grad.any()
    one.grad = None
    FORMS[name](one, truth).sum().backward()
    assert (one.grad[0, :3] * one.detach()[0, :3] < 0).all()


def test_ascent_finds_a_turned_box():
    """By gradients alone: centre, edges and heading of the truth, from a box that meets it."""
    truth = torch.tensor([[0.4, -0.3, 0.2, 1.6, 0.7, 0.9, 0.5]], dtype=torch.float64)
    guess = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.1]], dtype=torch.float64, requires_grad=True)
    descent = torch.optim.Adam([guess], lr=0.02)
    pace = torch.optim.lr_scheduler.ExponentialLR(descent, 0.98)
    for _ in range(250):
        descent.zero_grad()
        (1 - generalised_iou(guess, truth, oriented=True)).sum().backward()
        descent.step()
        pace.step()
    assert oriented_iou(guess, truth).item() > 0.98


def test_half_precision_is_raised():
    one, other = random_boxes(20), random_boxes(20, seed=1)
    one, other = one.bfloat16(), other.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = {name: form(one, other) for name, form in FORMS.items()}
    for name, values in found.items():
        assert values.dtype == torch.float32
        torch.testing.assert_close(values.double(), FORMS[name](one.double(), other.double()), rtol=0, atol=1e-5)
