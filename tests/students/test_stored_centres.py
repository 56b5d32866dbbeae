"""Students that take the first points as centres: the same network as with farthest points, on clouds in that order."""

import pytest
import torch

from pointlift.geometry.sampling import stored_order
from pointlift.operators.neighbours import gather_rows
from pointlift.training.augmentation import rotation_from_quaternion
from students.test_student_contract import student_of

KINDS = ("pointnet2", "curvenet", "point_transformer")


def clouds(dtype=torch.float64):
    """In farthest-point order, float64: rounding decides no near tie."""
    points = torch.randn(3, 96, 3, generator=torch.Generator().manual_seed(4), dtype=dtype)
    order = torch.stack([torch.from_numpy(stored_order(cloud.numpy(), "farthest_first")) for cloud in points])
    return gather_rows(points, order)


def pair(kind):
    """The same student with both rules."""
    return [student_of(kind, centres=rule).double().eval() for rule in ("farthest", "first")]


def rotated(points):
    return points @ rotation_from_quaternion(torch.tensor([[0.3, -0.8, 0.5, 0.1]], dtype=torch.float64)).mT


@pytest.mark.parametrize("change", [lambda x: x, rotated, lambda x: 0.7 * x + torch.tensor([0.1, -0.2, 0.05])])
@pytest.mark.parametrize("kind", KINDS)
def test_first_points_give_what_farthest_ones_give(kind, change):
    farthest, first = pair(kind)
    with torch.no_grad():
        wanted, found = (student(change(clouds())) for student in (farthest, first))
    assert torch.equal(found.token_index, wanted.token_index)
    torch.testing.assert_close(found.tokens, wanted.tokens, rtol=0.0, atol=0.0)
    torch.testing.assert_close(found.embedding, wanted.embedding, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_another_scale_for_each_axis_makes_them_near_alone(kind):
    """The first points then are no longer all of the farthest ones, but spread nearly as well."""
    farthest, first = pair(kind)
    points = clouds() * torch.tensor([1.5, 1.0, 0.67], dtype=torch.float64)
    with torch.no_grad():
        wanted, found = (student(points) for student in (farthest, first))
    assert not torch.equal(found.token_index, wanted.token_index)
    gaps = [torch.cdist(points, output.token_xyz).amin(dim=2).amax(dim=1) for output in (wanted, found)]
    assert (gaps[1] / gaps[0]).max() < 1.6


@pytest.mark.parametrize("kind", KINDS)
def test_a_cloud_that_is_too_short_is_refused(kind):
    for student in pair(kind):
        with pytest.raises(ValueError, match="points were asked for"):
            student(clouds()[:, :10])
