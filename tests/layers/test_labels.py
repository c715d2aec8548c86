"""Optimisers that treat a and b apart from the weights."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from paramact_jax.activations import ppns
from paramact_jax.layers import ACTIVATION, WEIGHTS, parameter_labels
from paramact_jax.networks import MLP, forward, params_of

LINEAR = {"bias": WEIGHTS, "kernel": WEIGHTS}
EXPECTED = {
    "hidden": {i: {"activation": {"a": ACTIVATION, "b": ACTIVATION}, "linear": LINEAR} for i in range(2)},
    "out": LINEAR,
}


def model(seed=0):
    return MLP(2, [3, 2], 1, "ppns", rngs=nnx.Rngs(jax.random.key(seed)))


def stacked():
    return jax.vmap(lambda seed: params_of(model(seed)))(jnp.arange(4))


@pytest.mark.parametrize("params", [lambda: params_of(model()), stacked], ids=["one trial", "trials"])
def test_labels_of_plain_params(params):
    assert parameter_labels(params()) == EXPECTED


def test_labels_of_an_nnx_state():
    labels = parameter_labels(nnx.state(model(), nnx.Param))
    assert isinstance(labels, nnx.State)
    assert nnx.to_pure_dict(labels) == EXPECTED


def test_names_that_merely_contain_a_or_b_are_weights():
    assert parameter_labels({"a": {"kernel": 0}, "beta": 0, "ab": [0, 0]}) == {
        "a": {"kernel": WEIGHTS},
        "beta": WEIGHTS,
        "ab": [WEIGHTS, WEIGHTS],
    }


@pytest.mark.parametrize(
    ("of_activation", "rate"), [(optax.sgd(0.5), 0.5), (optax.set_to_zero(), 0.0)], ids=["own rate", "frozen"]
)
def test_partition_moves_activation_params_and_weights_at_their_own_rates(of_activation, rate):
    params, x = params_of(model()), jnp.array([[0.3, 1.0], [1.0, -2.0]])
    gradient = jax.grad(lambda params: (forward(params, x, ppns) ** 2).mean())(params)
    optimiser = optax.partition({ACTIVATION: of_activation, WEIGHTS: optax.sgd(0.1)}, parameter_labels)
    updates, _ = optimiser.update(gradient, optimiser.init(params), params)
    rates = {ACTIVATION: rate, WEIGHTS: 0.1}
    expected = jax.tree.map(lambda label, g: -rates[label] * g, EXPECTED, gradient)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)


def test_nnx_optimizer_takes_the_labels():
    network = model()
    before = params_of(network)
    optimiser = nnx.Optimizer(
        network,
        optax.partition({ACTIVATION: optax.set_to_zero(), WEIGHTS: optax.sgd(0.1)}, parameter_labels),
        wrt=nnx.Param,
    )
    optimiser.update(network, nnx.grad(lambda network: (network(jnp.ones((4, 2))) ** 2).mean())(network))
    moved = jax.tree.map(lambda old, new: bool((old != new).any()), before, params_of(network))
    assert moved == jax.tree.map(lambda label: label == WEIGHTS, EXPECTED)
