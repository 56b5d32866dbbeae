"""The view loss of PointMCD against its formula, and what must not change it."""

import numpy as np
import pytest
import torch

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.distillation.pointmcd import Settings, build, relu_head
from pointlift.operators.initialisation import initialised
from pointlift.operators.student_output import StudentOutput, StudentShape
from pointlift.operators.target_statistics import TargetStatistics, target_statistics

BATCH, POINTS, WIDTH, VIEWS = 5, 30, 8, 4

SHAPE = StudentShape(WIDTH, WIDTH, None)


def settings(**values):
    return parse(Settings, {"kind": "pointmcd", **values}, "method")


def plain(width=WIDTH, nonnegative=True):
    """Statistics that standardise nothing."""
    return TargetStatistics(np.zeros(width, np.float32), np.ones(width, np.float32), nonnegative)


def student_output(seed=0, batch=BATCH, points=POINTS, losses=None):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, points, WIDTH, generator=generator).relu()
    index = torch.arange(points).expand(batch, -1)
    return StudentOutput(tokens.amax(1), tokens, torch.zeros(batch, points, 3), index, losses or {})


def batch_of(seed=0, width=WIDTH, signed=False):
    generator = torch.Generator().manual_seed(seed + 1)
    target = torch.randn(BATCH, VIEWS, width, generator=generator)
    visible = torch.rand(BATCH, VIEWS, POINTS, generator=generator) < 0.4
    return {"visible": visible, "target": target if signed else target.relu()}


def through(method):
    """Make the linear head the identity, so that the projected vectors are the pooled ones."""
    with torch.no_grad():
        method.head.weight.copy_(torch.eye(WIDTH))
        method.head.bias.zero_()
    return method


def pooled(output, visible):
    return torch.stack(
        [
            torch.stack([output.tokens[b][mask].amax(0) if mask.any() else torch.zeros(WIDTH) for mask in masks])
            for b, masks in enumerate(visible)
        ]
    )


def view_loss(method, output, batch):
    return method(output, batch)["view_loss"].item()


def test_the_published_head_has_525312_parameters():
    assert sum(parameter.numel() for parameter in relu_head(1024, 512).parameters()) == 525_312


@pytest.mark.parametrize(("nonnegative", "kinds"), [(True, ["Linear", "BatchNorm1d", "ReLU"]), (False, None)])
def test_auto_chooses_the_head_by_the_sign_of_the_targets(nonnegative, kinds):
    head = build(settings(), SHAPE, plain(nonnegative=nonnegative)).head
    assert ([type(layer).__name__ for layer in head] if kinds else type(head).__name__) == (kinds or "Linear")


def test_a_relu_head_for_signed_targets_is_refused():
    with pytest.raises(ConfigError, match="linear"):
        build(settings(head="relu"), SHAPE, plain(nonnegative=False))


def test_loss_is_zero_at_the_target_and_the_mean_size_of_the_target_at_zero():
    method, output, batch = through(build(settings(head="linear"), SHAPE, plain())), student_output(), batch_of()
    reached = {**batch, "target": pooled(output, batch["visible"])}
    assert view_loss(method, output, reached) == 0.0
    blind = {**batch, "visible": torch.zeros_like(batch["visible"])}
    assert view_loss(method, output, blind) == pytest.approx(batch["target"].abs().mean().item(), rel=1e-6)


def test_relu_head_equals_the_formula_in_float64():
    method = build(settings(weight=2.5), SHAPE, plain(6)).double()
    output, batch = student_output(), batch_of(width=6)
    output = output._replace(tokens=output.tokens.double())
    linear, norm, _ = method.head
    rows = pooled(output._replace(tokens=output.tokens), batch["visible"]).double().flatten(0, 1) @ linear.weight.T
    rows = (rows - rows.mean(0)) / torch.sqrt(rows.var(0, unbiased=False) + norm.eps)
    rows = torch.maximum(rows, torch.zeros_like(rows))
    wanted = 2.5 * (rows - batch["target"].flatten(0, 1)).abs().sum() / (BATCH * VIEWS * 6)
    assert view_loss(method, output, batch) == pytest.approx(wanted.item(), rel=1e-5)


def test_signed_targets_are_standardised_per_dimension():
    batch = batch_of(signed=True)
    batch["target"] = batch["target"] * torch.logspace(-2, 2, WIDTH) + 7.0
    statistics = target_statistics(batch["target"].numpy())._replace(nonnegative=False)
    method = through(build(settings(), SHAPE, statistics))
    blind = {**batch, "visible": torch.zeros_like(batch["visible"])}
    rows = batch["target"].double().flatten(0, 1)
    standardised = (rows - rows.mean(0)) / rows.std(0, unbiased=False)
    assert view_loss(method, student_output(), blind) == pytest.approx(standardised.abs().mean().item(), rel=1e-4)


@pytest.mark.parametrize("head", ["relu", "linear"])
def test_the_teachers_units_do_not_matter(head):
    """Else an arm is judged by the size of its teacher's numbers: a head near 1 never comes to targets near 60."""
    batch, found = batch_of(), []
    for unit in (1.0, 64.0):
        given = {**batch, "target": unit * batch["target"]}
        method = initialised(
            lambda given=given: build(settings(head=head), SHAPE, target_statistics(given["target"].numpy())), "method"
        )
        output = student_output()
        output.tokens.requires_grad_()
        loss = method(output, given)["view_loss"]
        loss.backward()
        found.append((loss.item(), output.tokens.grad))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-4, atol=1e-7)


def test_a_relu_head_meets_targets_of_mean_square_one():
    batch = batch_of()
    batch["target"] = batch["target"] * torch.logspace(-2, 2, WIDTH)
    method = build(settings(), SHAPE, target_statistics(batch["target"].numpy()))
    with torch.no_grad():
        method.head[1].weight.zero_()  # the head says 0 whatever it is given
    rows = batch["target"].double().flatten(0, 1)
    wanted = (rows / rows.square().mean(0).sqrt()).abs().mean().item()
    assert view_loss(method, student_output(), batch) == pytest.approx(wanted, rel=1e-5)


def test_unscaled_targets_give_the_published_loss():
    # PointMCD, spec 1.7: L_view is the plain mean of |H - T|; H = 0 gives mean |T|.
    batch = batch_of()
    batch["target"] = batch["target"] * torch.logspace(-2, 2, WIDTH)
    statistics = target_statistics(batch["target"].numpy())
    method = build(settings(scale_targets=False), SHAPE, statistics)
    with torch.no_grad():
        method.head[1].weight.zero_()
    assert view_loss(method, student_output(), batch) == pytest.approx(batch["target"].abs().mean().item(), rel=1e-6)


def test_cosine_is_reported_in_the_teachers_own_space():
    output, batch = student_output(), batch_of(signed=True)
    mean, sd = np.linspace(-3, 3, WIDTH, dtype=np.float32), np.linspace(0.5, 2, WIDTH, dtype=np.float32)
    method = through(build(settings(), SHAPE, TargetStatistics(mean, sd, False)))
    own = pooled(output, batch["visible"]) * torch.from_numpy(sd) + torch.from_numpy(mean)
    wanted = torch.nn.functional.cosine_similarity(own, batch["target"], dim=-1).mean().item()
    assert method(output, batch)["cosine"].item() == pytest.approx(wanted, rel=1e-5)
    reached = {**batch, "target": own}
    assert method(output, reached)["cosine"].item() == pytest.approx(1.0, rel=1e-5)
    assert view_loss(method, output, reached) == pytest.approx(0.0, abs=1e-6)


def test_cosine_loss_ignores_length_and_is_two_for_opposite_vectors():
    output, batch = student_output(), batch_of()
    batch["visible"][:] = True
    method = through(build(settings(loss="cosine", head="linear"), SHAPE, plain()))
    target = pooled(output, batch["visible"])
    assert view_loss(method, output, {**batch, "target": 5 * target}) == pytest.approx(0.0, abs=1e-6)
    assert view_loss(method, output, {**batch, "target": -target}) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("head", ["relu", "linear"])
@pytest.mark.parametrize("loss", ["l1", "cosine"])
def test_views_may_be_permuted_with_their_targets_and_doubled(head, loss):
    method = build(settings(head=head, loss=loss), SHAPE, plain()).train()
    output, batch = student_output(), batch_of()
    value = view_loss(method, output, batch)
    flipped = {name: array.flip(1) for name, array in batch.items()}
    doubled = {name: torch.cat([array, array], dim=1) for name, array in batch.items()}
    assert view_loss(method, output, flipped) == pytest.approx(value, rel=1e-5)
    assert view_loss(method, output, doubled) == pytest.approx(value, rel=1e-5)
    assert view_loss(method, output, {**batch, "target": batch["target"].flip(1)}) != pytest.approx(value, rel=1e-3)


def test_points_may_be_permuted_with_their_mask_only():
    method = build(settings(), SHAPE, plain()).eval()
    output, batch = student_output(), batch_of()
    order = torch.randperm(POINTS, generator=torch.Generator().manual_seed(3))
    value = view_loss(method, output, batch)
    moved = output._replace(tokens=output.tokens[:, order])
    assert view_loss(method, moved, {**batch, "visible": batch["visible"][:, :, order]}) == pytest.approx(value)
    assert view_loss(method, moved, batch) != pytest.approx(value, rel=1e-4)


def test_tokens_of_groups_use_the_mask_of_their_points():
    method = build(settings(), SHAPE, plain()).eval()
    output, batch = student_output(), batch_of()
    index = torch.randperm(POINTS, generator=torch.Generator().manual_seed(4))[:12]
    fewer = output._replace(tokens=output.tokens[:, index], token_index=index.expand(BATCH, -1))
    wanted = {**batch, "visible": batch["visible"][:, :, index]}
    alone = fewer._replace(token_index=torch.arange(12).expand(BATCH, -1))
    assert view_loss(method, fewer, batch) == pytest.approx(view_loss(method, alone, wanted), rel=1e-6)


def test_tokens_of_groups_may_be_carried_to_all_points():
    """A point's vector is then the mean of its three nearest tokens, by inverse squared distance."""
    method = through(build(settings(head="linear", masks="interpolate"), SHAPE, plain()).eval())
    output, batch = student_output(points=9), batch_of(signed=True)
    generator = torch.Generator().manual_seed(7)
    places, batch["points"] = torch.randn(BATCH, 9, 3, generator=generator), torch.randn(BATCH, POINTS, 3)
    carried = []
    for tokens, cloud, points in zip(output.tokens, places, batch["points"], strict=True):
        distance, index = torch.cdist(points, cloud).topk(3, largest=False)
        weight = distance**-2 / (distance**-2).sum(1, keepdim=True)
        carried.append((tokens[index] * weight[..., None]).sum(1))
    wanted = pooled(output._replace(tokens=torch.stack(carried)), batch["visible"])
    loss = view_loss(method, output._replace(token_xyz=places), batch)
    assert loss == pytest.approx((wanted - batch["target"]).abs().mean().item(), rel=1e-4)
    per_point, plainly = student_output(), build(settings(), SHAPE, plain()).eval()
    other = build(settings(masks="interpolate"), SHAPE, plain()).eval()
    other.load_state_dict(plainly.state_dict())
    assert view_loss(other, per_point, batch_of()) == view_loss(plainly, per_point, batch_of())


@pytest.mark.parametrize("head", ["relu", "linear"])
def test_empty_views_are_kept_or_dropped(head):
    output, batch = student_output(), batch_of()
    batch["visible"][0, 1] = batch["visible"][2, 0] = batch["visible"][2, 3] = False
    kept, dropped = (
        initialised(lambda rule=rule: build(settings(head=head, empty_views=rule), SHAPE, plain()), "method")
        for rule in ("keep", "drop")
    )
    rows = pooled(output, batch["visible"]).flatten(0, 1)
    target = batch["target"].flatten(0, 1)
    seen = batch["visible"].any(2).flatten()
    assert seen.sum() == BATCH * VIEWS - 3
    with torch.no_grad():
        everything = (kept.head(rows) - target).abs().mean().item()
        without = (kept.head(rows[seen]) - target[seen]).abs().mean().item()
    assert view_loss(kept, output, batch) == pytest.approx(everything, rel=1e-5)
    assert view_loss(dropped, output, batch) == pytest.approx(without, rel=1e-5)
    assert everything != pytest.approx(without, rel=1e-3)


def test_nothing_seen_at_all_is_no_loss_when_dropped():
    method = build(settings(empty_views="drop"), SHAPE, plain())
    output, batch = student_output(), batch_of()
    output.tokens.requires_grad_()
    loss = method(output, {**batch, "visible": torch.zeros_like(batch["visible"])})["view_loss"]
    loss.backward()
    assert loss == 0.0
    assert not output.tokens.grad.any()


def test_weight_zero_is_the_control_and_builds_no_head():
    method = build(settings(weight=0.0), SHAPE, plain())
    values = method(student_output(losses={"orthogonality": torch.tensor(3.0)}), batch_of())
    assert values["view_loss"] == 0.0
    assert values["orthogonality_loss"] == pytest.approx(0.003)
    assert not list(method.parameters())


def test_orthogonality_is_weighted_here():
    method = build(settings(orthogonality_weight=0.5), SHAPE, plain())
    values = method(student_output(losses={"orthogonality": torch.tensor(3.0)}), batch_of())
    assert values["orthogonality_loss"] == pytest.approx(1.5)
