"""Statistics of one number per seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paramact_jax.statistics import PairedComparison, holm, paired_comparison

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Sample:
    """A summary of one value per seed. Values that are not finite are counted, and left out of all the rest.

    Attributes:
      seeds: the number of finite values.
      non_finite: the number of other values.
      mean: NaN if there is no finite value.
      deviation: standard deviation s (n - 1 in the denominator); NaN with fewer than 2 seeds.
      smallest, largest: the smallest and the largest finite value; NaN if there is none.
    """

    seeds: int
    non_finite: int
    mean: float
    deviation: float
    smallest: float
    largest: float

    def interval(self, *, share: bool = False) -> tuple[float, float] | None:
        """Returns the 95 % interval of the mean, mean +- t s / sqrt(n) with n - 1 degrees of freedom; None for n < 2.

        Args:
          share: whether the values are shares. Then the interval is cut off at 0 and 1.

        Examples:
          >>> low, high = sample([0.0, 0.1]).interval(share=True)
          >>> print(f"{low:.3f} {high:.3f}")
          0.000 0.685
        """
        if self.seeds < 2:
            return None
        low, high = self._around(1 / self.seeds)
        return (max(low, 0.0), min(high, 1.0)) if share else (low, high)

    def prediction(self) -> tuple[float, float] | None:
        """Returns the 95 % prediction interval of one more run, mean +- t s sqrt(1 + 1/n); None for n < 2.

        Examples:
          >>> low, high = sample([1.0, 2.0, 3.0]).prediction()
          >>> print(f"{low:.3f} {high:.3f}")
          -2.968 6.968
        """
        return self._around(1 + 1 / self.seeds) if self.seeds > 1 else None

    def _around(self, variance: float) -> tuple[float, float]:
        from scipy import stats

        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.seeds - 1)) * self.deviation * math.sqrt(variance)
        return self.mean - half, self.mean + half


def sample(values: ArrayLike) -> Sample:
    """Sums up one value per seed.

    Examples:
      >>> sample([1.0, 2.0, float("nan")])
      Sample(seeds=2, non_finite=1, mean=1.5, deviation=0.7071067811865476, smallest=1.0, largest=2.0)
    """
    x = np.asarray(values, np.float64)
    good = x[np.isfinite(x)]
    return Sample(
        seeds=len(good),
        non_finite=len(x) - len(good),
        mean=float(good.mean()) if len(good) else math.nan,
        deviation=float(good.std(ddof=1)) if len(good) > 1 else math.nan,
        smallest=float(good.min()) if len(good) else math.nan,
        largest=float(good.max()) if len(good) else math.nan,
    )


def mean_and_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean over the seeds and its 95 % t interval at every step, of the values that are finite.

    Args:
      values: (seeds, steps).

    Returns:
      Mean, lower and upper end, each (steps,): NaN where fewer than 1 seed, or 2 for the ends, has a finite value.
    """
    from scipy import stats

    finite = np.isfinite(values)
    n = finite.sum(axis=0).astype(np.float64)
    enough, several = np.where(n > 0, n, np.nan), np.where(n > 1, n, np.nan)
    mean = np.where(finite, values, 0).sum(axis=0) / enough
    squares = np.where(finite, np.where(finite, values, 0) - mean, 0) ** 2
    half = stats.t.ppf((1 + CONFIDENCE) / 2, several - 1) * np.sqrt(squares.sum(axis=0) / (several - 1) / several)
    return mean, mean - half, mean + half


def inside(value: float | None, interval: tuple[float, float] | None) -> bool | None:
    """Returns whether the value lies within the interval, ends included; None if one of the two is None."""
    return None if value is None or interval is None else bool(interval[0] <= value <= interval[1])


def first_below(steps: np.ndarray, losses: np.ndarray, threshold: float) -> float:
    """Returns the step at which a loss first comes down to a threshold; NaN if it never does.

    Between two scores the logarithm of the loss is taken as linear in the step. Where the score before is not finite,
    the step of the score after is returned.

    Args:
      steps: the steps of the scores, in rising order.
      losses: the loss at each step.
      threshold: > 0.
    """
    below = np.flatnonzero(losses <= threshold)
    if not len(below):
        return math.nan
    i = int(below[0])
    if i == 0 or not np.isfinite(losses[i - 1]) or losses[i] <= 0:
        return float(steps[i])
    before, after = math.log(losses[i - 1]), math.log(losses[i])
    return float(steps[i - 1] + (before - math.log(threshold)) / (before - after) * (steps[i] - steps[i - 1]))


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """How many values lie in their intervals, and how many would if they were shuffled.

    Attributes:
      inside: how many do.
      of: the number of values.
      mean: how many would after shuffling, on average over all orders.
      as_many: the share of random orders in which at least `inside` would.
    """

    inside: int
    of: int
    mean: float
    as_many: float

    def in_words(self) -> str:
        """Says what the number within tells."""
        told = "which says something" if self.as_many <= 0.2 else "so that this tells nothing"
        return (
            f"{self.inside} of {self.of} lie within; of the same values shuffled {self.mean:.1f} on average, and as "
            f"many or more in {self.as_many:.0%} of all orders, {told}"
        )


def shuffled(values: Sequence[float], intervals: Sequence[tuple[float, float]], *, orders: int = 20_000) -> Shuffled:
    """Compares values in their intervals with the same values in any order: the power of the test "within".

    Args:
      values: one for each interval.
      intervals: low and high ends.
      orders: the number of random orders, for `as_many`.

    Examples:
      >>> shuffled([1.0, 2.0, 3.0], [(0.5, 3.5)] * 3)
      Shuffled(inside=3, of=3, mean=3.0, as_many=1.0)
      >>> print(f"{shuffled([1.0, 2.0, 3.0], [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5)]).as_many:.2f}")
      0.17
    """
    low, high = np.array(intervals).T
    fits = (low[:, None] <= values) & (np.asarray(values) <= high[:, None])  # interval, value
    drawn = np.random.default_rng(0).permuted(np.tile(np.arange(len(fits)), (orders, 1)), axis=1)
    counts = fits[np.arange(len(fits)), drawn].sum(axis=1)
    inside = int(np.trace(fits))
    return Shuffled(inside, len(fits), float(fits.sum() / len(fits)), float((counts >= inside).mean()))


def paired(first: np.ndarray, second: np.ndarray, seeds: np.ndarray) -> PairedComparison | None:
    """Compares the first minus the second at equal seeds where both are finite; None for fewer than 2 such seeds."""
    good = np.isfinite(first) & np.isfinite(second)
    return paired_comparison(first[good], second[good], seeds[good], seeds[good]) if good.sum() > 1 else None


def holm_of(compared: Iterable[PairedComparison | None]) -> list[float | None]:
    """Returns p values with Holm's correction over all comparisons; None where there is no comparison."""
    found = list(compared)
    corrected = iter(holm([one.p_value for one in found if one is not None]))
    return [None if one is None else next(corrected) for one in found]


def plain(value: Any) -> Any:
    """Converts for JSON: dataclasses to dicts, NumPy's values to Python's, numbers that are not finite to None."""
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
