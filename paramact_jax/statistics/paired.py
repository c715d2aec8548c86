"""Two conditions tried on the same seeds."""

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
      equal t says nothing, and the sign test is used: p = 2^(1 - n), or 1 if they are 0. Equal are differences that
      the rounding of first and second can explain: max(d) - min(d) <= 2 eps max(|first| + |second|), eps that of their
      dtype (1.2e-7 in float32). A common difference that small is 0.
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
        numbers and the other outcomes, a number is not finite, there are fewer than 2 pairs, or a number is beyond
        1e150, whose square could not be computed.

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
    """McNemar's exact two-sided p value for the numbers of discordant pairs.

    If the conditions do not differ, a pair with one yes has it under either with probability 1/2: with m = only_first
    + only_second, p = min(1, 2 P(Binomial(m, 1/2) <= min(only_first, only_second))). Pairs that agree do not matter.

    Args:
      only_first: pairs with yes under the first condition alone.
      only_second: pairs with yes under the second alone.

    Raises:
      ValueError: if a number is negative, or not whole.

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
    """What numbers of this dtype are rounded by, relative to their size; whole numbers as in float64."""
    dtype = np.asarray(trials).dtype
    return float(np.spacing(np.ones((), dtype if dtype.kind in "fV" and dtype.itemsize < 8 else np.float64)))


def _in_order_of_seeds(trials: ArrayLike, seeds: Iterable[int], name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        x, labels = np.asarray(trials), np.asarray(list(seeds))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected one value and one seed a trial under the {name} condition, got {trials!r:.80} and {seeds!r:.80}"
        ) from error
    if x.dtype != bool:
        x = finite_numbers(trials, f"numbers under the {name} condition")
        if (abs(x) > _LARGEST).any():
            raise ValueError(
                f"expected numbers up to {_LARGEST} under the {name} condition, got {abs(x).max()}; rescale"
            )
    if x.ndim != 1 or labels.shape != x.shape or labels.dtype.kind not in "iuf":
        raise ValueError(
            f"expected one value and one seed a trial under the {name} condition, got shapes {x.shape} and "
            f"{labels.shape} of {labels.dtype}"
        )
    unique, order, counts = np.unique(labels, return_index=True, return_counts=True)
    if len(unique) < len(labels):
        raise ValueError(
            f"expected each seed once under the {name} condition, got {unique[counts > 1][0]} "
            f"{counts[counts > 1][0]} times"
        )
    return x[order], unique
