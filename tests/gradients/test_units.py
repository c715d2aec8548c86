"""Statistics of one layer's units."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from paramact_jax.activations import catalogue
from paramact_jax.gradients import units

matrices = arrays.arrays(np.float32, (3, 4), elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]))


@given(matrices)
def test_one_sign_share_by_counting(gradients):
    expected = [bool(column.any() and ((column >= 0).all() or (column <= 0).all())) for column in gradients.T]
    assert float(units.one_sign_share(jnp.asarray(gradients))) == np.mean(expected)


@pytest.mark.parametrize("fan_in", [2, 5])
def test_chance_of_one_sign(fan_in):
    gradients = jnp.asarray(np.random.default_rng(0).normal(size=(fan_in, 20_000)))
    assert float(units.one_sign_share(gradients)) == pytest.approx(2 ** (1 - fan_in), abs=0.01)


@given(arrays.arrays(np.float32, (50,), elements=st.floats(-4, 4, width=32, allow_subnormal=False)))
def test_histogram_is_numpys_with_ends(values):
    edges = np.linspace(-2, 2, 9, dtype=np.float32)
    below, *bins, above, nan = units.histogram(jnp.asarray(values), jnp.asarray(edges)).tolist()
    assert bins == np.histogram(values, edges)[0].tolist()
    assert (below, above, nan) == ((values < -2).sum(), (values > 2).sum(), 0)


def test_histogram_loses_nothing():
    values = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 0.0, 1.0])
    assert units.histogram(values, jnp.array([0.0, 1.0])).tolist() == [1, 2, 1, 1]


def test_shares_of_slopes():
    slopes = jnp.array([[1.0, 0.005, 0.0], [-1.2, 0.5, 0.0]])
    assert float(units.share_at_least_one(slopes)) == pytest.approx(2 / 6)
    assert float(units.saturated_share(slopes)) == pytest.approx(3 / 6)
    assert float(units.saturated_share(slopes, below=0.6)) == pytest.approx(4 / 6)
    assert float(units.dead_share(slopes)) == pytest.approx(1 / 3)


def test_saturation_of_the_sigmoid_by_its_closed_form():
    sigmoid = catalogue.get("sigmoid")
    # s (1 - s) = 0.01 where |y| = log((1 + sqrt(0.96)) / (1 - sqrt(0.96)))
    edge = float(np.log((1 + 0.96**0.5) / (1 - 0.96**0.5)))
    y = jnp.array([[0.0, edge - 0.01, edge + 0.01, -edge - 0.01]])
    assert float(units.saturated_share(sigmoid.derivative(y))) == 0.5
