"""What may be said from few numbers: intervals over seeds, and paired differences over test items.

Few seeds say little by themselves: the signs of n differences can be flipped in 2^n ways, so that a sign-flip test over
three seeds never has a p value below 2 / 2^3 = 0.25. Comparisons therefore run over test items, with seeds as blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests

from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.shards import Array

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 9999
_BATCH_NUMBERS = 4_000_000
_DECIMALS = 12
_ROUNDING = 10.0**-_DECIMALS


@dataclass(frozen=True)
class Interval:
    """A two-sided 95 % interval."""

    low: float
    high: float

    def excludes_zero(self) -> bool:
        """True when 0 lies strictly outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Mean:
    """A mean over seeds. One seed has neither a standard deviation nor an interval."""

    mean: float
    sd: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """A mean paired difference over test items; None where the items do not allow it."""

    mean: float
    interval: Interval | None
    p_value: float | None
    detectable: float | None = None
    """The smallest true difference that these items would have shown four times in five; see
    ``detectable_difference``."""


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """Mean, sample standard deviation (ddof 1) and Student's t interval of a few values.

    values : (seeds,), at least one. The interval assumes roughly normal seed-to-seed noise.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return Mean(float(sample.mean()), None, None)
    mean, sd = float(sample.mean()), float(sample.std(ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1)) * sd / np.sqrt(len(sample))
    return Mean(mean, sd, Interval(mean - half, mean + half))


def paired_difference(
    differences: Sequence[float] | Array, resamples: int = RESAMPLES, clusters: Sequence[str] | None = None
) -> Difference:
    """Mean of per-item differences with a bootstrap interval and a sign-flip test, both over items.

    differences : (items,), run minus control, each already averaged over seeds: seeds are blocks, so that several
    seeds on one test set do not count as more test items. Interval: bias-corrected and accelerated (Efron 1987).
    p value: the sign of every item's difference is exchangeable when the two runs are alike (Fisher); exact when there
    are few items, else Monte Carlo. Random numbers are fixed, so equal input gives equal output.

    clusters : (items,), the object that each item is a copy of. Copies of one object are right or wrong together: whole
    objects are then resampled and flipped, and the mean stays that over items (a ratio of sums, as objects may have
    different numbers of copies; Davison and Hinkley, Bootstrap Methods, 1997, section 3.8). Without clusters, or where
    each item has one of its own, every item is one. With few objects the interval covers less than it says: about 92 in
    100 with 40 of them, 90 with 20. Raises ``ValueError`` unless there are as many clusters as items.
    """
    sample = np.asarray(differences, dtype=np.float64)
    groups = _groups(sample, clusters)
    interval = interval_over_items(sample, resamples, clusters)
    p_value = _sign_flip(sample if groups is None else groups.sums, resamples)
    return Difference(float(sample.mean()), interval, p_value, detectable_difference(sample, clusters))


def interval_over_items(
    differences: Sequence[float] | Array, resamples: int = RESAMPLES, clusters: Sequence[str] | None = None
) -> Interval | None:
    """The interval of ``paired_difference`` alone; None where nothing spreads: one of width 0 would be an invention."""
    sample = np.asarray(differences, dtype=np.float64)
    groups = _groups(sample, clusters)
    if groups is not None:
        return _interval((groups.sums, groups.sizes), _ratio_of_sums, resamples) if groups.spread() else None
    if len(sample) < 2 or np.ptp(sample) == 0:
        return None
    return _interval((sample,), np.mean, resamples)


def detectable_difference(differences: Sequence[float] | Array, clusters: Sequence[str] | None = None) -> float | None:
    """The true mean difference that a two-sided test at 5 % over these items finds with power 0.8.

    differences : (items,), run minus control. By the normal approximation: (z(0.975) + z(0.8)) standard errors. A
    difference below it that was not found was not looked for closely enough. None where nothing spreads.
    clusters : as in ``paired_difference``; the standard error is then that of a ratio of sums over independent objects
    (Cochran, Sampling Techniques, 1977, equation 6.13).
    """
    sample = np.asarray(differences, dtype=np.float64)
    groups = _groups(sample, clusters)
    if (groups is not None and not groups.spread()) or len(sample) < 2 or np.ptp(sample) == 0:
        return None
    deviates = stats.norm.ppf(0.5 + CONFIDENCE / 2) + stats.norm.ppf(POWER)
    return float(deviates * (stats.sem(sample) if groups is None else groups.standard_error()))


def expected_maximum(k: int, mean: float = 0.0, sd: float = 1.0) -> float:
    """Expectation of the largest of k independent normal draws: what "the best of k seeds" adds to any of them.

    k : draws, 1 or more; mean, sd : of one draw. The integral of x k phi(x) Phi(x)^(k - 1) (David and Nagaraja, Order
    Statistics, 2003, section 3.1), by adaptive quadrature. Raises ``ValueError`` for no draw or a negative sd.
    """
    if k < 1 or not sd >= 0:
        raise ValueError(f"the largest of {k} draws with standard deviation {sd} is no number; k >= 1 and sd >= 0 are")
    if k == 1:
        return mean  # exactly; the quadrature gives it to rounding
    log_k = np.log(k)

    def weighted(x: float) -> float:
        return float(x * np.exp(log_k + stats.norm.logpdf(x) + (k - 1) * stats.norm.logcdf(x)))

    return float(mean + sd * integrate.quad(weighted, -np.inf, np.inf, epsabs=1e-10)[0])


def holm(p_values: Sequence[float]) -> list[float]:
    """The same p values, each as if it were the only one of its family (Holm, Scand. J. Statist. 6, 1979).

    Whoever calls those at most 0.05 found is wrong about one or more of the family one time in twenty at most, however
    the tests hang together. The order is that of ``p_values``.
    """
    if not len(p_values):
        return []
    return [float(value) for value in multipletests(p_values, method="holm")[1]]


@dataclass(frozen=True)
class _Groups:
    """Items by object. sums : (objects,) of their differences; sizes : (objects,) how many items each has, float64.

    rounding : differences of means up to this one are none.
    """

    sums: Array
    sizes: Array
    rounding: float

    def spread(self) -> bool:
        """Whether objects differ in their mean by more than rounding: if not, resampling them has nothing to say."""
        means = self.sums / self.sizes
        return len(means) > 1 and bool(np.ptp(means) > self.rounding)

    def standard_error(self) -> float:
        """Of the mean over items, when objects are independent and items of one are not."""
        count, items = len(self.sums), self.sizes.sum()
        beside = self.sums - self.sizes * (self.sums.sum() / items)
        return float(np.sqrt(count / (count - 1) * (beside**2).sum()) / items)


def _groups(sample: Array, clusters: Sequence[str] | None) -> _Groups | None:
    """The items by object; None where each item is its own."""
    if clusters is None:
        return None
    if len(clusters) != len(sample):
        raise ValueError(f"{len(clusters)} clusters for {len(sample)} differences; there must be one for each")
    _, number, sizes = np.unique(np.asarray(clusters, dtype=str), return_inverse=True, return_counts=True)
    if len(sizes) == len(sample):
        return None
    sums, rounding = np.bincount(number, weights=sample), _ROUNDING * float(np.abs(sample).max())
    return _Groups(np.where(np.abs(sums) > rounding * sizes, sums, 0.0), sizes.astype(np.float64), rounding)


def _ratio_of_sums(sums: Array, sizes: Array, axis: int = -1) -> Array:
    ratio: Array = np.sum(sums, axis=axis) / np.sum(sizes, axis=axis)
    return np.round(ratio, _DECIMALS)  # resamples that are equal but for rounding are: the correction counts ties


def _interval(samples: tuple[Array, ...], statistic: Callable[..., Array], resamples: int) -> Interval | None:
    """Of a statistic of samples whose rows belong together: resampled, and left out one at a time, as one."""
    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=_batch(samples[0]),
        paired=len(samples) > 1,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=_generator("bootstrap"),
    ).confidence_interval
    return Interval(float(found.low), float(found.high)) if np.isfinite([found.low, found.high]).all() else None


def _sign_flip(sample: Array, resamples: int) -> float:
    moved = sample[sample != 0]  # an item without a difference has no sign to flip
    if len(moved) < 2:
        return 1.0  # one flip is as extreme as the other
    found = stats.permutation_test(
        (moved,),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples,
        batch=_batch(moved),
        vectorized=True,
        rng=_generator("sign flip"),
    )
    return float(found.pvalue)


def _batch(sample: Array) -> int:
    return max(1, _BATCH_NUMBERS // len(sample))


def _generator(purpose: str) -> np.random.Generator:
    return np.random.default_rng(stable_seed("reporting", purpose))
