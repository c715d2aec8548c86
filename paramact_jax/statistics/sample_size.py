"""Computes the number of trials that a comparison needs."""

from __future__ import annotations

import math

import numpy as np

from paramact_jax.statistics.checks import at_least, real_number
from paramact_jax.statistics.counts import two_proportion_p_value

_NEGLIGIBLE = 1e-9
_SMALL = 10  # twice the expected count below which Fisher's test is used; up to here it is a likely outcome
_MOST_SEEDS = 10**9


def seeds_to_tell(p1: float, p2: float, power: float = 0.8, level: float = 0.05) -> int:
    """Returns the number of trials in each of two independent samples that tells proportion p1 from p2.

    `two_proportion_p_value` of two samples of this size is <= level with probability `power`. With p the mean of p1
    and p2 and z_q the normal quantile,

        n = (z_(1 - level/2) sqrt(2 p (1 - p)) + z_power sqrt(p1 (1 - p1) + p2 (1 - p2)))^2 / (p1 - p2)^2,

    rounded up. The true power is then within about 0.02 of `power`, since counts are whole numbers. If the expected
    counts are so small that Fisher's exact test is used, n is increased until the exact power is reached.

    Args:
      p1: a proportion within [0, 1].
      p2: another proportion within [0, 1].
      power: probability of telling the two apart, within (0, 1) and above `level`.
      level: two-sided significance level, within (0, 1).

    Raises:
      ValueError: if a value is not within its range, p1 equals p2, or more than 1e9 trials are needed.

    References:
      Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 3rd ed., eq. 4.14, 2003.

    Examples:
      >>> seeds_to_tell(0.744, 0.765)
      6593
      >>> seeds_to_tell(0.0, 0.03)
      267
    """
    from scipy import stats

    given = p1, p2
    p1, p2 = real_number(p1), real_number(p2)
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1) or p1 == p2:
        raise ValueError(f"expected two different proportions within [0, 1], got {given[0]!r} and {given[1]!r}")
    power, level = _checked(power, level)
    mean = (p1 + p2) / 2
    alike, apart = math.sqrt(2 * mean * (1 - mean)), math.sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    trials = _whole((stats.norm.isf(level / 2) * alike + stats.norm.ppf(power) * apart) / (p1 - p2))
    while min(mean, 1 - mean) * trials < _SMALL and power_to_tell(p1, p2, trials, level) < power:
        trials += max(1, trials // 50)
    return trials


def power_to_tell(p1: float, p2: float, trials: int, level: float = 0.05) -> float:
    """Returns the exact probability that `two_proportion_p_value` of two samples of `trials` is <= level.

    It is the sum of the probabilities of all pairs of counts that the test calls different. Counts in tails of
    probability 1e-9 are left out. Use it if few counts are likely, since it makes the test for each pair.

    Args:
      p1: true proportion of the first sample, within [0, 1].
      p2: true proportion of the second sample, within [0, 1].
      trials: number of trials in each sample, at least 1.
      level: two-sided significance level.

    Raises:
      ValueError: if a proportion is not within [0, 1], or `trials` is not a whole number >= 1.

    Examples:
      >>> print(f"{power_to_tell(0.0, 0.03, 267):.3f}")
      0.814
    """
    from scipy import stats

    if not (0 <= real_number(p1) <= 1 and 0 <= real_number(p2) <= 1):
        raise ValueError(f"expected proportions within [0, 1], got {p1!r} and {p2!r}")
    p1, p2, trials = real_number(p1), real_number(p2), at_least("trials", trials, 1)
    counts = [_likely_counts(p, trials) for p in (p1, p2)]
    masses = [stats.binom.pmf(k, trials, p) for k, p in zip(counts, (p1, p2), strict=True)]
    told = [[two_proportion_p_value(int(k1), trials, int(k2), trials) <= level for k2 in counts[1]] for k1 in counts[0]]
    return float(masses[0] @ np.array(told, float) @ masses[1])


def seeds_to_tell_means(difference: float, power: float = 0.8, level: float = 0.05, *, paired: bool = False) -> int:
    """Returns the number of trials under each of two conditions that tells their means apart by a two-sided t test.

    It is the least n for which |T| exceeds the test's critical value with probability `power`. T has the noncentral t
    distribution. For two independent samples it has 2n - 2 degrees of freedom and noncentrality difference sqrt(n/2);
    for pairs, which are trials of the same seeds, n - 1 degrees of freedom and noncentrality difference sqrt(n).

    Args:
      difference: difference of the means, in units of the standard deviation within a condition; for pairs in units of
        the standard deviation of the pairs' differences. Not 0.
      power: probability of telling the two apart, within (0, 1) and above `level`.
      level: two-sided significance level, within (0, 1).
      paired: whether both conditions have trials of the same seeds and are compared by pairs.

    Raises:
      ValueError: if a value is not within its range, or more than 1e9 trials are needed.

    References:
      Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., chapter 2, 1988.

    Examples:
      >>> seeds_to_tell_means(0.5)
      64
      >>> seeds_to_tell_means(0.5, paired=True)
      34
    """
    from scipy import stats

    given, difference = difference, real_number(difference)
    if not (math.isfinite(difference) and difference != 0):
        raise ValueError(f"expected a finite difference other than 0, got {given!r}")
    power, level = _checked(power, level)
    quantiles = stats.norm.isf(level / 2) + stats.norm.ppf(power)
    trials = max(2, _whole(quantiles / difference, 1 if paired else 2))
    while trials > 2 and _power_of_t(abs(difference), trials - 1, level, paired) >= power:
        trials -= 1
    while _power_of_t(abs(difference), trials, level, paired) < power:
        trials += 1
    return trials


def _power_of_t(difference: float, trials: int, level: float, paired: bool) -> float:
    from scipy import stats

    freedom, noncentrality = (
        (trials - 1, difference * math.sqrt(trials)) if paired else (2 * trials - 2, difference * math.sqrt(trials / 2))
    )
    critical = stats.t.isf(level / 2, freedom)
    return float(stats.nct.sf(critical, freedom, noncentrality) + stats.nct.cdf(-critical, freedom, noncentrality))


def _likely_counts(p: float, trials: int) -> np.ndarray:
    from scipy import stats

    low, high = stats.binom.ppf(_NEGLIGIBLE, trials, p), stats.binom.isf(_NEGLIGIBLE, trials, p)
    return np.arange(max(low, 0), high + 1)


def _checked(power: float, level: float) -> tuple[float, float]:
    checked = real_number(power), real_number(level)
    if not 0 < checked[1] < checked[0] < 1:
        raise ValueError(f"expected 0 < level < power < 1, got level={level!r} and power={power!r}")
    return checked


def _whole(root: float, factor: int = 1) -> int:
    """Returns the number of trials, factor * root^2 rounded up; raises ValueError if it is above the limit."""
    with np.errstate(over="ignore"):
        trials = factor * np.square(root)
    if not trials <= _MOST_SEEDS:
        raise ValueError(
            f"expected a difference for at most {_MOST_SEEDS:,} trials, got one for {trials:.2g}; choose a larger one"
        )
    return max(1, math.ceil(trials - 1e-9))
