"""Computes intervals for any statistic by resampling."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paramact_jax.statistics.checks import at_least, check_confidence, finite_numbers

_NUMBERS_AT_ONCE = 2**22  # resampled values held in memory


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    confidence: float = 0.95,
    *,
    resamples: int = 9_999,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Computes a bootstrap interval of a statistic of independent observations.

    The observations are drawn with replacement `resamples` times. The interval is Efron's BCa: the quantiles of the
    resampled statistic at levels corrected for its bias, z0 = Phi^-1(share of resamples below the statistic), and for
    its skewness, a = sum(d^3) / (6 sum(d^2)^1.5) of the jackknife differences d. If these do not exist, for instance
    when all values are equal, it is the plain percentile interval.

    Args:
      values: observations along the first axis, at least 2. Further axes are separate quantities: each gets its own
        interval, all from the same resamples of observations.
      statistic: function of an array. If it has an argument `axis`, as NumPy's functions, it is called for many
        resamples at once.
      confidence: two-sided coverage, within (0, 1).
      resamples: number of resamples, at least 1.
      seed: seed of the resampling. The same seed and values give the same interval.

    Returns:
      Lower and upper bound: numbers, or arrays of the shape of one observation.

    Raises:
      ValueError: if the values are not finite numbers, there are fewer than 2 observations or no quantities, the
        confidence is not within (0, 1), `resamples` is below 1, or the statistic of the values or of a resample is not
        finite.

    References:
      Efron, Journal of the American Statistical Association 82, 1987.

    Examples:
      >>> low, high = bootstrap_interval([0.8, 1.1, 0.9, 1.4, 1.0, 0.7, 1.2, 1.3])
      >>> print(f"{low:.2f} {high:.2f}")
      0.90 1.21
      >>> bootstrap_interval([2.0, 2.0, 2.0], np.median)
      (2.0, 2.0)
    """
    from scipy import stats

    x = finite_numbers(values, "values")
    if x.ndim == 0 or len(x) < 2:
        raise ValueError(f"expected at least 2 observations along the first axis, got an array of shape {x.shape}")
    if not x.size:
        raise ValueError(f"expected observations of at least one quantity, got an array of shape {x.shape}")
    confidence = check_confidence(confidence)
    resamples, seed = at_least("resamples", resamples, 1), at_least("seed", seed, 0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Where BCa does not exist it divides 0 by 0 and gives NaN; the result is checked for that below.
        warnings.simplefilter("ignore")
        result = stats.bootstrap(
            (x,),
            statistic,
            axis=0,
            confidence_level=confidence,
            n_resamples=resamples,
            batch=max(1, _NUMBERS_AT_ONCE // x.size),
            method="BCa",
            random_state=np.random.default_rng(seed),  # scipy < 1.15 does not have the new name, rng
        )
    distribution = np.asarray(result.bootstrap_distribution)
    if not np.isfinite(distribution).all():
        raise ValueError(
            f"expected a statistic that is finite for every resample, got {_name(statistic)} that is not; "
            f"choose one that is defined for repeated observations"
        )
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    percentile = np.quantile(distribution, levels, axis=-1)
    bca = np.stack([result.confidence_interval.low, result.confidence_interval.high])
    low, high = np.where(np.isfinite(bca).all(axis=0), bca, percentile)
    return (low, high) if np.ndim(low) else (float(low), float(high))


def _name(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__name__", fn))
