"""Two conditions tried on the same seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from paramact_jax.statistics.bootstrap import bootstrap_interval, finite_numbers


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """What pairs of trials say about the first condition against the second.

    Attributes:
      pairs: number of seeds.
      difference: mean of first - second over the seeds; for yes/no outcomes the difference of their shares of yes.
      interval: of the difference: for numbers the t interval that belongs to the test, for outcomes by bootstrap.
      p_value: two-sided, of the test.
      test: its name.
      discordant: for yes/no outcomes the numbers of seeds with yes under the first alone and under the second alone,
        otherwise None.
    """

    pairs: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    test: str
    discordant: tuple[int, int] | None = None


def paired_comparison(
    first: ArrayLike,
    second: ArrayLike,
    first_seeds: Iterable[int],
    second_seeds: Iterable[int],
    *,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> PairedComparison:
    """Compare two conditions trial by trial: what a seed makes easy or hard for both cancels.

    Trials with the same seed are a pair, in whatever order they are given. With d the n differences first - second:

    - numbers: the paired t test, t = mean(d) / (std(d) / sqrt(n)) with n - 1 degrees of freedom, and its interval. It
      asks about the mean difference; Wilcoxon's signed ranks ask about another quantity, and can deny an improvement
      of few trials by much. With fewer than about 20 pairs t needs differences that are roughly normal; a bootstrap
      interval would be far too short (of 3 normal pairs it covers 73 % instead of 95 %). Where all differences are
      equal t says nothing, and the sign test, p = 2^(1 - n), is used.
    - yes/no outcomes (bool arrays): McNemar's exact test; see `mcnemar_p_value`.

    Args:
      first: one number or one bool a trial, under the first condition.
      second: the same under the second.
      first_seeds: seeds of the first condition's trials, each once.
      second_seeds: seeds of the second's, the same set.
      confidence: of the difference's interval.
      resamples: of the interval of outcomes, see `bootstrap_interval`.
      seed: of its resampling.

    Raises:
      ValueError: if the seeds of the conditions differ, repeat, or are not as many as the trials, one condition has
        numbers and the other outcomes, a number is not finite, or there are fewer than 2 pairs.

    References:
      McNemar, Psychometrika 12, 1947.

    Examples:
      >>> tanh = [True, True, False, True, True, True, True, False]
      >>> relu = [False, True, False, False, False, False, True, False]
      >>> result = paired_comparison(tanh, relu, range(8), range(8))
      >>> result.difference, result.discordant, result.p_value
      (0.5, (4, 0), 0.125)
      >>> paired_comparison([0.31, 0.28, 0.35], [0.30, 0.24, 0.32], [0, 1, 2], [0, 1, 2]).test
      'paired t test'
    """
    pairs = _in_order_of_seeds(first, first_seeds, "first"), _in_order_of_seeds(second, second_seeds, "second")
    (x, x_seeds), (y, y_seeds) = pairs
    if different := set(x_seeds.tolist()) ^ set(y_seeds.tolist()):
        raise ValueError(
            f"expected the same seeds under both conditions, got {len(different)} that only one of them has "
            f"({min(different)} for instance); compare the seeds they share"
        )
    yes_no = x.dtype == bool
    if yes_no != (y.dtype == bool):
        raise ValueError(f"expected numbers twice or outcomes (bool) twice, got {x.dtype} and {y.dtype}")
    d = x.astype(np.float64) - y.astype(np.float64)
    if len(d) < 2:
        raise ValueError(f"expected at least 2 pairs, got {len(d)}")
    difference = float(d.mean())
    if yes_no:
        interval = bootstrap_interval(d, confidence=confidence, resamples=resamples, seed=seed)
        alone = int((x & ~y).sum()), int((y & ~x).sum())
        p_value, test = mcnemar_p_value(*alone), "McNemar's exact test"
        return PairedComparison(len(d), difference, interval, p_value, test, discordant=alone)
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence within (0, 1), got {confidence}")
    if np.ptp(d) == 0:
        p_value = 1.0 if difference == 0 else 2.0 ** (1 - len(d))
        return PairedComparison(len(d), difference, (difference, difference), p_value, "sign test")
    half = float(stats.t.ppf((1 + confidence) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)))
    interval = difference - half, difference + half
    return PairedComparison(len(d), difference, interval, float(stats.ttest_1samp(d, 0.0).pvalue), "paired t test")


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """McNemar's exact two-sided p value for the numbers of discordant pairs.

    If the conditions do not differ, a pair with one yes has it under either with probability 1/2: with m = only_first
    + only_second, p = min(1, 2 P(Binomial(m, 1/2) <= min(only_first, only_second))). Pairs that agree do not matter.

    Args:
      only_first: pairs with yes under the first condition alone.
      only_second: pairs with yes under the second alone.

    Raises:
      ValueError: if a number is negative.

    Examples:
      >>> print(f"{mcnemar_p_value(150, 86):.3g}")
      3.72e-05
      >>> mcnemar_p_value(0, 0)
      1.0
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"expected numbers of pairs >= 0, got {only_first} and {only_second}")
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def _in_order_of_seeds(trials: ArrayLike, seeds: Iterable[int], name: str) -> tuple[np.ndarray, np.ndarray]:
    x, labels = np.asarray(trials), np.asarray(list(seeds))
    if x.dtype != bool:
        x = finite_numbers(trials, f"numbers under the {name} condition")
    if x.ndim != 1 or labels.shape != x.shape:
        raise ValueError(
            f"expected one value and one seed a trial under the {name} condition, got shapes {x.shape} and "
            f"{labels.shape}"
        )
    unique, order, counts = np.unique(labels, return_index=True, return_counts=True)
    if len(unique) < len(labels):
        raise ValueError(
            f"expected each seed once under the {name} condition, got {unique[counts > 1][0]} "
            f"{counts[counts > 1][0]} times"
        )
    return x[order], unique
