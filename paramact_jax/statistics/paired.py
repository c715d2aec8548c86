"""Compares two conditions with trials of the same seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from paramact_jax.statistics.bootstrap import bootstrap_interval
from paramact_jax.statistics.checks import check_confidence, finite_numbers, whole_number

_LARGEST = 1e150


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """The result of a comparison of two conditions by pairs of trials.

    Attributes:
      pairs: number of seeds.
      difference: mean of first - second over the seeds; for yes/no outcomes the difference of their shares of yes.
      interval: interval of the difference: for numbers the t interval of the test, for outcomes a bootstrap interval.
      p_value: two-sided p value of the test.
      test: name of the test.
      discordant: for yes/no outcomes the number of seeds with yes only under the first condition, and the number with
        yes only under the second; otherwise None.
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
    """Compares two conditions trial by trial, so that the effects of a seed on both conditions cancel.

    Trials with the same seed are a pair, in any order. With d the n differences first - second:

    - numbers: the paired t test, t = mean(d) / (std(d) / sqrt(n)) with n - 1 degrees of freedom, and its interval. It
      tests the mean difference. (Wilcoxon's signed ranks test another quantity, and can miss a large improvement of few
      trials.) With fewer than about 20 pairs, t needs roughly normal differences. A bootstrap interval would be far too
      short: for 3 normal pairs it covers 73 % instead of 95 %. If all differences are equal, t does not exist, and the
      sign test is used: p = 2^(1 - n), or 1 if they are 0. Differences count as equal if the rounding of first and
      second explains them: max(d) - min(d) <= 2 eps max(|first| + |second|), with the eps of their dtype (1.2e-7 in
      float32). A common difference of this size counts as 0.
    - yes/no outcomes (bool arrays): McNemar's exact test; see `mcnemar_p_value`.

    Args:
      first: one number or one bool for each trial under the first condition.
      second: the same for the second condition.
      first_seeds: seeds of the trials under the first condition, each once.
      second_seeds: seeds of the trials under the second condition, the same set.
      confidence: coverage of the interval of the difference.
      resamples: number of resamples for the interval of outcomes, see `bootstrap_interval`.
      seed: seed of the resampling.

    Raises:
      ValueError: if the seeds of the conditions differ, repeat or do not match the number of trials, one condition has
        numbers and the other outcomes, a number is not finite or above 1e150 in size (its square would overflow), or
        there are fewer than 2 pairs.

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
    from scipy import stats

    pairs = _in_order_of_seeds(first, first_seeds, "first"), _in_order_of_seeds(second, second_seeds, "second")
    (x, x_seeds), (y, y_seeds) = pairs
    if different := set(x_seeds.tolist()) ^ set(y_seeds.tolist()):
        raise ValueError(
            f"expected the same seeds under both conditions, got {len(different)} that only one of them has "
            f"({min(different)} for instance); compare the seeds that both have"
        )
    yes_no = x.dtype == bool
    if yes_no != (y.dtype == bool):
        raise ValueError(f"expected numbers or outcomes (bool) under both conditions, got {x.dtype} and {y.dtype}")
    d = x.astype(np.float64) - y.astype(np.float64)
    if len(d) < 2:
        raise ValueError(f"expected at least 2 pairs, got {len(d)}")
    difference = float(d.mean())
    if yes_no:
        interval = bootstrap_interval(d, confidence=confidence, resamples=resamples, seed=seed)
        alone = int((x & ~y).sum()), int((y & ~x).sum())
        p_value, test = mcnemar_p_value(*alone), "McNemar's exact test"
        return PairedComparison(len(d), difference, interval, p_value, test, discordant=alone)
    confidence = check_confidence(confidence)
    rounding = 2 * max(_eps(first), _eps(second)) * float((abs(x) + abs(y)).max())
    if np.ptp(d) <= rounding:
        difference = difference if abs(difference) > rounding else 0.0
        p_value = 2.0 ** (1 - len(d)) if difference else 1.0
        return PairedComparison(len(d), difference, (difference, difference), p_value, "sign test")
    error = float(d.std(ddof=1) / np.sqrt(len(d)))
    half = float(stats.t.ppf((1 + confidence) / 2, len(d) - 1)) * error
    p_value = float(2 * stats.t.sf(abs(difference / error), len(d) - 1))
    return PairedComparison(len(d), difference, (difference - half, difference + half), p_value, "paired t test")


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Returns McNemar's exact two-sided p value for the numbers of discordant pairs.

    If the conditions do not differ, a pair with one yes has it under each condition with probability 1/2. With m =
    only_first + only_second, p = min(1, 2 P(Binomial(m, 1/2) <= min(only_first, only_second))). Pairs with equal
    outcomes do not matter.

    Args:
      only_first: number of pairs with yes only under the first condition.
      only_second: number of pairs with yes only under the second condition.

    Raises:
      ValueError: if a number is negative or not whole.

    Examples:
      >>> print(f"{mcnemar_p_value(150, 86):.3g}")
      3.72e-05
      >>> mcnemar_p_value(0, 0)
      1.0
    """
    from scipy import stats

    b, c = whole_number(only_first), whole_number(only_second)
    if b is None or c is None or min(b, c) < 0:
        raise ValueError(f"expected whole numbers of pairs >= 0, got {only_first} and {only_second}")
    return float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0


def _eps(trials: ArrayLike) -> float:
    """Returns the relative rounding error of this dtype; for whole numbers that of float64."""
    dtype = np.asarray(trials).dtype
    return float(np.spacing(np.ones((), dtype if dtype.kind in "fV" and dtype.itemsize < 8 else np.float64)))


def _in_order_of_seeds(trials: ArrayLike, seeds: Iterable[int], name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        x, labels = np.asarray(trials), np.asarray(list(seeds))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected one value and one seed for each trial under the {name} condition, got {trials!r:.80} and "
            f"{seeds!r:.80}"
        ) from error
    if x.dtype != bool:
        x = finite_numbers(trials, f"numbers under the {name} condition")
        if (abs(x) > _LARGEST).any():
            raise ValueError(
                f"expected numbers up to {_LARGEST} under the {name} condition, got {abs(x).max()}; rescale them"
            )
    if x.ndim != 1 or labels.shape != x.shape or labels.dtype.kind not in "iuf":
        raise ValueError(
            f"expected one value and one seed for each trial under the {name} condition, got shapes {x.shape} and "
            f"{labels.shape} of {labels.dtype}"
        )
    unique, order, counts = np.unique(labels, return_index=True, return_counts=True)
    if len(unique) < len(labels):
        raise ValueError(
            f"expected each seed once under the {name} condition, got {unique[counts > 1][0]} "
            f"{counts[counts > 1][0]} times"
        )
    return x[order], unique
