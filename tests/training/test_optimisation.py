"""Schedules against the values of the published recipe; optimisers against their defining steps."""

import itertools

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pointlift.contracts.recipe import Recipe
from pointlift.training.optimisation import build_optimiser, learning_rate


def recipe(**changes) -> Recipe:
    return Recipe(**({"epochs": 1, "batch_size": 2, "learning_rate": 0.1, "final_learning_rate": 1e-3} | changes))


@pytest.mark.parametrize(("total", "last"), [(350, 0.00100199), (500, 0.00100098)])
def test_cosine_of_the_published_recipe(total, last):
    assert learning_rate(recipe(), 0, total) == pytest.approx(0.1)
    assert learning_rate(recipe(), total // 2, total) == pytest.approx(0.0505)
    assert learning_rate(recipe(), total - 1, total) == pytest.approx(last, abs=5e-9)


def test_cosine_is_torchs_own():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=20, eta_min=1e-3)
    for step in range(20):
        assert learning_rate(recipe(), step, 20) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        optimiser.step()
        schedule.step()


def test_an_epochs_first_step_has_the_published_rate_of_that_epoch():
    """PointMCD changes the rate once an epoch, here every step does: they meet where an epoch begins, and within an
    epoch ours falls on, so that the last step is nearer to the final rate, which neither reaches."""
    epochs, steps = 350, 7
    for epoch in (0, 1, 175, 349):
        published = learning_rate(recipe(), epoch, epochs)
        assert learning_rate(recipe(), epoch * steps, epochs * steps) == pytest.approx(published, rel=1e-12)
    last = learning_rate(recipe(), epochs * steps - 1, epochs * steps)
    assert 1e-3 < last < learning_rate(recipe(), epochs - 1, epochs)


def test_warm_up_is_linear_and_reaches_the_top():
    rates = [learning_rate(recipe(warmup_steps=4), step, 20) for step in range(20)]
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert all(before > after for before, after in itertools.pairwise(rates[4:]))


def test_a_warm_up_longer_than_the_run_still_gives_rates():
    rates = [learning_rate(recipe(warmup_steps=100), step, 3) for step in range(3)]
    assert rates == pytest.approx([0.05, 0.1, 0.1])
    assert learning_rate(recipe(warmup_steps=100), 0, 1) == pytest.approx(0.1)


def test_the_authors_cosine_is_torchs_stepped_once_a_step_with_as_many_steps_as_epochs():
    """Image2Point's code: 100 epochs of 307 steps; the rate is 0 after 100 steps, at its top after 200."""
    theirs = recipe(schedule="cosine_authors", epochs=100, final_learning_rate=0.0)
    rates = [learning_rate(theirs, step, 30_700) for step in range(1000)]
    assert [rates[100], rates[200], rates[300]] == pytest.approx([0.0, 0.1, 0.0], abs=1e-15)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=100)
    for rate in rates:
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        schedule.step()
    assert rates[150] > learning_rate(theirs.model_copy(update={"schedule": "cosine"}), 30_000, 30_700)


def test_the_polynomial_is_torchs_own_and_real_past_its_end():
    theirs = recipe(schedule="polynomial", final_learning_rate=0.0)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=40, power=0.9)
    for step in range(40):
        assert learning_rate(theirs, step, 40) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        optimiser.step()
        schedule.step()
    past = [learning_rate(theirs, step, 40) for step in (40, 41, 1000)]
    assert past == [0.0, 0.0, 0.0] and {type(rate) for rate in past} == {float}
    assert learning_rate(recipe(schedule="polynomial"), 41, 40) == 1e-3
    warmed = [learning_rate(recipe(schedule="polynomial", warmup_steps=4), step, 20) for step in (0, 3, 4, 12)]
    assert warmed == pytest.approx([0.025, 0.1, 0.1, 1e-3 + 0.099 * 0.5**0.9])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"nesterov": True}, "nesterov is of optimiser sgd"),
        ({"nesterov": True, "optimiser": "sgd", "momentum": 0.0}, "momentum above 0"),
        ({"schedule": "cosine_authors", "warmup_steps": 3}, "cosine_authors has no warm-up"),
    ],
)
def test_what_a_recipe_cannot_mean(wrong, told):
    with pytest.raises(ValidationError, match=told):
        recipe(**wrong)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_plain_or_nesterovs(nesterov):
    """Nesterov's step looks ahead: the gradient and the momentum once more (Sutskever et al. 2013, as torch has it)."""
    weight = nn.Parameter(torch.tensor([2.0]))
    optimiser = build_optimiser([weight], recipe(optimiser="sgd", momentum=0.5, nesterov=nesterov))
    expected, velocity = 2.0, 0.0
    for gradient in (1.0, -0.5, 2.0):
        weight.grad = torch.tensor([gradient])
        optimiser.step()
        velocity = 0.5 * velocity + gradient
        expected -= 0.1 * (gradient + 0.5 * velocity if nesterov else velocity)
    assert weight.item() == pytest.approx(expected, rel=1e-6)


def test_sgd_has_momentum_and_weight_decay():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimiser = build_optimiser([weight], recipe(optimiser="sgd", momentum=0.5, weight_decay=0.25))
    expected, velocity = 2.0, 0.0
    for _ in range(3):
        weight.grad = torch.tensor([1.0])
        optimiser.step()
        velocity = 0.5 * velocity + 1.0 + 0.25 * expected
        expected -= 0.1 * velocity
    assert weight.item() == pytest.approx(expected, rel=1e-6)


def test_adamws_first_step_is_the_rate_whatever_the_gradient():
    weight = nn.Parameter(torch.tensor([2.0, 2.0]))
    optimiser = build_optimiser([weight], recipe(weight_decay=0.5))
    weight.grad = torch.tensor([1e-3, -1e3])
    optimiser.step()
    decayed = 2.0 * (1 - 0.1 * 0.5)
    torch.testing.assert_close(weight.detach(), torch.tensor([decayed - 0.1, decayed + 0.1]), atol=1e-5, rtol=0)


def test_adamw_is_the_published_algorithm_in_any_memory_format():
    """Loshchilov and Hutter 2019, algorithm 2, in float64, with a convolution's weights in both formats."""
    first = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    plain, last = nn.Parameter(first.clone()), nn.Parameter(first.clone(memory_format=torch.channels_last))
    optimiser = build_optimiser([plain, last], recipe(weight_decay=0.5))
    wanted, mean, square = first.double(), torch.zeros_like(first.double()), torch.zeros_like(first.double())
    for step in range(1, 6):
        gradient = torch.randn(first.shape, generator=torch.Generator().manual_seed(step))
        plain.grad, last.grad = gradient.clone(), gradient.clone(memory_format=torch.channels_last)
        optimiser.step()
        mean = 0.9 * mean + 0.1 * gradient.double()
        square = 0.999 * square + 0.001 * gradient.double() ** 2
        unbiased = (square / (1 - 0.999**step)).sqrt() + 1e-8
        wanted = wanted * (1 - 0.1 * 0.5) - 0.1 * mean / (1 - 0.9**step) / unbiased
    for weight in (plain, last):
        torch.testing.assert_close(weight.detach().double(), wanted, atol=1e-5, rtol=1e-5)


def test_frozen_parameters_are_left_out():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert build_optimiser(layer.parameters(), recipe()).param_groups[0]["params"] == [layer.weight]
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimiser([layer.bias], recipe())
