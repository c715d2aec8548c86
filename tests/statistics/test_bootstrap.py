import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from paramact_jax.statistics import bootstrap_interval

numbers = hnp.arrays(np.float64, st.integers(2, 12), elements=st.floats(-100, 100))


def median_of(x):
    return np.sort(x)[len(x) // 2]


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std, median_of])
def test_it_is_scipys_bca_with_the_seed(statistic):
    x = np.random.default_rng(1).gamma(2.0, size=35)
    ours = bootstrap_interval(x, statistic, 0.9, resamples=500, seed=7)
    options = {"confidence_level": 0.9, "n_resamples": 500, "method": "BCa"}
    theirs = stats.bootstrap((x,), statistic, random_state=np.random.default_rng(7), **options).confidence_interval
    assert ours == pytest.approx(tuple(theirs), rel=1e-12)


def test_bca_of_a_known_sample():
    """Efron and Tibshirani, An Introduction to the Bootstrap, 1993, table 14.2: variance of 26 spatial test data A.

    Their 90 % BCa interval from 2,000 resamples is (115.8, 259.6), the percentile interval (100.8, 233.9).
    """
    spatial = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
    assert bootstrap_interval(spatial, np.var, 0.9) == pytest.approx((115.8, 259.6), rel=0.03)


def test_coverage_of_a_skewed_mean_is_near_the_confidence():
    rng = np.random.default_rng(3)
    samples = rng.exponential(size=(60, 400))
    low, high = bootstrap_interval(samples, confidence=0.8, resamples=1_000)
    assert low.shape == (400,)
    covered = int(((low <= 1) & (high >= 1)).sum())
    assert stats.binomtest(covered, 400, 0.78).pvalue > 0.001  # a little under 0.8 with 60 skewed values


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-300])
def test_equal_values_give_their_statistic_twice(value):
    assert bootstrap_interval([value] * 5) == (value, value)
    assert bootstrap_interval([value] * 5, np.std) == (0.0, 0.0)


def test_a_degenerate_column_does_not_touch_the_others():
    x = np.random.default_rng(0).normal(size=(20, 2, 3))
    x[:, 1, 2] = 4.0
    low, high = bootstrap_interval(x, resamples=300)
    assert low.shape == high.shape == (2, 3)
    assert low[1, 2] == high[1, 2] == 4.0
    mixed = x.reshape(20, 6)[:, :5]
    for column in range(5):
        assert (low.ravel()[column], high.ravel()[column]) == pytest.approx(
            bootstrap_interval(mixed[:, column], resamples=300)
        )


@given(numbers)
def test_the_interval_lies_within_the_values(x):
    low, high = bootstrap_interval(x, resamples=60)
    assert low <= high
    assert x.min() - 1e-9 <= low
    assert high <= x.max() + 1e-9


@given(
    hnp.arrays(np.float64, st.integers(2, 12), elements=st.integers(-100, 100)),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(-5, 5),
)
def test_the_interval_moves_with_the_values(x, scale, shift):
    """Of numbers whose sums are exact: elsewhere rounding decides which of equal resamples is the larger one."""
    low, high = bootstrap_interval(x, resamples=60)
    moved = bootstrap_interval(scale * x + shift, resamples=60)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), rel=0.02, abs=0.02 * np.ptp(x) + 1e-9)


def test_whole_numbers_of_any_kind_are_taken_as_such():
    x = np.random.default_rng(5).normal(size=10)
    expected = bootstrap_interval(x, resamples=100, seed=3)
    assert bootstrap_interval(x, resamples=100.0, seed=np.uint8(3)) == expected
    whole = np.array([0, 100, 200, 250], np.uint8)
    assert bootstrap_interval(whole, resamples=100) == bootstrap_interval(whole.astype(float), resamples=100)


def test_seed_decides_and_confidence_widens():
    x = np.random.default_rng(5).normal(size=50)
    assert bootstrap_interval(x, seed=1) == bootstrap_interval(x, seed=1)
    assert bootstrap_interval(x, seed=1) != bootstrap_interval(x, seed=2)
    widths = [np.diff(bootstrap_interval(x, confidence=c))[0] for c in (0.5, 0.9, 0.99)]
    assert widths == sorted(widths)


def test_large_samples_do_not_exhaust_the_memory():
    """Takes 6,000 values: all resamples at once would be 240 MB, all jackknife samples 290 MB."""
    x = np.random.default_rng(0).normal(size=6_000)
    tracemalloc.start()
    low, high = bootstrap_interval(x, resamples=5_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(6_000), rel=0.2)
    assert most < 150e6


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (([1.0, math.nan, math.inf],), {}, "expected finite values, got 2 of 3 that are not"),
        (([1.0],), {}, "at least 2 observations"),
        (([],), {}, "at least 2 observations"),
        ((np.zeros((5, 0)),), {}, r"at least one quantity, got an array of shape \(5, 0\)"),
        ((np.zeros((0, 5)),), {}, "at least 2 observations"),
        (([1, 2j],), {}, "values to be real numbers"),
        (([1, 2], np.mean, "0.9"), {}, "confidence within"),
        (([1, 2],), {"resamples": 10.5}, "resamples >= 1, a whole number, got 10.5"),
        (([1, 2],), {"seed": -1}, "seed >= 0"),
        ((3.0,), {}, "at least 2 observations"),
        ((["a", "b"],), {}, "values to be real numbers"),
        (([[1, 2], [3]],), {}, "rows of equal length"),
        (([1, 2], np.mean, 1.0), {}, "confidence within"),
        (([1, 2], np.mean, math.nan), {}, "confidence within"),
        (([1, 2],), {"resamples": 0}, "resamples >= 1"),
        (([1, 2, 3], lambda x: x.mean() / np.ptp(x)), {}, "finite for every resample"),
    ],
)
def test_refused_in_one_line(args, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        bootstrap_interval(*args, **options)
    assert "\n" not in str(caught.value)
