"""The mean-field prediction against closed forms, and against wide random networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import special, stats

from paramact_jax.activations import catalogue
from paramact_jax.gradients import attribute, mean_field
from paramact_jax.networks import MLP


def test_identity_and_relu_in_closed_form():
    identity = mean_field.predict(catalogue.get("identity"), 5, gain=0.9, input_mean_square=2.0, bias_variance=0.1)
    variances = [0.81 * 2 + 0.1]
    for _ in range(4):
        variances.append(0.81 * variances[-1] + 0.1)
    np.testing.assert_allclose(identity.variances, variances, rtol=1e-6)
    np.testing.assert_allclose(identity.factors, 0.81, rtol=1e-6)
    relu = mean_field.predict(catalogue.get("relu"), 4, gain=1.0)
    np.testing.assert_allclose(relu.variances, [1, 1 / 2, 1 / 4, 1 / 8], rtol=1e-3)
    np.testing.assert_allclose(relu.mean_square_slopes, 0.5, rtol=1e-3)
    np.testing.assert_allclose(relu.log_gradient, 0.5 * np.log(0.5) * np.arange(1, 5), rtol=1e-3)


@functools.cache
def compiled(function):
    return jax.jit(function)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "ppns", "hexpo", "gelu"])
@pytest.mark.parametrize("variance", [0.01, 1.0, 30.0])
def test_expectations_equal_quadrature(name, variance):
    record = catalogue.get(name)
    found = mean_field.predict(record, 2, gain=variance**0.5)
    roots, weights = special.roots_legendre(200)
    u = np.concatenate([4.5 * (roots - 1), 4.5 * (roots + 1)])  # from -9 to 0 and from 0 to 9
    mass = 4.5 * np.tile(weights, 2) * stats.norm.pdf(u)

    def mean_square(function):
        values = compiled(function)(np.float32(variance**0.5 * u), **record.params)
        return (mass * np.float64(values) ** 2).sum()

    assert found.mean_square_slopes[0] == pytest.approx(mean_square(record.derivative), rel=1e-3)
    assert found.variances[1] == pytest.approx(variance * mean_square(record.fn), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "gain"),
    [("tanh", 1.5), ("relu", 2**0.5), *(pytest.param(n, 1.0, marks=pytest.mark.slow) for n in ("sigmoid", "tanh"))],
)
def test_a_wide_random_network_does_what_is_predicted(name, gain):
    width, depth = 400, 4
    scaled = jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")
    prediction = mean_field.predict(catalogue.get(name), depth, gain=gain)
    x = jax.random.normal(jax.random.key(1), (4, width))

    @jax.jit
    @jax.vmap
    def measure(key):
        model = MLP(width, [width] * depth, 1, name, kernel_init=scaled, rngs=nnx.Rngs(params=key))
        return attribute(model, x, loss=jnp.sum).decay

    decays = jax.tree.map(np.asarray, measure(jax.random.split(jax.random.key(0), 24)))
    first = np.exp(2 * (decays.log_norm[:, 0] - decays.log_norm[:, -1])).mean()
    assert 0.5 * np.log(first) == pytest.approx(prediction.log_gradient[-1], abs=0.12)
    # The linear factor is the gain, the activation's the root mean square slope, layer by layer.
    of_linear, of_activation = np.asarray(decays.linear).mean(0), np.asarray(decays.activation).mean(0)
    np.testing.assert_allclose(of_linear[:-1], np.log(gain), atol=0.08)
    np.testing.assert_allclose(of_activation, 0.5 * np.log(prediction.mean_square_slopes), atol=0.08)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth of 1 or more hidden layers, got 0"),
        ({"depth": 1, "gain": 0.0}, "finite gain > 0, got 0.0"),
        ({"depth": 1, "gain": float("nan")}, "finite gain > 0, got nan"),
        ({"depth": 1, "bias_variance": -1.0}, "finite bias_variance >= 0, got -1.0"),
        ({"depth": 1, "input_mean_square": float("inf")}, "finite input_mean_square >= 0, got inf"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mean_field.predict(catalogue.get("tanh"), **arguments)
