"""Samples compared in pairs on equal seeds: the same numbers and verdicts in every study."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from experiments.study.samples import Sample, holm_of, paired, sample
from paramact_jax.statistics import PairedComparison, wilson_interval

SIGNIFICANCE = 0.05
"""The largest p value, with Holm's correction, at which two samples are told apart."""
NOT_TOLD_APART = "not told apart"


Told = tuple[PairedComparison | None, float | None, str]
"""Which of two samples is better: the comparison, first minus second, None with fewer than 2 seeds that are finite in
both; its p value with Holm's correction over all that are compared together; and the verdict, a word."""


def compared(samples: Iterable[tuple[np.ndarray, np.ndarray]], seeds: np.ndarray, words: tuple[str, str]) -> list[Told]:
    """Compares the first sample of each pair with the second.

    Args:
      samples: one value per seed: losses, of which the lower is better, or bools, of which True is better.
      seeds: of the values.
      words: the verdict where the first sample is better, and where it is worse; else it is `NOT_TOLD_APART`.

    Examples:
      >>> some, none = np.arange(20) > 1, np.arange(20) > 20
      >>> pairs = [(some, none), (none, some), (some, some)]
      >>> [verdict for _, _, verdict in compared(pairs, np.arange(20), ("better", "worse"))]
      ['better', 'worse', 'not told apart']
    """
    pairs = list(samples)
    found = [paired(first, second, seeds) for first, second in pairs]
    told: list[Told] = []
    for (first, _), one, p_value in zip(pairs, found, holm_of(found), strict=True):
        verdict = NOT_TOLD_APART
        if one is not None and p_value is not None and p_value <= SIGNIFICANCE:
            verdict = words[0] if (one.difference > 0) == (first.dtype == bool) else words[1]
        told.append((one, p_value, verdict))
    return told


def numbers_of(found: PairedComparison | None) -> tuple[int, float | None, tuple[float, float] | None, float | None]:
    """Returns what a table shows of a comparison: its number of pairs, the difference, its interval and p value."""
    return (0, None, None, None) if found is None else (found.pairs, found.difference, found.interval, found.p_value)


def level(values: np.ndarray) -> tuple[Sample, tuple[float, float] | None]:
    """Sums up one value per seed, with the 95 % interval of its mean: of bools Wilson's, of numbers the t interval.

    Examples:
      >>> level(np.array([True, False]))[0].mean, level(np.array([1.0]))[1]
      (0.5, None)
    """
    found = sample(values)
    return found, wilson_interval(int(values.sum()), len(values)) if values.dtype == bool else found.interval()


def above(interval: tuple[float, float], value: float) -> bool | None:
    """Tells whether an interval lies above a value (True) or below it (False); None where the value lies within."""
    return True if interval[0] > value else False if interval[1] < value else None
