"""What the statistics promise, seen in thousands of made experiments whose truth is known. All seeds are fixed."""

import math

import numpy as np

from pointlift.reporting.statistics import (
    Interval,
    detectable_difference,
    interval_over_items,
    mean_over_seeds,
    paired_difference,
)
from reporting.test_statistics import names_of

EXPERIMENTS = 2000
#: Of a share that is truly 0.05, over so many experiments.
STANDARD_ERROR = math.sqrt(0.05 * 0.95 / EXPERIMENTS)
#: Copies of 100 objects: 4 to 6 of each, 5 on average, as in ScanObjectNN's PB_T50_RS.
SIZES = np.arange(100) % 3 + 4


def covered(intervals: list[Interval | None], truth: float) -> float:
    return float(np.mean([one is not None and one.low <= truth <= one.high for one in intervals]))


def rejected(differences: np.ndarray, clusters: list[str] | None = None) -> float:
    p_values = [paired_difference(each, resamples=199, clusters=clusters).p_value for each in differences]
    return float(np.mean([p_value is not None and p_value <= 0.05 for p_value in p_values]))


def right(rng: np.random.Generator, chance: np.ndarray) -> np.ndarray:
    return (rng.random(chance.shape) < chance).astype(float)


def copies(rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    """Differences (experiments, items) of two runs that are alike: what one makes of an object, it makes of its copies.

    Each run finds an object hard or easy by a chance of its own, so that copies are right or wrong together.
    """
    hard = rng.normal(0.7, 1.0, (EXPERIMENTS, len(sizes)))
    runs = [1 / (1 + np.exp(-hard - rng.normal(0.0, 2.0, hard.shape))) for _ in range(2)]
    first, second = (right(rng, np.repeat(chance, sizes, axis=1)) for chance in runs)
    return first - second


def test_the_interval_over_seeds_covers_the_truth() -> None:
    # exact for normal noise, however few the seeds are
    for seeds in (3, 5):
        values = np.random.default_rng(seeds).normal(0.85, 0.01, (EXPERIMENTS, seeds))
        assert 0.93 <= covered([mean_over_seeds(list(each)).interval for each in values], 0.85) <= 0.97


def test_the_interval_over_items_covers_the_truth() -> None:
    # Right or wrong, 60 items. Fewer items, and items that are skewed, are covered less often: of 20 normal ones 92 in
    # 100, of 20 exponential ones 92, of 50 exponential ones 93.
    rng = np.random.default_rng(0)
    samples = rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.55, 0.30], size=(EXPERIMENTS, 60))
    intervals = [interval_over_items(each, 999) for each in samples]
    assert 0.93 <= covered(intervals, 0.15) <= 0.97


def test_the_interval_over_objects_covers_the_truth_and_that_over_copies_does_not() -> None:
    # 100 objects. Fewer are covered less often: 40 of 1 to 5 copies 92 to 93 in 100, 20 of them 90. So many resamples
    # because all experiments meet the same ones: with few, all intervals err to one side.
    rng = np.random.default_rng(1)
    whole = 0.2 + np.repeat(rng.normal(0, 1, (EXPERIMENTS, len(SIZES))), SIZES, axis=1)
    samples = whole + rng.normal(0, 0.5, whole.shape)
    names = names_of(SIZES)
    intervals = [interval_over_items(each, 1999, names) for each in samples]
    assert 0.93 <= covered(intervals, 0.2) <= 0.97
    ignored = [interval_over_items(each, 299) for each in samples[:200]]
    assert covered(ignored, 0.2) < 0.8


def test_the_paired_test_finds_nothing_between_equals_more_than_one_time_in_twenty() -> None:
    rng = np.random.default_rng(2)
    chance = rng.beta(2, 1, (EXPERIMENTS, 1, 30)).repeat(3, axis=1)
    differences = (right(rng, chance) - right(rng, chance)).mean(axis=1)  # 3 seeds are blocks
    assert 0.02 < rejected(differences) <= 0.05 + 2 * STANDARD_ERROR


def test_copies_break_the_level_of_the_test_unless_whole_objects_are_flipped() -> None:
    sizes = SIZES[:30]
    differences = copies(np.random.default_rng(3), sizes)
    assert 0.02 < rejected(differences, names_of(sizes)) <= 0.05 + 2 * STANDARD_ERROR
    assert rejected(differences[:400]) > 0.15


def test_a_detectable_difference_is_found_among_copies_four_times_in_five() -> None:
    differences = copies(np.random.default_rng(4), SIZES)[:400]
    names = names_of(SIZES)
    detectable = [value for each in differences if (value := detectable_difference(each, names)) is not None]
    assert abs(rejected(differences + np.mean(detectable), names) - 0.8) <= 0.05
