"""Whether two orders agree."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_FEWEST = 3
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
      rho: within -1..1, with mean ranks where values tie; NaN if all of one side tie.
      p_value: two-sided: the share of orders, this one included, whose |rho| is as large; NaN with rho.
      pairs: number of values on each side.
    """

    rho: float
    p_value: float
    pairs: int


def rank_correlation(
    ours: ArrayLike, published: ArrayLike, *, permutations: int = 99_999, seed: int = 0
) -> RankCorrelation | None:
    """Spearman's correlation of two lists, with the p value of random permutations.

    Pairs with a value that is not finite are left out.

    Args:
      ours: one value per row.
      published: as many.
      permutations: number of random orders.
      seed: of these.

    Returns:
      None for fewer than 3 pairs.

    Examples:
      >>> rank_correlation([1, 2, 3, 4, 5], [10, 20, 30, 40, 50]).rho
      1.0
    """
    pairs = np.array([ours, published], np.float64)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < _FEWEST:
        return None
    x, y = (stats.rankdata(side) - (pairs.shape[1] + 1) / 2 for side in pairs)
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    if scale == 0:
        return RankCorrelation(np.nan, np.nan, pairs.shape[1])
    rho = float(x @ y) / scale
    shuffled = np.random.default_rng(seed).permuted(np.tile(x, (permutations, 1)), axis=1) @ y / scale
    as_large = int((np.abs(shuffled) >= abs(rho) - _ROUNDING).sum())
    return RankCorrelation(rho, (1 + as_large) / (1 + permutations), pairs.shape[1])
