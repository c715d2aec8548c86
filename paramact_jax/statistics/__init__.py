"""Results of many trials with their uncertainty: intervals, tests, and the number of trials that a question needs.

It uses only NumPy and SciPy and works for any measured quantity.
"""

from paramact_jax.statistics.bootstrap import bootstrap_interval
from paramact_jax.statistics.counts import (
    holm,
    shares_not_told_apart,
    two_proportion_p_value,
    wilson_interval,
)
from paramact_jax.statistics.paired import PairedComparison, mcnemar_p_value, paired_comparison
from paramact_jax.statistics.sample_size import seeds_to_tell, seeds_to_tell_means

__all__ = [
    "PairedComparison",
    "bootstrap_interval",
    "holm",
    "mcnemar_p_value",
    "paired_comparison",
    "seeds_to_tell",
    "seeds_to_tell_means",
    "shares_not_told_apart",
    "two_proportion_p_value",
    "wilson_interval",
]
