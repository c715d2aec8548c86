"""How well the counts of a cell agree with the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paramact_jax.papers import ConvergenceRow, ko2021
from paramact_jax.statistics import holm, predictive_log_likelihood, two_proportion_p_value

LEVEL = 0.05


def log_likelihoods(
    counts: Mapping[str, tuple[int, int]], rows: Sequence[ConvergenceRow] = ko2021.TABLE_5
) -> dict[str, float]:
    """Log probability of every published count, predicted from a cell's own count of the same activation.

    Rows are taken to be independent given the cell: their sum is the cell's log likelihood. (Our rows share their
    seeds, and so some of their sampling error; that is neglected.)

    Args:
      counts: (converged, trials) of every activation.
      rows: the published rows.
    """
    return {
        row.activation: predictive_log_likelihood(*counts[row.activation], row.converged, row.trials) for row in rows
    }


def rows_matched(counts: Mapping[str, tuple[int, int]]) -> int:
    """Number of rows of [P, Table 5] that two-proportion tests with Holm's correction do not reject at 5 %."""
    p_values = [two_proportion_p_value(*counts[row.activation], row.converged, row.trials) for row in ko2021.TABLE_5]
    return sum(p > LEVEL for p in holm(p_values))


def posterior(log_likelihood: np.ndarray) -> np.ndarray:
    """Probability of each cell, if one of them is right and all were equally likely before."""
    share = np.exp(log_likelihood - log_likelihood.max())
    return share / share.sum()
