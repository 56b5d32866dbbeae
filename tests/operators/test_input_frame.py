"""Clouds in the frame that weights want: the turn back of the house's own, a mean at the origin, nothing by default."""

import numpy as np
import pytest
import torch

from pointlift import rooms
from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.settings import parse
from pointlift.contracts.student_blocks import InputFrame
from pointlift.geometry.clouds import turn_up
from pointlift.operators.input_frame import placed

SMALL = {
    "dgcnn": {"widths": [4, 4], "token_width": 8, "num_neighbours": 3},
    "pointnet2": {"levels": [{"num_centres": 6, "radius": 0.5, "num_neighbours": 4, "widths": [4, 6]}], "widths": [8]},
    "point_transformer": {"num_groups": 6, "group_size": 4, "width": 12, "heads": 3, "depth": 3},
}


def clouds(count=2, points=20):
    return torch.randn(count, points, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_y_up_undoes_what_reading_a_file_does():
    stored = clouds()
    read = [turn_up(PointCloud(cloud.numpy()), "y").points for cloud in stored]
    assert torch.equal(placed(torch.from_numpy(np.stack(read)), InputFrame(up="y")), stored)


def test_the_mean_is_the_origin_and_the_farthest_point_has_radius_one():
    found = placed(3.0 * clouds() + 7.0, InputFrame(centre="mean"))
    assert found.mean(dim=1).abs().max() < 1e-12
    torch.testing.assert_close(found.norm(dim=2).amax(dim=1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(found, placed(clouds(), InputFrame(centre="mean")))
    assert torch.equal(placed(torch.ones(1, 4, 3), InputFrame(centre="mean")), torch.zeros(1, 4, 3))


@pytest.mark.parametrize("kind", SMALL)
def test_a_student_sees_the_frame_and_its_tokens_stand_where_they_were_given(kind):
    member = rooms.load("students", kind)

    def student(**frame):
        torch.manual_seed(0)
        return member.build(parse(member.Settings, {"kind": kind, **SMALL[kind], "frame": frame}, "student")).eval()

    given = clouds().float()
    frame = InputFrame(up="y", centre="mean")
    framed, plain = student(up="y", centre="mean")(given), student()(placed(given, frame))
    assert torch.equal(framed.embedding, plain.embedding) and torch.equal(framed.tokens, plain.tokens)
    for one in (framed, *framed.levels):
        index = one.token_index if hasattr(one, "token_index") else one.point_index
        places = one.token_xyz if hasattr(one, "token_xyz") else one.xyz
        assert torch.equal(places, given.gather(1, index[..., None].expand(-1, -1, 3)))
