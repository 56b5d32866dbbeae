"""What every student must do, over all files of the room."""

import pytest
import torch

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.operators.checkpoint import load_student, save_student
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import shape_of
from pointlift.operators.visible_pooling import gather_visible, visible_max_pool

KINDS = rooms.available("students")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
BATCH, POINTS = 4, 96
LEVELS = [
    {"num_centres": 32, "radius": 0.4, "num_neighbours": 8, "widths": [16, 24]},
    {"num_centres": 12, "radius": 0.8, "num_neighbours": 8, "widths": [24, 32]},
]
STAGES = [
    {"num_points": 64, "radius": 0.3, "width": 32, "num_curves": 12, "curve_length": 4},
    {"num_points": 24, "radius": 0.6, "width": 48},
]
SMALL = {  # students whose defaults want more points than these clouds have, or more time than a test
    "pointnet2": {"levels": LEVELS},
    "curvenet": {"stages": STAGES, "num_neighbours": 8},
    "point_transformer": {"num_groups": 12, "group_size": 8, "width": 48, "depth": 3},
    "sparse_resnet": {"architecture": "resnet8", "voxel_size": 0.1},
    "sparse_unet": {"architecture": "resnet8", "voxel_size": 0.1},
    "projection_resnet": {"architecture": "resnet8", "resolution": 16},
    "image_transformer": {"architecture": "vit_nano", "num_groups": 12, "group_size": 8},
    "scene_transformer": {"num_tokens": 12, "radius": 0.6, "num_neighbours": 8, "width": 32, "heads": 2},
}
SIGNED = (
    "point_transformer",
    "image_transformer",
    "scene_transformer",
)  # all others end in a ReLU, as PointMCD's pooling by view has it


def student_of(kind, seed=0, **changes):
    member = rooms.load("students", kind)
    block = {"kind": kind, **SMALL.get(kind, {}), **changes}
    return initialised(lambda: member.build(parse(member.Settings, block, "student")), "student", seed)


def clouds(batch=BATCH, seed=0):
    directions = torch.randn(batch, POINTS, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(directions, dim=-1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_finite_values(kind, device):
    student, points = student_of(kind).to(device), clouds().to(device)
    output = student(points)
    tokens = output.tokens.shape[1]
    assert output.embedding.shape == (BATCH, student.width)
    assert output.tokens.shape == (BATCH, tokens, shape_of(student).token_width)
    assert output.summary is None or output.summary.shape == (BATCH, shape_of(student).token_width)
    assert output.token_xyz.shape == (BATCH, tokens, 3)
    assert output.token_index.shape == (BATCH, tokens)
    assert output.token_index.dtype == torch.int64
    for value in (output.embedding, output.tokens, output.token_xyz, *output.losses.values()):
        assert value.dtype == torch.float32
        assert value.device.type == device
        assert torch.isfinite(value).all()
    assert all(loss.shape == () for loss in output.losses.values())
    assert not any(name.endswith("_loss") for name in output.losses), "raw terms; their users weight them"


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_say_where_they_come_from(kind):
    points = clouds()
    output = student_of(kind)(points)
    assert (output.tokens >= 0).all() or kind in SIGNED
    assert output.tokens.any()
    assert output.token_index.min() >= 0
    assert output.token_index.max() < POINTS
    came_from = points.gather(1, output.token_index[..., None].expand(-1, -1, 3))
    assert torch.equal(output.token_xyz, came_from)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_parameter_gets_a_gradient(kind, device):
    student = student_of(kind).to(device)
    output = student(clouds().to(device))
    weights = torch.Generator().manual_seed(1)
    total = sum(output.losses.values())
    for value in (output.embedding, output.tokens, *(row for row in [output.summary] if row is not None)):
        total = total + (value * torch.randn(value.shape, generator=weights).to(device)).sum()
    total.backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.ndim < 2 or parameter.grad.any(), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_gives_finite_gradients_and_the_same_twice(kind, device):
    """Under autocast, deterministic algorithms only, pooled by view with one view that sees nothing."""
    points, found = clouds().to(device), []
    visible = (torch.rand(BATCH, 3, POINTS, generator=torch.Generator().manual_seed(4)) < 0.4).to(device)
    visible[0, 0] = False
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            student = student_of(kind).to(device)
            torch.manual_seed(0)  # what a student draws while it is trained
            with torch.autocast(device, dtype=torch.bfloat16):
                output = student(points)
                pooled = visible_max_pool(output.tokens, gather_visible(visible, output.token_index))
            assert not pooled[0, 0].any()
            (pooled.float().square().mean() + output.embedding.float().mean()).backward()
            found.append([pooled.detach().float(), *(parameter.grad for parameter in student.parameters())])
    finally:
        torch.use_deterministic_algorithms(before)
    for first, again in zip(*found, strict=True):
        assert torch.isfinite(first).all() and first.dtype == torch.float32
        assert torch.equal(first, again)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_near_full_precision(kind, device):
    """In eval mode: batch norms over four clouds would blow up what the rounding changes."""
    student, points = student_of(kind).to(device), clouds().to(device)
    student(points)
    student.eval()
    with torch.no_grad():
        whole = student(points).embedding
        with torch.autocast(device, dtype=torch.bfloat16):
            half = student(points).embedding
    assert (half - whole).abs().mean() < 0.05 * whole.std()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_alone_in_eval_mode_as_inside_a_batch(kind, device):
    student = student_of(kind).to(device).eval()
    points = clouds().to(device)
    with torch.no_grad():
        together = student(points).embedding
        alone = torch.cat([student(cloud[None]).embedding for cloud in points])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_points_does_not_matter(kind):
    """Tokens of per-point students move with their points; the embedding stays."""
    student, points = student_of(kind).eval(), clouds()
    order = torch.randperm(POINTS, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        output, permuted = student(points), student(points[:, order])
    if output.tokens.shape[1] != POINTS:
        pytest.skip("its tokens are groups of points, chosen by their order")
    torch.testing.assert_close(permuted.embedding, output.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(permuted.tokens, output.tokens[:, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_clouds_of_one_batch_do_not_mix_in_eval_mode(kind):
    student, points = student_of(kind).eval(), clouds()
    changed = torch.cat([points[:1], clouds(seed=9)[1:]])
    with torch.no_grad():
        before, after = student(points).embedding, student(changed).embedding
    torch.testing.assert_close(after[0], before[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after[1:], before[1:], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_says_the_same(kind, tmp_path):
    student, other = student_of(kind, seed=0), student_of(kind, seed=1).eval()
    student(clouds())
    save_student(tmp_path / "weights.safetensors", student.eval(), {"kind": kind})
    load_student(tmp_path / "weights.safetensors", other, {"kind": kind})
    with torch.no_grad():
        assert torch.equal(other(clouds()).embedding, student(clouds()).embedding)
