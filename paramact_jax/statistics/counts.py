"""Counts of successes: interval, comparison, power of a comparison, correction for many comparisons."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from paramact_jax.statistics.checks import check_confidence, whole_number


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns Wilson's score interval for a proportion.

    It is the set of p with |successes/trials - p| <= z sqrt(p (1 - p) / trials), z the two-sided normal quantile.

    Args:
      successes: count, 0 to `trials`.
      trials: number of independent trials, at least 1.
      confidence: two-sided coverage, within (0, 1).

    Returns:
      Lower and upper bound of the proportion.

    Raises:
      ValueError: if the count is not a whole number within 0..trials, or the confidence is not within (0, 1).

    References:
      Wilson, Journal of the American Statistical Association 22, 1927.

    Examples:
      >>> low, high = wilson_interval(744, 1000)
      >>> print(f"{low:.4f} {high:.4f}")
      0.7161 0.7701
    """
    successes, trials = _count(successes, trials)
    z2 = NormalDist().inv_cdf((1 + check_confidence(confidence)) / 2) ** 2
    middle = successes + z2 / 2
    half = math.sqrt(z2 * (successes * (trials - successes) / trials + z2 / 4))
    # At 0 and at n the exact bound is 0 or 1; rounding leaves 1e-17 there.
    low = 0.0 if successes == 0 else (middle - half) / (trials + z2)
    high = 1.0 if successes == trials else (middle + half) / (trials + z2)
    return low, high


def two_proportion_p_value(successes_1: int, trials_1: int, successes_2: int, trials_2: int) -> float:
    """Returns the two-sided p value for the hypothesis that two independent counts have the same proportion.

    It is the pooled z test, z = (p1 - p2) / sqrt(p (1 - p) (1/n1 + 1/n2)), where p is the pooled proportion. If an
    expected count is below 5, where the normal approximation is poor, it is Fisher's exact test.

    Args:
      successes_1: count in the first sample, 0 to `trials_1`.
      trials_1: number of independent trials in the first sample, at least 1.
      successes_2: count in the second sample, 0 to `trials_2`.
      trials_2: number of independent trials in the second sample, at least 1.

    Raises:
      ValueError: if a count is not a whole number within 0..trials.

    Examples:
      >>> print(f"{two_proportion_p_value(744, 1000, 765, 1000):.3f}")
      0.275
      >>> two_proportion_p_value(0, 1000, 0, 1000)
      1.0
    """
    successes_1, trials_1 = _count(successes_1, trials_1)
    successes_2, trials_2 = _count(successes_2, trials_2)
    pooled = (successes_1 + successes_2) / (trials_1 + trials_2)
    if pooled in (0.0, 1.0):
        return 1.0
    if min(pooled, 1 - pooled) * min(trials_1, trials_2) < 5:
        from scipy import stats  # here, since its import takes longer than that of JAX

        table = np.array([[successes_1, trials_1 - successes_1], [successes_2, trials_2 - successes_2]])
        return float(stats.fisher_exact(table).pvalue)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / trials_1 + 1 / trials_2))
    z = (successes_1 / trials_1 - successes_2 / trials_2) / deviation
    return math.erfc(abs(z) / math.sqrt(2))


def shares_not_told_apart(
    successes: int, trials: int, own_trials: int, *, level: float = 0.05, power: float = 0.8
) -> tuple[float, float]:
    """Returns the range of true shares that our trials cannot distinguish from another sample's count.

    It shows the power behind a result "not different". With a true share q, our count is binomial, and the test of
    `two_proportion_p_value` rejects if p <= level. For q between the two bounds it rejects with a probability below
    `power`, so "not different" means "cannot tell" there.

    Args:
      successes: count of the other sample, 0 to `trials`.
      trials: number of independent trials in the other sample, at least 1.
      own_trials: number of our trials, at least 1.
      level: level of the test; for one of m tests with Holm's correction, level / m is safe.
      power: the wanted power, within (level, 1).

    Returns:
      The smallest and the largest share in this range.

    Raises:
      ValueError: if a count is not a whole number within 0..trials, or 0 < level < power < 1 does not hold.

    Examples:
      >>> low, high = shares_not_told_apart(744, 1000, 1000)
      >>> print(f"{low:.3f} {high:.3f}")
      0.692 0.792
    """
    from scipy import stats

    successes, trials = _count(successes, trials)
    _, own = _count(0, own_trials)
    if not 0 < level < power < 1:
        raise ValueError(f"expected 0 < level < power < 1, got level {level}, power {power}")

    def told(count: int) -> bool:
        return two_proportion_p_value(count, own, successes, trials) <= level

    middle = round(own * successes / trials)
    low, high = middle - bisect.bisect_left(range(middle), True, key=lambda i: told(middle - 1 - i)), middle
    high += bisect.bisect_left(range(own - middle), True, key=lambda i: told(middle + 1 + i))

    def edge(outside: float) -> float:
        """Finds the share between `outside` and the middle that reaches the power; `outside` if there is none."""

        def rejected(share: float) -> bool:
            return float(stats.binom.cdf(low - 1, own, share) + stats.binom.sf(high, own, share)) >= power

        inside = middle / own
        if not rejected(outside):
            return outside
        for _ in range(40):
            between = (outside + inside) / 2
            outside, inside = (between, inside) if rejected(between) else (outside, between)
        return inside

    return edge(0.0), edge(1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's step-down adjusted p values: rejecting those <= alpha keeps the family-wise error <= alpha.

    The k-th smallest of n values becomes the largest of (n - j + 1) p_(j) over j <= k, at most 1.

    Args:
      p_values: one p value per comparison, each within [0, 1].

    Returns:
      Adjusted p values in the given order.

    Raises:
      ValueError: if `p_values` is not a list of numbers within [0, 1].

    References:
      Holm, Scandinavian Journal of Statistics 6, 1979.

    Examples:
      >>> holm([0.01, 0.04, 0.03])
      [0.03, 0.06, 0.06]
    """
    try:
        p = np.asarray(p_values, np.float64)
    except (TypeError, ValueError):
        p = np.array([np.nan])
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"expected a list of p values within [0, 1], got {p_values!r:.80}")
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty_like(p)
    result[order] = np.minimum(adjusted, 1.0)
    return [float(value) for value in result]


def _count(successes: Any, trials: Any) -> tuple[int, int]:
    """Returns both as Python's int, which does not overflow; raises ValueError if they are not a count of trials."""
    k, n = whole_number(successes), whole_number(trials)
    if k is None or n is None or n < 1 or not 0 <= k <= n:
        raise ValueError(
            f"expected whole numbers, at least 1 trial and a count within 0..trials, got {successes} of {trials}"
        )
    return k, n
