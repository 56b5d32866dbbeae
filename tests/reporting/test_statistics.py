import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from pointlift.reporting.statistics import (
    detectable_difference,
    expected_maximum,
    holm,
    mean_over_seeds,
    paired_difference,
)


def test_interval_over_seeds_is_students() -> None:
    found = mean_over_seeds([0.70, 0.74, 0.75, 0.69, 0.72])
    assert found.mean == pytest.approx(0.72)
    assert found.sd == pytest.approx(math.sqrt(26e-4 / 4))
    # t(0.975, 4 degrees of freedom) from a printed table
    half = 2.776445 * found.sd / math.sqrt(5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.72 - half, 0.72 + half))


def test_one_seed_has_no_spread() -> None:
    found = mean_over_seeds([0.7])
    assert (found.mean, found.sd, found.interval) == (0.7, None, None)


@pytest.mark.parametrize(("better", "worse"), [(9, 1), (5, 5), (7, 0), (3, 6)])
def test_sign_flip_on_right_and_wrong_is_mcnemars_exact_test(better: int, worse: int) -> None:
    differences = [1.0] * better + [-1.0] * worse + [0.0] * 40
    expected = stats.binomtest(better, better + worse, 0.5).pvalue
    assert paired_difference(differences).p_value == pytest.approx(expected)


def test_interval_of_many_items_approaches_the_normal_one() -> None:
    sample = np.random.default_rng(1).normal(0.3, 1.0, 2000)
    found = paired_difference(sample, resamples=4999)
    half = 1.959964 * sample.std() / math.sqrt(len(sample))
    assert found.interval is not None
    assert found.interval.low == pytest.approx(sample.mean() - half, abs=0.1 * half)
    assert found.interval.high == pytest.approx(sample.mean() + half, abs=0.1 * half)


def test_p_value_is_uniform_when_nothing_differs() -> None:
    samples = np.random.default_rng(3).normal(0, 1, (150, 30))
    p_values = [paired_difference(sample, resamples=499).p_value for sample in samples]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_no_interval_is_invented_where_items_do_not_differ() -> None:
    equal = paired_difference([0.0] * 20)
    assert (equal.mean, equal.interval, equal.p_value) == (0.0, None, 1.0)
    constant = paired_difference([1.0] * 6)
    assert constant.interval is None
    assert constant.p_value == pytest.approx(2 / 2**6)
    assert paired_difference([0.5]).interval is None


def test_same_input_same_numbers_and_swapping_the_runs_mirrors_them() -> None:
    sample = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], 50)
    first, again, swapped = paired_difference(sample), paired_difference(sample), paired_difference(-sample)
    assert first == again
    assert swapped.mean == -first.mean
    assert first.interval is not None
    assert swapped.interval is not None
    assert swapped.interval.low == pytest.approx(-first.interval.high, abs=0.03)


def test_holms_steps_by_hand() -> None:
    # four hypotheses: .005 * 4, .01 * 3, .03 * 2, and .04, which may not fall below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_is_between_nothing_and_bonferroni_and_keeps_the_order() -> None:
    given = np.random.default_rng(5).uniform(0, 0.2, 9)
    found = np.array(holm(list(given)))
    assert (found >= given).all()
    assert (found <= np.minimum(9 * given, 1.0)).all()
    assert (np.diff(found[np.argsort(given)]) >= 0).all()


@pytest.fixture
def few_living_objects() -> Iterator[None]:
    """statsmodels collects garbage in every call; what lives already is set aside, or 2,000 calls take minutes."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("few_living_objects")
def test_a_family_without_effects_has_a_finding_one_time_in_twenty_at_most() -> None:
    rng, trials = np.random.default_rng(6), 2000
    # seven comparisons with one run: their noise hangs together
    shared = rng.normal(0, 1, (trials, 1, 40))
    samples = shared + rng.normal(0, 1, (trials, 7, 40))
    p_values = stats.ttest_1samp(samples, 0, axis=2).pvalue
    found = np.mean([min(holm(list(each))) <= 0.05 for each in p_values])
    assert found <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
    assert np.mean(p_values.min(axis=1) <= 0.05) > 0.1  # uncorrected it is more


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    rng, trials, items = np.random.default_rng(7), 400, 150
    noise = rng.normal(0, 1, (trials, items))
    truth = np.mean([detectable_difference(each) for each in noise])
    assert truth == pytest.approx((1.959964 + 0.841621) / math.sqrt(items), rel=0.01)
    found = np.mean([stats.ttest_1samp(each + truth, 0).pvalue <= 0.05 for each in noise])
    assert found == pytest.approx(0.8, abs=0.05)
    assert detectable_difference([0.0] * 9) is None
    assert detectable_difference([0.3]) is None


# Tables of normal order statistics (Harter, Biometrika 48, 1961), and in closed form for 2, 3 and 5 draws
@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, 0.0),
        (2, 1 / math.sqrt(math.pi)),
        (3, 1.5 / math.sqrt(math.pi)),
        (5, 5 / (4 * math.sqrt(math.pi)) * (1 + 6 / math.pi * math.asin(1 / 3))),
        (8, 1.4236003),
        (24, 1.9476741),
        (100, 2.5075936),
    ],
)
def test_expected_maximum_of_normal_draws_is_the_tables(k: int, expected: float) -> None:
    assert expected_maximum(k) == pytest.approx(expected, abs=1e-7)
    assert expected_maximum(k, 0.8, 0.02) == pytest.approx(0.8 + 0.02 * expected, abs=1e-8)


def test_expected_maximum_is_that_of_simulated_draws() -> None:
    draws = np.random.default_rng(8).normal(0.9, 0.03, (40_000, 10)).max(axis=1)
    assert expected_maximum(10, 0.9, 0.03) == pytest.approx(draws.mean(), abs=4 * stats.sem(draws))
    assert expected_maximum(7, 0.5, 0.0) == 0.5
    for k, sd in ((0, 1.0), (3, -1.0), (3, math.nan)):
        with pytest.raises(ValueError, match="k >= 1"):
            expected_maximum(k, 0.0, sd)


def names_of(sizes: list[int] | np.ndarray) -> list[str]:
    """Object names, as many of each as it has copies; they sort in this order."""
    return [f"object{number:04d}" for number, size in enumerate(sizes) for _ in range(size)]


def test_three_seeds_alone_never_reach_a_p_value_below_a_quarter() -> None:
    triples = np.abs(np.random.default_rng(9).normal(5, 1, (20, 3)))
    assert [paired_difference(each).p_value for each in triples] == [2 / 2**3] * 20


def test_copies_of_items_say_no_more_than_the_items() -> None:
    sample = np.random.default_rng(10).choice([-1.0, 0.0, 1.0], 60, p=[0.2, 0.4, 0.4])
    once = paired_difference(sample)
    copied = paired_difference(np.repeat(sample, 5), clusters=names_of([5] * 60))
    assert (copied.mean, copied.p_value) == pytest.approx((once.mean, once.p_value))
    assert copied.detectable == pytest.approx(once.detectable)
    assert once.interval is not None and copied.interval is not None
    near = 0.05 * (once.interval.high - once.interval.low)
    assert (copied.interval.low, copied.interval.high) == pytest.approx(
        (once.interval.low, once.interval.high), abs=near
    )
    alone = paired_difference(np.repeat(sample, 5))
    assert alone.interval is not None and alone.p_value is not None and once.p_value is not None
    assert alone.interval.high - alone.interval.low < 0.5 * (once.interval.high - once.interval.low)
    assert alone.p_value < once.p_value


def test_objects_of_one_item_each_change_no_bit() -> None:
    sample = np.random.default_rng(11).normal(0.2, 1, 50)
    assert paired_difference(sample, clusters=names_of([1] * 50)) == paired_difference(sample)


def test_whole_objects_are_flipped_and_the_mean_is_that_of_items() -> None:
    sizes = [5, 1, 3]
    found = paired_difference([1.0] * 9, clusters=names_of(sizes))
    assert (found.p_value, found.interval, found.detectable) == (2 / 2**3, None, None)  # nothing spreads
    found = paired_difference([1.0] * 5 + [-1.0] + [1.0] * 3, clusters=names_of(sizes))
    assert found.mean == pytest.approx(7 / 9)
    # sums 5, -1, 3: of all 8 signs, 4 have a sum of 7 or more on either side: 5+1+3, 5-1+3, and their mirrors
    assert found.p_value == pytest.approx(4 / 8)
    assert paired_difference([1.0, -1.0] * 4, clusters=names_of([2] * 4)).interval is None
    with pytest.raises(ValueError, match="3 clusters for 4"):
        paired_difference([1.0] * 4, clusters=["a", "b", "c"])


def test_the_standard_error_over_objects_is_that_of_a_regression_with_clustered_errors() -> None:
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(12)
    sizes = rng.integers(1, 7, 40)
    sample = np.repeat(rng.normal(0.1, 1, 40), sizes) + rng.normal(0, 0.5, sizes.sum())
    number = np.repeat(np.arange(40), sizes)
    fit = OLS(sample, np.ones(len(sample))).fit(cov_type="cluster", cov_kwds={"groups": number})
    deviates = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    order = rng.permutation(len(sample))  # items of one object need not stand together
    found = detectable_difference(sample[order], [f"o{one}" for one in number[order]])
    assert found == pytest.approx(deviates * fit.bse[0])
