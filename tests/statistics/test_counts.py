import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paramact_jax.statistics import (
    holm,
    shares_not_told_apart,
    two_proportion_p_value,
    wilson_interval,
)

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def wilson(k, n, z):
    p = k / n
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return tuple((p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1))


@pytest.mark.parametrize(("k", "n"), [(744, 1000), (76, 100), (29, 1000), (1, 3), (0, 1000), (1000, 1000), (0, 1)])
def test_wilson_equals_its_formula(k, n):
    assert wilson_interval(k, n) == pytest.approx(wilson(k, n, 1.959963984540054), abs=1e-12)
    assert wilson_interval(k, n, 0.99) == pytest.approx(wilson(k, n, 2.5758293035489004), abs=1e-12)


def test_wilson_of_a_known_example():
    """Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263 and 15 of 148."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_lies_within_0_and_1(count):
    k, n = count
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert (low == 0) == (k == 0)
    assert (high == 1) == (k == n)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((-1, 10), "got -1 of 10"),
        ((11, 10), "got 11 of 10"),
        ((0, 0), "at least 1 trial"),
        ((2.5, 10), "expected whole numbers, .* got 2.5 of 10"),
        ((3, math.inf), "whole numbers"),
        (("3", 10), "whole numbers"),
        ((None, 10), "whole numbers"),
        (([3], 10), "whole numbers"),
        ((1, 10, "0.95"), "confidence within"),
        ((math.nan, 10), "count within"),
        ((1, 10, 0.0), "confidence within"),
        ((1, 10, 1.0), "confidence within"),
        ((1, 10, math.nan), "confidence within"),
    ],
)
def test_wilson_refuses(args, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(*args)


@pytest.mark.parametrize("kind", [float, np.uint8, np.int8, np.float32, np.array])
def test_counts_of_any_kind_of_number_are_the_same(kind):
    """In uint8, 120 + 120 of 127 + 127 trials would be 240 of 254, and 10 times 127 fewer than 256."""
    assert wilson_interval(kind(3), kind(10)) == wilson_interval(3, 10)
    for counts in ((120, 127, 100, 127), (1, 100, 2, 90)):
        kinds = [kind(x) for x in counts]
        assert two_proportion_p_value(*kinds) == two_proportion_p_value(*counts)


@pytest.mark.parametrize("counts", [(744, 1000, 765, 1000), (76, 100, 744, 1000), (5, 10, 5, 10), (14, 25, 1, 30)])
def test_two_proportions_equal_the_formula_and_the_chi_square_test(counts):
    k1, n1, k2, n2 = counts
    p = (k1 + k2) / (n1 + n2)
    z = (k1 / n1 - k2 / n2) / math.sqrt(p * (1 - p) * (1 / n1 + 1 / n2))
    assert two_proportion_p_value(*counts) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-10)
    table = [[k1, n1 - k1], [k2, n2 - k2]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert two_proportion_p_value(*counts) == pytest.approx(expected, rel=1e-10)


def test_two_proportions_of_small_counts_are_compared_exactly():
    # Hypergeometric, by hand: of the 70 ways to place 4 successes among 8, 1 + 16 + 16 + 1 are as extreme.
    assert two_proportion_p_value(1, 4, 3, 4) == pytest.approx(34 / 70)
    # Expected counts of 4.5 on each side: exact. One success more makes them 5: the z test.
    assert two_proportion_p_value(1, 1000, 8, 1000) == pytest.approx(stats.fisher_exact([[1, 999], [8, 992]]).pvalue)
    chi_square = stats.chi2_contingency([[1, 999], [9, 991]], correction=False).pvalue
    assert two_proportion_p_value(1, 1000, 9, 1000) == pytest.approx(chi_square)


@pytest.mark.parametrize("counts", [(0, 1000, 0, 50), (1000, 1000, 50, 50), (300, 400, 300, 400)])
def test_equal_proportions_have_p_value_1(counts):
    assert two_proportion_p_value(*counts) == 1.0


@given(st.integers(0, 60), st.integers(0, 90))
def test_two_proportions_are_symmetric_in_the_groups_and_in_success_and_failure(k1, k2):
    p = two_proportion_p_value(k1, 60, k2, 90)
    assert 0 <= p <= 1
    assert p == pytest.approx(two_proportion_p_value(k2, 90, k1, 60))
    assert p == pytest.approx(two_proportion_p_value(60 - k1, 60, 90 - k2, 90))


@pytest.mark.parametrize("counts", [(-1, 10, 1, 10), (1, 10, 11, 10), (0, 0, 1, 10), (1, 10, 0, 0), (1, 10, 0.5, 1)])
def test_two_proportions_refuse(counts):
    with pytest.raises(ValueError, match=r"count within 0\.\.trials"):
        two_proportion_p_value(*counts)


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.02, 0.5], [0.06, 0.06, 0.5]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_by_hand(raw, adjusted):
    assert holm(raw) == pytest.approx(adjusted)


@given(p_values, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_raises_p_values_and_ignores_the_order_given(raw, random):
    adjusted = holm(raw)
    order = np.argsort(raw, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert min(adjusted) == min(1, len(raw) * min(raw))  # the smallest pays for all comparisons
    assert all(p <= q <= 1 for p, q in zip(raw, adjusted, strict=True))
    shuffle = random.sample(range(len(raw)), len(raw))
    assert holm([raw[i] for i in shuffle]) == [adjusted[i] for i in shuffle]


@pytest.mark.parametrize("wrong", [[0.5, -0.1], [1.1], [math.nan], 0.5, [[0.5, 0.1]], [[0.5], [0.1, 0.2]], ["a"], None])
def test_holm_refuses(wrong):
    with pytest.raises(ValueError, match="a list of p values within") as caught:
        holm(wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("successes", "trials", "own"), [(744, 1000, 1000), (8, 1000, 1000), (0, 1000, 500), (60, 100, 100)]
)
def test_shares_beyond_the_bounds_are_rejected_with_the_power(successes, trials, own):
    """Against the rejections of 4,000 drawn counts."""
    low, high = shares_not_told_apart(successes, trials, own, level=0.05 / 7)
    assert low <= successes / trials <= high
    generator = np.random.default_rng(0)

    def rejected(share):
        drawn = generator.binomial(own, share, 4_000)
        told = {k: two_proportion_p_value(k, own, successes, trials) <= 0.05 / 7 for k in set(drawn.tolist())}
        return np.mean([told[k] for k in drawn.tolist()])

    for edge, outwards in ((low, -0.01), (high, 0.01)):
        if 0 < edge < 1:
            assert rejected(edge) == pytest.approx(0.8, abs=0.03)
            assert rejected(np.clip(edge + outwards, 0, 1)) > rejected(edge) > rejected(edge - outwards / 4)
    assert (low == 0) == (successes == 0 or rejected(0.0) < 0.8)


def test_more_trials_leave_fewer_shares():
    few, many = (shares_not_told_apart(744, 1000, own) for own in (100, 4_000))
    assert few[0] < many[0] < 0.744 < many[1] < few[1]
    assert shares_not_told_apart(1, 10, 10)[0] == 0


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"power": 1.0}, {"level": 0.9}])
def test_a_level_and_a_power_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match="expected 0 < level < power < 1"):
        shares_not_told_apart(1, 10, 10, **wrong)
