import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paramact_jax.statistics import seeds_to_tell, seeds_to_tell_means, two_proportion_p_value
from paramact_jax.statistics.sample_size import power_to_tell


def test_proportions_of_known_examples():
    """R's manual of power.prop.test: p1 = .50, p2 = .75 with power .90 need n = 76.7. Cohen 1988, table 6.4.1."""
    assert seeds_to_tell(0.5, 0.75, power=0.9) == 77
    assert seeds_to_tell(0.5, 0.6) == 388
    assert abs(seeds_to_tell(0.2, 0.3) - 392 * (0.2 / 0.232) ** 2) < 6  # h = 0.232; h = 0.2 needs 392


@pytest.mark.parametrize(
    ("p1", "p2", "power"),
    [(0.5, 0.6, 0.8), (0.1, 0.2, 0.8), (0.7, 0.9, 0.9), (0.3, 0.45, 0.6), (0.02, 0.05, 0.8), (0.628, 0.7, 0.8)],
)
def test_the_exact_power_is_that_asked_for(p1, p2, power):
    """The exact sum over all pairs of counts, with the z test written out here."""
    n = seeds_to_tell(p1, p2, power)

    def exact(n):
        k = np.arange(n + 1)
        pooled = (k[:, None] + k[None, :]) / (2 * n)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (k[:, None] - k[None, :]) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
        mass = stats.binom.pmf(k, n, p1)[:, None] * stats.binom.pmf(k, n, p2)[None, :]
        return mass[np.abs(z) >= stats.norm.isf(0.025)].sum()

    assert exact(n) == pytest.approx(power, abs=0.025)
    assert exact(n * 3 // 4) < power - 0.04


@pytest.mark.parametrize(("p1", "p2"), [(0.0, 0.03), (0.0, 0.2), (0.001, 0.02), (1.0, 0.9), (0.0, 1.0)])
def test_small_counts_have_the_power_by_simulation(p1, p2):
    """Fisher's exact test decides here, for which the formula alone would be too few."""
    n = seeds_to_tell(p1, p2)
    rng = np.random.default_rng(0)
    pairs, weights = np.unique(rng.binomial(n, (p1, p2), size=(4_000, 2)), axis=0, return_counts=True)
    told = np.array([two_proportion_p_value(k1, n, k2, n) <= 0.05 for k1, k2 in pairs.tolist()])
    power = weights[told].sum() / 4_000
    assert power > 0.8 - 0.02
    assert power == pytest.approx(power_to_tell(p1, p2, n), abs=0.03)


@settings(max_examples=15)
@given(st.floats(0, 1), st.floats(0.02, 0.5), st.floats(0.3, 0.95))
def test_symmetries_and_monotony_of_proportions(p1, apart, power):
    p2 = p1 + apart if p1 + apart <= 1 else p1 - apart
    n = seeds_to_tell(p1, p2, power)
    assert n >= 1
    assert seeds_to_tell(p2, p1, power) == n
    assert abs(seeds_to_tell(1 - p1, 1 - p2, power) - n) <= max(2, n // 25)  # 1 - p rounds
    assert seeds_to_tell(p1, p2, (1 + power) / 2) >= n


def test_means_of_known_examples():
    """R's manual of power.t.test: delta = 1 with power .90 needs n = 22.02; Cohen 1988, table 2.4.1."""
    assert seeds_to_tell_means(1.0, power=0.9) == 23
    assert [seeds_to_tell_means(d) for d in (0.2, 0.5, 0.8)] == [394, 64, 26]
    assert seeds_to_tell_means(0.2, level=0.01) == 586
    assert seeds_to_tell_means(-0.5) == 64


@pytest.mark.parametrize("paired", [False, True])
def test_means_are_told_as_often_as_asked_for_by_simulation(paired):
    n = seeds_to_tell_means(0.6, paired=paired)
    rng = np.random.default_rng(1)
    x = rng.normal(0.6, 1, size=(n, 10_000))
    y = np.zeros_like(x) if paired else rng.normal(0, 1, size=(n, 10_000))
    p_values = (stats.ttest_rel if paired else stats.ttest_ind)(x, y).pvalue
    assert (p_values <= 0.05).mean() == pytest.approx(0.8, abs=0.02)


@given(st.floats(0.01, 30), st.floats(0.5, 0.99), st.booleans())
def test_the_number_for_means_is_the_least(difference, power, paired):
    n = seeds_to_tell_means(difference, power, paired=paired)
    assert n >= 2
    approximate = (1 if paired else 2) * ((stats.norm.isf(0.025) + stats.norm.ppf(power)) / difference) ** 2
    assert 0.999 * approximate - 1 <= n <= approximate + 5  # the other tail helps a little; t needs a few more
    assert seeds_to_tell_means(difference, min(power + 0.005, 0.999), paired=paired) >= n


@pytest.mark.parametrize(
    "args",
    [
        (0.5, 0.5),
        (-0.1, 0.5),
        (0.5, 1.1),
        (math.nan, 0.5),
        (0.1, 0.2, 1.0),
        (0.1, 0.2, 0.04),
        (0.1, 0.2, 0.8, 0.0),
        ("0.1", 0.2),
        (0.1, None),
        (0.0, 5e-324),
    ],
)
def test_proportions_are_refused_in_one_line(args):
    with pytest.raises(ValueError, match=r"^expected .*got ") as caught:
        seeds_to_tell(*args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "args", [(0.0,), (math.nan,), (math.inf,), (0.5, 0.0), (0.5, 0.8, 0.9), (1e-6,), (1e-200,), ("1",), ([1],)]
)
def test_means_are_refused_in_one_line(args):
    with pytest.raises(ValueError, match=r"^expected .*got ") as caught:
        seeds_to_tell_means(*args)
    assert "\n" not in str(caught.value)


def test_small_dtypes_do_not_overflow():
    """uint8: 0 - 1 would be 255; int8: abs(-128) would be -128; float16: 70,000 trials would be infinitely many."""
    assert seeds_to_tell(np.uint8(0), np.uint8(1)) == seeds_to_tell(0.0, 1.0)
    assert seeds_to_tell_means(np.int8(-128)) == seeds_to_tell_means(-128.0)
    p1, p2 = np.float16(0.5), np.float16(0.505)
    assert seeds_to_tell(p1, p2) == seeds_to_tell(float(p1), float(p2)) > 70_000
    assert power_to_tell(0, 0.2, np.uint8(20)) == power_to_tell(0, 0.2, 20.0) == power_to_tell(0, 0.2, 20)


@pytest.mark.parametrize("args", [(0.1, 0.2, 2.5), (0.1, 0.2, 0), (-0.1, 0.2, 10), (0.1, math.nan, 10)])
def test_power_refuses(args):
    with pytest.raises(ValueError, match=r"^expected .*got "):
        power_to_tell(*args)


def test_proportions_too_close_are_refused():
    with pytest.raises(ValueError, match="at most 1,000,000,000 trials"):
        seeds_to_tell(0.5, 0.5 + 1e-7)
