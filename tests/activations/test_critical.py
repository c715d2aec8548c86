"""The critical gain against published values, against random networks, and at the edges of what has one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from paramact_jax.activations import catalogue, critical_gain


@pytest.mark.parametrize(
    ("f", "options", "expected"),
    [
        ("tanh", {}, 1.0),
        ("tanh", {"weight_std": 2.0}, 0.5),
        ("relu", {}, math.sqrt(2)),  # He et al. 2015
        ("leaky_relu_tenth", {}, math.sqrt(2 / 1.01)),
        (special.erf, {}, math.sqrt(math.pi) / 2),
        ("ppns", {}, 4.0),
        ("parametric_tanh", {}, 1.0),
        ("identity", {"bias_std": 1.0}, 1.0),
    ],
)
def test_gains_that_are_known_in_closed_form(f, options, expected):
    f = jax.scipy.special.erf if f is special.erf else f
    assert critical_gain(f, **options).gain == pytest.approx(expected, rel=1e-9)


def test_the_critical_line_of_tanh_with_biases():
    """Weights of variance 1.76 at biases of variance 0.05 [Schoenholz et al. 2017], as read from its phase diagram."""
    assert critical_gain("tanh", bias_std=math.sqrt(0.05)).gain ** 2 == pytest.approx(1.76, abs=2e-3)


def test_erf_with_biases_by_its_closed_form():
    """E[erf(sqrt(q) u)^2] = (2 / pi) arcsin(2 q / (1 + 2 q)), E[erf'^2] = (4 / pi) / sqrt(1 + 4 q) [Williams 1997]."""
    found = critical_gain(jax.scipy.special.erf, bias_std=0.4)
    q = found.variance
    assert found.gain**2 * 4 / math.pi / math.sqrt(1 + 4 * q) == pytest.approx(1, rel=1e-7)
    assert found.gain**2 * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + 0.16 == pytest.approx(q, rel=1e-7)


@pytest.mark.parametrize(
    ("name", "bias_std"),
    [("tanh", 0.3), *(pytest.param(*x, marks=pytest.mark.slow) for x in [("sigmoid", 0.0), ("elu", 0.3)])],
)
def test_random_networks_keep_variance_and_gradient_at_the_critical_gain(name, bias_std):
    """Twelve layers of 1,000 nodes of eight networks, in NumPy and float64, from the fixed point.

    The gradient stays to 1 %. The variance is that of one layer on: later ones drift, since no force brings them back.
    """
    found, rng = critical_gain(name, bias_std=bias_std), np.random.default_rng(0)
    functions = {
        "tanh": (np.tanh, lambda y: 1 / np.cosh(y) ** 2),
        "sigmoid": (special.expit, lambda y: special.expit(y) * special.expit(-y)),
        "elu": (lambda y: np.where(y > 0, y, np.expm1(y)), lambda y: np.where(y > 0, 1, np.exp(y))),
    }
    f, slope = functions[name]
    width, variances, factors = 1_000, [], []
    for _ in range(8):
        y = math.sqrt(found.variance) * rng.normal(size=width)
        kernels, slopes = [], []
        for _ in range(12):
            kernels.append(rng.standard_normal((width, width), np.float32) / math.sqrt(width))
            slopes.append(found.gain * slope(y))
            y = kernels[-1] @ (found.gain * f(y)) + bias_std * rng.normal(size=width)
            variances.append(np.mean(y**2))
        backward = rng.normal(size=width)
        for kernel, own in zip(kernels[::-1], slopes[::-1], strict=True):
            before = backward
            backward = own * (kernel.T @ backward)
            factors.append(np.sum(backward**2) / np.sum(before**2))
    assert np.exp(np.mean(np.log(factors))) == pytest.approx(1, abs=0.01)
    assert np.mean(variances[::12]) == pytest.approx(found.variance, rel=0.05)


def test_over_layers_the_product_of_the_factors_is_1():
    """For 10 layers the factors of the mean-field recursion, iterated here with other quadrature, multiply to 1."""
    found = critical_gain("tanh", depth=10, weight_std=1.3, bias_std=0.1)
    u, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    q, total = 1.3**2 + 0.01, 0.0
    for _ in range(10):
        y = math.sqrt(q) * u
        total += math.log(1.3**2 * found.gain**2 * (weights @ np.cosh(y) ** -4.0))
        last, q = q, 1.3**2 * found.gain**2 * (weights @ np.tanh(y) ** 2) + 0.01
    assert total == pytest.approx(0, abs=1e-6)
    assert found.variance == pytest.approx(last, rel=1e-6)
    assert critical_gain("relu", depth=7).gain == pytest.approx(math.sqrt(2), rel=1e-9)


def test_the_depth_scale_is_of_the_function_itself():
    slope = 0.25**2  # of pn_sigmoid at 0, to which the variance goes
    assert critical_gain("ppns").depth_scale == pytest.approx(1 / abs(math.log(slope)), rel=1e-6)
    assert critical_gain("tanh").depth_scale == math.inf
    assert critical_gain("relu").depth_scale == pytest.approx(1 / math.log(2), rel=1e-6)


@pytest.mark.parametrize(("name", "variance"), [("relu", math.nan), ("relu6", math.nan), ("tanh", 0.0)])
def test_where_no_variance_or_every_one_is_the_fixed_point(name, variance):
    np.testing.assert_equal(critical_gain(name).variance, variance)
    assert critical_gain("relu", bias_std=0.1).variance == math.inf


def test_a_users_function_and_a_shift_that_is_learned():
    scaled = critical_gain(lambda y: jnp.sin(y) * 0.5)
    assert scaled.gain == pytest.approx(2, rel=1e-6)
    assert critical_gain(lambda y: 1e-6 * jnp.tanh(y)).gain == pytest.approx(1e6, rel=1e-6)
    assert (critical_gain(jnp.sinh).gain, critical_gain(jnp.sinh).depth_scale) == (pytest.approx(1), 0.0)
    assert critical_gain(catalogue.get("ppns")) == critical_gain("ppns")


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        ("tanh", {"weight_std": 0}, "weight_std: expected a finite number > 0, got 0"),
        ("tanh", {"bias_std": -1}, "bias_std: expected a finite number >= 0, got -1"),
        ("tanh", {"bias_std": math.nan}, "bias_std: expected a finite number >= 0"),
        ("tanh", {"depth": 0}, "depth: expected 1 or more hidden layers"),
        ("step", {}, "expected a function with a slope other than 0, got step"),
        ("softplus", {}, "expected a function with a critical gain, got softplus: no gain"),
        ("tan", {}, "unknown activation 'tan'"),
        (lambda y: y**2, {}, "no gain has a fixed point"),
        (lambda y: y**3, {}, "no gain has a fixed point"),
        (lambda y: jnp.sqrt(jnp.abs(y)), {}, "mean squared slope has no bound|no gain"),
    ],
)
def test_refusals(f, options, message):
    with pytest.raises(ValueError, match=message):
        critical_gain(f, **options)
