import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paramact_jax.statistics import mcnemar_p_value, paired_comparison


def test_students_sleep_data():
    """Student, Biometrika 6, 1908: hours of sleep gained by ten patients; t = -4.0621, p = 0.002833."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    result = paired_comparison(first, second, range(10), range(10))
    assert result.test == "paired t test"
    assert result.p_value == pytest.approx(0.002833, abs=5e-7)
    assert result.difference == pytest.approx(-1.58)
    assert result.interval == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)  # as R prints it
    assert result.interval[0] < -1.58 < result.interval[1] < 0
    assert (result.pairs, result.discordant) == (10, None)


def test_mcnemar_of_a_known_table():
    """Agresti, Categorical Data Analysis, table 10.1: 794, 150 / 86, 570; the exact p value is 3.716e-05."""
    first = np.repeat([True, True, False, False], [794, 150, 86, 570])
    second = np.repeat([True, False, True, False], [794, 150, 86, 570])
    result = paired_comparison(first, second, range(1600), range(1600), resamples=500)
    assert result.discordant == (150, 86)
    assert result.test == "McNemar's exact test"
    assert result.p_value == pytest.approx(3.716e-05, abs=5e-9)
    assert result.difference == pytest.approx(64 / 1600)
    wald = 1.96 * math.sqrt(236 - 64**2 / 1600) / 1600
    assert result.interval == pytest.approx((0.04 - wald, 0.04 + wald), abs=0.004)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_equals_the_sum_of_binomial_coefficients(b, c):
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar_p_value(b, c) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar_p_value(b, c) == mcnemar_p_value(c, b)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_trials_are_paired_by_seed_in_whatever_order(outcomes, random):
    first, second = np.array(outcomes).T
    seeds = random.sample(range(10**6), len(outcomes))
    order = random.sample(range(len(outcomes)), len(outcomes))
    straight = paired_comparison(first, second, seeds, seeds, resamples=50)
    shuffled = paired_comparison(first, second[order], seeds, [seeds[i] for i in order], resamples=50)
    assert shuffled == straight
    swapped = paired_comparison(second, first, seeds, seeds, resamples=50)
    assert swapped.discordant == straight.discordant[::-1]
    assert swapped.p_value == straight.p_value
    assert swapped.difference == -straight.difference


def test_pairing_sees_what_two_samples_do_not():
    """A small gain on every seed under a large spread of seeds."""
    rng = np.random.default_rng(0)
    seed_effect = rng.normal(0, 10, 40)
    first, second = seed_effect + rng.normal(0.5, 0.3, 40), seed_effect
    result = paired_comparison(first, second, range(40), range(40))
    assert result.p_value < 1e-6
    assert stats.ttest_ind(first, second).pvalue > 0.5
    assert result.interval[0] > 0


def test_equal_differences():
    same = paired_comparison([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], range(3), range(3))
    assert (same.difference, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)
    one_more = paired_comparison([2, 3, 4, 5], [1, 2, 3, 4], range(4), range(4))
    assert (one_more.difference, one_more.interval) == (1.0, (1.0, 1.0))
    assert (one_more.p_value, one_more.test) == (0.125, "sign test")
    agree = paired_comparison([True, False], [True, False], [0, 1], [0, 1])
    assert (agree.p_value, agree.discordant, agree.interval) == (1.0, (0, 0), (0.0, 0.0))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_differences_that_rounding_makes_unequal_are_equal(dtype):
    """In float64 .1 - .2 and .3 - .4 differ by 3e-17, of which a t test would make p = 3.5e-32."""
    first, second = np.array([0.1, 0.2, 0.3], dtype), np.array([0.2, 0.3, 0.4], dtype)
    down = paired_comparison(first, second, range(3), range(3))
    assert (down.p_value, down.test) == (0.25, "sign test")
    assert down.difference == pytest.approx(-0.1, rel=0.01)
    assert down.interval == (down.difference, down.difference)
    thirds = np.array([1, 2, 3], dtype) / np.array(3, dtype)
    none = paired_comparison(thirds, thirds + np.array([0, 0, np.spacing(np.ones((), dtype))], dtype), *2 * [range(3)])
    assert (none.difference, none.interval, none.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_differences_beyond_rounding_are_not_equal():
    first = np.array([0.1, 0.2, 0.3])
    result = paired_comparison(first, first + np.array([0.1, 0.1, 0.1 + 1e-14]), range(3), range(3))
    assert result.test == "paired t test"
    assert 0 < result.p_value < 1e-20
    whole = paired_comparison([2**40, 2**40 + 1, 5], [2**40 + 1, 2**40 + 2, 7], range(3), range(3))
    assert whole.test == "paired t test"
    small = np.array([1e-30, 2e-30, 4e-30])
    assert paired_comparison(small, 2 * small, range(3), range(3)).p_value == pytest.approx(0.1181, abs=1e-4)


def test_small_whole_numbers_do_not_overflow():
    result = paired_comparison(np.array([0, 1, 2], np.uint8), np.array([200, 201, 203], np.uint8), range(3), range(3))
    assert result.difference == pytest.approx(-601 / 3)
    assert mcnemar_p_value(np.uint8(200), np.uint8(100)) == mcnemar_p_value(200.0, 100) == mcnemar_p_value(200, 100)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([1, 2, 3], [1, 2, 3], 3, 3), "one value and one seed for each trial under the first condition"),
        (([1, 2], [1, 2], "ab", "ab"), "one value and one seed for each trial under the first condition"),
        (([1, 1e200], [1, 2], [0, 1], [0, 1]), "numbers up to 1e\\+150 under the first condition, got 1e\\+200"),
        (([1, 2j], [1, 2], [0, 1], [0, 1]), "to be real numbers"),
        (([1, 2, 3], [1, 2, 3], [0, 1, 2], [0, 1, 3]), r"same seeds .* got 2 that only one of them has \(2 for"),
        (([1, 2, 3], [1, 2], [0, 1, 2], [0, 1]), "same seeds"),
        (
            ([1, 2, 3], [1, 2, 3], [0, 1, 2], [0, 1]),
            r"one seed for each trial under the second condition, got shapes \(3,\)",
        ),
        (([1, 2, 3], [1, 2, 3], [0, 1, 1], [0, 1, 1]), "each seed once under the first condition, got 1 2 times"),
        (([1, math.nan], [1, 2], [0, 1], [0, 1]), "expected finite numbers under the first condition, got 1 of 2"),
        (([True, False], [1.0, 0.0], [0, 1], [0, 1]), "numbers or outcomes"),
        (([1], [2], [0], [0]), "at least 2 pairs"),
        (([[1, 2]], [[1, 2]], [0], [0]), "one value and one seed"),
        ((["a", "b"], [1, 2], [0, 1], [0, 1]), "to be real numbers"),
    ],
)
def test_refused_in_one_line(args, message):
    with pytest.raises(ValueError, match=message) as caught:
        paired_comparison(*args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("counts", [(-1, 3), (3, 2.5), (math.nan, 3), (np.int8(-1), 3), ("3", 3), (None, 3)])
def test_what_are_no_numbers_of_pairs_is_refused(counts):
    with pytest.raises(ValueError, match=f"whole numbers of pairs >= 0, got {counts[0]} and {counts[1]}"):
        mcnemar_p_value(*counts)
