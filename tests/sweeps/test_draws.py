"""Values of settings: their laws, their seeds, and what is refused."""

import enum

import numpy as np
import pytest
from scipy import stats

from paramact_jax.sweeps import choices, integers, log_uniform, sobol, sweep, uniform

RARE = 1e-4  # a right law fails a test with this probability, for one seed; the seeds are fixed


@pytest.mark.parametrize(
    ("draw", "low", "high", "level"),
    [
        (uniform, -2.0, 3.0, lambda x: (x + 2) / 5),
        (uniform, 0, 1, lambda x: x),
        (uniform, -1e308, 1e308, lambda x: x / 1e308 / 2 + 0.5),  # high - low overflows
        (log_uniform, 1e-4, 1e-1, lambda x: np.log10(x / 1e-4) / 3),
        (log_uniform, 1e-300, 1e300, lambda x: (np.log10(x) + 300) / 600),  # high / low overflows
    ],
)
def test_numbers_have_their_law(draw, low, high, level):
    x = draw(low, high, 20_000, seed=3)
    assert x.dtype == np.float64
    assert len(np.unique(x)) == 20_000
    assert high > 1e38 or len(np.unique(x.astype(np.float32))) == 20_000
    assert low <= x.min()
    assert x.max() <= high
    assert stats.kstest(level(x), "uniform").pvalue > RARE


def test_every_decade_gets_as_many():
    decades = np.floor(np.log10(log_uniform(1e-4, 1e-1, 9_000, seed=1))).astype(int)
    assert stats.chisquare(np.bincount(decades + 4, minlength=3)).pvalue > RARE


@pytest.mark.parametrize(("low", "high"), [(1, 6), (-3, 3), (0, 1), (-(2**53), 2**53)])
def test_integers_include_both_ends_and_are_equally_likely(low, high):
    x = integers(low, high, 6_000, seed=2)
    assert x.dtype == np.int64
    if high - low < 10:
        found, counts = np.unique(x, return_counts=True)
        assert found.tolist() == list(range(low, high + 1))
        assert stats.chisquare(counts).pvalue > RARE
    else:
        assert stats.kstest((x - low) / (high - low), "uniform").pvalue > RARE


def test_choices_are_the_values_themselves_and_equally_likely():
    class Optimiser(enum.Enum):
        SGD = 1
        ADAM = 2

    values = [Optimiser.SGD, Optimiser.ADAM, (1, 2), None]
    drawn = choices(values, 4_000, seed=0)
    assert isinstance(drawn, list)
    counts = [sum(value is each for each in drawn) for value in values]
    assert sum(counts) == 4_000
    assert stats.chisquare(counts).pvalue > RARE
    assert choices(iter("abc"), 5, seed=1) == choices(["a", "b", "c"], 5, seed=1)


def test_values_are_the_same_everywhere():
    """Written down from PCG64's bits, which NumPy promises; another version or machine that differs fails here."""
    assert uniform(0, 1, 3, seed=0).tolist() == [0.1403598373163708, 0.450086417436681, 0.44642464420720407]
    np.testing.assert_array_max_ulp(log_uniform(1, 10, 2, 5), np.array([3.0424585942633913, 1.9942889216860153]), 4)
    assert integers(0, 10**9, 3, seed=0).tolist() == [863889270, 979983036, 348489823]
    assert choices(range(1000), 3, seed=0) == [626, 927, 862]


@pytest.mark.parametrize(
    "draw",
    [
        lambda n, seed: uniform(0, 1, n, seed).tolist(),
        lambda n, seed: log_uniform(1e-4, 1, n, seed).tolist(),
        lambda n, seed: uniform(1, 1 + 2e-5, n, seed).tolist(),  # of 168 numbers as float32, so many are drawn again
        lambda n, seed: integers(0, 10**6, n, seed).tolist(),
        lambda n, seed: choices(range(10**4), n, seed),
        lambda n, seed: sobol(n, seed, x=("uniform", 0, 1), y=("log_uniform", 1, 2))["y"].tolist(),
    ],
    ids=["uniform", "log_uniform", "narrow", "integers", "choices", "sobol"],
)
def test_one_seed_gives_one_sequence(draw):
    assert draw(16, 4) == draw(16, 4) == draw(32, 4)[:16] == draw(128, np.int64(4))[:16]
    assert draw(16, 4) != draw(16, 5)


def test_other_ranges_and_laws_are_independent_with_one_seed():
    drawn = [uniform(0, 1, 2_000, 0), uniform(0, 2, 2_000, 0), np.log(log_uniform(1, 2, 2_000, 0))]
    for i in range(3):
        for j in range(i):
            assert stats.pearsonr(drawn[i], drawn[j]).pvalue > RARE


def test_narrow_ranges_give_every_number_once():
    ends = np.float32(1), np.nextafter(np.nextafter(np.float32(1), np.float32(2)), np.float32(2))
    assert len(set(uniform(*ends, 3, seed=0).astype(np.float32).tolist())) == 3
    with pytest.raises(ValueError, match="expected a range with 4 different float32 numbers"):
        uniform(*ends, 4, seed=0)


def test_sobol_points_fill_every_elementary_box():
    """Of 2^m points in two dims each box of 2^-i by 2^-(m-i) has one: the (0, m, 2)-net that scrambling keeps."""
    points = sobol(64, seed=7, x=("uniform", 0, 1), y=("log_uniform", 1e-4, 1e-1))
    x, y = points["x"], np.log10(points["y"] / 1e-4) / 3
    for i in range(7):
        boxes = np.floor(x * 2**i) * 2 ** (6 - i) + np.floor(y * 2 ** (6 - i))
        assert sorted(boxes.astype(int).tolist()) == list(range(64))


def test_sobol_points_of_whole_numbers_and_names_are_balanced():
    points = sobol(32, seed=0, depth=("integers", 1, 4), name=("choices", ["a", "b"]), width=["integers", 8, 9])
    assert np.bincount(points["depth"]).tolist() == [0, 8, 8, 8, 8]
    assert sorted(points["name"]) == ["a"] * 16 + ["b"] * 16
    pairs = list(zip(points["depth"].tolist(), points["name"], strict=True))
    assert all(pairs.count(pair) == 4 for pair in pairs)
    assert list(points) == ["depth", "name", "width"]


def test_sobol_takes_one_point():
    assert sobol(1, 0, x=("uniform", 2, 3))["x"].shape == (1,)


def test_draws_are_axes_of_a_sweep():
    rates = log_uniform(1e-4, 1e-1, 5, seed=0)
    results = sweep(lambda key, rate, width: rate * width, [0], axes={"rate": rates, "width": uniform(1, 2, 3, seed=0)})
    assert dict(results.sizes) == {"rate": 5, "width": 3, "seed": 1}
    np.testing.assert_array_equal(results["rate"], rates)


UNIFORM = ("uniform", 0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform(1, 1, 3, 0), "uniform: expected finite numbers low < high, got 1 and 1"),
        (lambda: uniform(2, 1, 3, 0), "got 2 and 1"),
        (lambda: uniform(0, float("inf"), 3, 0), "got 0 and inf"),
        (lambda: uniform("0", 1, 3, 0), "got '0' and 1"),
        (lambda: uniform([0, 1], 1, 3, 0), "got [0, 1] and 1"),
        (lambda: log_uniform(0, 1, 3, 0), "log_uniform: expected low > 0"),
        (lambda: log_uniform(-1, 1, 3, 0), "got -1; take uniform"),
        (lambda: integers(0.5, 3, 3, 0), "integers: expected whole numbers within -2**53..2**53, got 0.5 and 3"),
        (lambda: integers(0, 2**60, 3, 0), "expected whole numbers within"),
        (lambda: integers(3, 3, 3, 0), "expected finite numbers low < high"),
        (lambda: choices([], 3, 0), "choices: expected a list of at least one value to choose from, got []"),
        (lambda: choices("relu", 3, 0), "got 'relu'"),
        (lambda: choices(3, 3, 0), "got 3"),
        (lambda: uniform(0, 1, 0, 0), "expected n >= 1, a whole number, got 0"),
        (lambda: integers(0, 1, 2.5, 0), "expected n >= 1, a whole number, got 2.5"),
        (lambda: choices([1], -1, 0), "expected n >= 1, a whole number, got -1"),
        (lambda: log_uniform(1, 2, 3, -1), "expected seed >= 0, a whole number, got -1"),
        (lambda: choices([1], 3, None), "expected seed >= 0, a whole number, got None"),
        (lambda: sobol(4, "0", x=UNIFORM), "expected seed >= 0, a whole number, got '0'"),
        (lambda: sobol(100, 0, x=UNIFORM), "sobol: expected n to be a power of two, got 100; take 64 or 128"),
        (lambda: sobol(4, 0), "sobol: expected at least one setting, got none"),
        (lambda: sobol(4, 0, x=("log", 1, 2)), 'sobol: x: expected ("uniform", low, high)'),
        (lambda: sobol(4, 0, x=("uniform", 1)), "got ('uniform', 1)"),
        (lambda: sobol(4, 0, x=0.1), "got 0.1"),
        (lambda: sobol(4, 0, x=UNIFORM, rate=("log_uniform", 0, 1)), "sobol: rate: expected low > 0"),
        (lambda: sobol(4, 0, x=("choices", "ab")), "sobol: x: expected a list of at least one value"),
    ],
)
def test_refusals_are_one_line(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
