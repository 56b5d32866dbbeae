"""The concept losses as a method: what is read, what is compared with what, and what may not be meant."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment

from distillation.concept_cases import (
    FORM,
    SHAPE,
    SHAPES,
    TEACHER,
    TOKENS,
    VIEWS,
    WIDTH,
    batch_of,
    draw,
    method_of,
    said,
    settings,
    student_output,
    total,
    trained,
)
from pointlift.contracts.errors import ConfigError
from pointlift.distillation.concept import Settings, build
from pointlift.distillation.concept_extractor import looked_at
from pointlift.distillation.projector import load_projector, save_projector
from pointlift.operators.student_output import StudentShape
from pointlift.operators.target_statistics import target_statistics


@pytest.mark.parametrize(
    ("values", "arms"),
    [
        ({"num_queries": 1, "loss": "regression"}, ("m1",)),
        ({"num_queries": 1, "num_views": 1}, ("m1",)),
        ({"extractor": "mean_pool"}, ("mean_pool",)),
    ],
)
def test_what_takes_no_several_concepts_by_attention_may_only_be_called_a_control(values, arms):
    assert settings(**values).arms() == arms


def test_every_arm_of_the_wrong_pairs_and_teachers_goes_with_several_concepts():
    wrong = {"shuffled", "same_class_shuffled", "random_teacher", "other_teacher"}
    assert {"concept", "control", "init_point_mae"} | wrong == set(settings().arms())
    assert settings(query="image", num_queries=1).arms() == settings().arms()


def test_only_what_a_loss_or_a_query_needs_is_read():
    assert settings().reads() == ("features",)
    assert settings(token_weight=0.1).reads() == ("features", "tokens")
    assert settings(query="view").reads() == ("features", "cameras")
    assert settings(query="view", token_weight=0.1).reads() == ("features", "tokens", "cameras")
    batch = {"target": batch_of()["target"]}
    assert set(method_of()(student_output(), batch)) == {
        "concept_loss",
        "cosine",
        "batch_retrieval",
        "concept_similarity",
    }


@pytest.mark.parametrize(
    "values",
    [
        {"width": 32, "heads": 6},
        {"extractor": "mean_pool", "query": "image"},
        {"num_queries": 0},
        {"mask_ratio": 1.0},
        {"temperature": 0.0},
        {"weight": -1.0},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values):
    with pytest.raises(ValidationError):
        Settings(kind="concept", **values)


def test_a_student_that_does_not_fit_is_refused():
    statistics = target_statistics(batch_of()["target"].numpy())
    with pytest.raises(ConfigError, match="heads: 6 do not divide the width 64"):
        build(settings(), StudentShape(128, 64, None), statistics)
    with pytest.raises(ConfigError, match="mask_ratio"):
        build(settings(mask_ratio=0.6), SHAPE, statistics)
    masked = build(settings(mask_ratio=0.6), StudentShape(48, WIDTH, 32), statistics)
    assert masked.mask_ratio == 0.6
    assert masked.settings.hides()
    assert not settings().hides()
    build(settings(extractor="mean_pool"), StudentShape(128, 64, None), statistics)


@FORM
def test_every_parameter_tokens_and_class_token_get_a_gradient(form):
    method, batch = method_of(**form), batch_of()
    tokens, summary = draw(SHAPES, TOKENS, WIDTH).requires_grad_(), draw(SHAPES, WIDTH, seed=1).requires_grad_()
    values = method(student_output(tokens, summary), batch)
    total(values).backward()
    for name, value in values.items():
        assert value.dtype == torch.float32, name
        assert value.shape == (), name
        assert value.isfinite(), name
        assert value.requires_grad is name.endswith("_loss"), name
    for name, parameter in [*method.named_parameters(), ("tokens", tokens), ("summary", summary)]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert (tokens.grad.abs().sum(dim=(1, 2)) > 0).all()


@FORM
def test_the_order_of_tokens_and_of_views_does_not_matter(form):
    method, output, batch = method_of(**form), student_output(), batch_of()
    value = said(method, output, batch)
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(1))
    assert said(method, student_output(output.tokens[:, order]), batch) == pytest.approx(value, abs=1e-5)
    flipped = {name: part.flip(1) for name, part in batch.items()}
    assert said(method, output, flipped) == pytest.approx(value, abs=1e-5)
    others = student_output(output.tokens.roll(1, 0))
    assert said(method, others, batch)["concept_loss"] != pytest.approx(value["concept_loss"], abs=1e-6)


@FORM
def test_the_teachers_units_do_not_matter(form):
    """Targets of 60 or of 1: what is compared has length 1, and where the mean is taken off it has the same units."""
    batch = batch_of()
    larger = {**batch, "target": 64.0 * batch["target"], "patch_tokens": 64.0 * batch["patch_tokens"]}
    one, other = (method_of(target_statistics(part["target"].numpy()), **form) for part in (batch, larger))
    assert said(other, student_output(), larger) == pytest.approx(said(one, student_output(), batch), abs=1e-5)


def test_the_matched_loss_is_that_of_the_best_pairs():
    method, output, batch = method_of(weight=2.5, num_queries=7).double(), student_output(), batch_of()
    output = student_output(output.tokens.double())
    batch["target"] = batch["target"].double()
    concepts = method.extractor(looked_at(output), method.queries(SHAPES)).detach().numpy()
    losses = []
    for shape, views in zip(concepts, batch["target"].numpy(), strict=True):
        lengths = np.linalg.norm(shape, axis=1)[:, None] * np.linalg.norm(views, axis=1)
        cosines = shape @ views.T / lengths
        losses.append(1.0 - cosines[linear_sum_assignment(-cosines)].mean())
    values = said(method, output, batch)
    assert values["concept_loss"] == pytest.approx(2.5 * np.mean(losses), abs=1e-10)
    assert values["cosine"] == pytest.approx(1.0 - np.mean(losses), abs=1e-10)


def test_one_concept_that_would_learn_the_nearest_view_alone_is_refused():
    with pytest.raises(ConfigError, match="the nearest view alone: use loss regression"):
        settings(num_queries=1)


def test_the_pool_reads_the_mean_of_the_normed_tokens():
    pool = method_of(extractor="mean_pool")
    normed = torch.nn.functional.layer_norm(output_tokens := draw(SHAPES, TOKENS, WIDTH), (WIDTH,))
    one = normed.mean(dim=1, keepdim=True).expand(-1, TOKENS, -1)
    with torch.no_grad():
        pool.extractor.context_norm = torch.nn.Identity()
        torch.testing.assert_close(pool.project(student_output(normed)), pool.project(student_output(one)))
    assert output_tokens.shape == normed.shape


def test_every_loss_has_its_own_weight_and_that_of_all():
    one = said(method_of(nce_weight=1.0, token_weight=1.0), student_output(), batch_of())
    other = said(method_of(weight=3.0, nce_weight=0.5, token_weight=0.25), student_output(), batch_of())
    wanted = {"concept_loss": 3.0, "nce_loss": 1.5, "token_loss": 0.75}
    assert {name: other[name] / one[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)
    assert {name: other[name] for name in one.keys() - wanted.keys()} == pytest.approx(
        {name: one[name] for name in one.keys() - wanted.keys()}, rel=1e-5
    )


@pytest.mark.parametrize("query", ["image", "view"])
def test_a_view_that_asks_is_compared_with_itself(query):
    method, output, batch = method_of(query=query), student_output(), batch_of()
    asks = method.wanted(batch["target"]) if query == "image" else batch["world_to_camera"]
    concepts = method.extractor(looked_at(output), method.queries(asks)).detach()
    cosines = torch.nn.functional.cosine_similarity(concepts, batch["target"], dim=-1)
    assert said(method, output, batch)["concept_loss"] == pytest.approx(1.0 - cosines.mean().item(), abs=1e-6)


def test_centred_targets_are_seen_from_their_mean_and_put_back():
    batch = batch_of(offset=20.0)
    batch["target"][..., 3] = 5.0  # a dimension that never changes
    statistics = target_statistics(batch["target"].numpy())
    rest = (batch["target"].double() - batch["target"].double().mean(dim=(0, 1))).numpy()
    rest /= np.linalg.norm(rest, axis=2, keepdims=True)
    method = method_of(statistics, centre_targets=True)
    np.testing.assert_allclose(method.wanted(batch["target"]).numpy(), rest, atol=1e-4)
    plain = method_of(statistics).wanted(batch["target"])
    assert (plain.flatten(0, 1) @ plain.flatten(0, 1).T).min() > 0.95, "without it all views look alike"
    projected = method.project(student_output()).detach()
    spread = (batch["target"] - batch["target"].mean(dim=(0, 1))).square().sum(dim=-1).mean().sqrt()
    found = (projected - torch.from_numpy(statistics.mean)).norm(dim=1)
    np.testing.assert_allclose(found.numpy(), spread.item(), rtol=1e-3)


def test_centred_targets_of_a_teacher_that_says_the_same_of_every_view_are_refused():
    batch = {"target": torch.ones(SHAPES, VIEWS, TEACHER)}
    method = method_of(target_statistics(batch["target"].numpy()), centre_targets=True)
    with pytest.raises(ConfigError, match="centre_targets"):
        method(student_output(), batch)


def test_only_learned_queries_can_be_asked_without_views():
    output, batch = student_output(), batch_of()
    method = method_of()
    assert method.can_project
    concepts = method.extractor(looked_at(output), method.queries(SHAPES))
    torch.testing.assert_close(method.project(output), concepts.mean(dim=1))
    assert method_of(extractor="mean_pool").project(output).shape == (SHAPES, TEACHER)
    trained(method, output, batch, steps=200)
    own = torch.nn.functional.cosine_similarity(method.project(output), batch["target"].mean(dim=1), dim=-1)
    assert own.min() > 0.8, "what is trained on views stands where these stand"
    for values in ({"query": "image"}, {"query": "view"}, {"weight": 0.0}):
        refused = method_of(**values)
        assert not refused.can_project
        with pytest.raises(ConfigError, match="query learned"):
            refused.project(output)


@pytest.mark.parametrize("form", [{}, {"centre_targets": True}, {"extractor": "mean_pool"}, {"query": "image"}])
def test_a_head_that_was_written_projects_as_before_and_others_are_not_offered(tmp_path, form):
    """It is built again without the statistics of its targets, which stand among its weights."""
    block, output = {"kind": "concept", **form}, student_output()
    statistics = target_statistics(batch_of(offset=3.0)["target"].numpy())
    method = method_of(statistics, **form)
    save_projector(tmp_path / "projector.safetensors", method, block, SHAPE, statistics)
    loaded = load_projector(tmp_path / "projector.safetensors")
    assert (loaded is not None) is method.can_project
    if loaded is not None:
        assert torch.equal(loaded.project(output), method.eval().project(output))


def test_weight_zero_is_the_control_and_builds_no_head():
    method = method_of(weight=0.0, heads=5, token_weight=1.0)
    assert said(method, student_output(), batch_of()) == {"concept_loss": 0.0}
    assert not list(method.parameters())


def garbage(batch, views):
    """The batch with nonsense in the views that are named, in everything that is read."""
    changed = {name: part.clone() for name, part in batch.items()}
    for part in changed.values():
        part[:, views] = 7.0 + draw(*part[:, views].shape, seed=9)
    return changed


def test_views_are_drawn_for_each_step_and_spread_evenly_when_only_looked_at():
    values = {"num_views": 4, "query": "view", "token_weight": 1.0}
    method, output, batch = method_of(**values).eval(), student_output(), batch_of(views=12)
    shown = said(method, output, batch)
    others = [view for view in range(12) if view not in (0, 3, 6, 9)]
    assert said(method, output, garbage(batch, others)) == shown
    assert all(said(method, output, garbage(batch, [view])) != shown for view in (0, 3, 6, 9))
    method.train()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(said(method, output, batch))
    assert found[0] == found[1] != found[2]
    drawn = {view for _ in range(40) for view in method._views(12).tolist()}
    assert drawn == set(range(12))
    assert all(len(set(method._views(12).tolist())) == 4 for _ in range(5))


def test_all_views_are_read_where_no_number_is_said_and_too_few_are_refused():
    output, batch = student_output(), batch_of(views=12)
    state = torch.get_rng_state()
    method = method_of(num_views=None)
    shown = said(method, output, batch)
    assert all(said(method, output, garbage(batch, [view])) != shown for view in range(12))
    assert torch.equal(state, torch.get_rng_state()), "nothing is drawn where nothing is left out"
    with pytest.raises(ConfigError, match="13 views are asked for, the rig has 12"):
        method_of(num_views=13)(output, batch)
