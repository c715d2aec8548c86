import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import MLP, forward, params_of
from paramact_jax.sweeps import FORMS, OverTrials, trial_key
from paramact_jax.training import NOT_REACHED, Settings, final, gradient_descent, start

INPUTS, TARGETS = xor()
NUMBERS = Settings(learning_rate=0.05, activation_learning_rate=0.03, loss_scale=0.5, threshold=1e-3)


def settings(dtype=jnp.float32):
    return Settings(*(jnp.asarray(x, dtype) for x in NUMBERS))


def initial(seed, name, dtype=jnp.float32):
    return params_of(MLP(2, [2] * 4, 1, name, param_dtype=dtype, rngs=nnx.Rngs(params=trial_key(seed))))


def network(name):
    return lambda params, inputs: forward(params, inputs, catalogue.get(name))


@functools.cache
def compiled(name):
    """Compiles the gradient of one point's loss, and the network."""

    def loss(params, x, t):
        return NUMBERS.loss_scale * jnp.sum((network(name)(params, x[None]) - t[None]) ** 2)

    return jax.jit(jax.grad(loss)), jax.jit(network(name))


def passes(name, params, number):
    """The definition, point for point: the usual matrix products, an update after each."""
    rates = jax.tree_util.tree_map_with_path(
        lambda path, p: p.dtype.type(NUMBERS.activation_learning_rate if "activation" in str(path) else 0.05), params
    )
    losses, params = [], jax.tree.map(np.asarray, params)
    gradient, outputs = compiled(name)
    for _ in range(number):
        losses.append(float(np.mean((np.asarray(outputs(params, INPUTS)) - TARGETS) ** 2)))
        for x, t in zip(INPUTS, TARGETS, strict=True):
            slopes = gradient(params, x, t)
            params = jax.tree.map(lambda p, g, rate: p - rate * np.asarray(g), params, slopes, rates)
    return params, losses


@pytest.mark.parametrize("name", ["ppns", "tanh", "relu_from_right"])
def test_it_updates_after_each_point_in_their_order(name, x64):
    advance = gradient_descent(network(name), INPUTS, TARGETS, point_by_point=True)
    states = [start(initial(seed, name, jnp.float64)) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    after = jax.jit(jax.vmap(advance, in_axes=(0, None, None)))(stacked, settings(jnp.float64), 25)
    for i, state in enumerate(states):
        expected, losses = passes(name, state.params, 25)
        own = jax.tree.map(lambda x, i=i: x[i], after)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12), own.params, expected)
        assert float(own.loss) == pytest.approx(losses[-1], rel=1e-9)
        assert int(own.iteration) == 25


def test_the_order_of_the_points_matters_and_a_full_batch_is_another_training():
    params = initial(0, "tanh")
    backwards = gradient_descent(network("tanh"), INPUTS[::-1], TARGETS[::-1], point_by_point=True)
    forwards = gradient_descent(network("tanh"), INPUTS, TARGETS, point_by_point=True)
    full = gradient_descent(network("tanh"), INPUTS, TARGETS)
    weights = [jax.jit(a)(start(params), settings(), 5).params["out"]["kernel"] for a in (forwards, backwards, full)]
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_small_steps_on_each_point_add_up_to_one_on_all():
    """To first order in the learning rate a pass with loss_scale s is one update on 4 points with 4 s."""
    params = initial(1, "ppns")
    tiny = settings()._replace(learning_rate=jnp.float32(1e-3), activation_learning_rate=jnp.float32(1e-3))
    both = [
        jax.jit(gradient_descent(network("ppns"), INPUTS, TARGETS, point_by_point=each))(
            start(params), tiny._replace(loss_scale=jnp.float32(scale)), 1
        ).params
        for each, scale in ((True, 0.25), (False, 1.0))
    ]
    moved = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.tree.map(np.subtract, p, params))]) for p in both]
    assert np.linalg.norm(moved[0] - moved[1]) < 0.01 * np.linalg.norm(moved[1])


def test_reached_at_counts_passes_and_final_measures_the_params_arrived_at():
    params = initial(3, "tanh")
    advance = jax.jit(gradient_descent(network("tanh"), INPUTS, TARGETS, point_by_point=True))
    _, losses = passes("tanh", params, 41)
    middle = (losses[19] + losses[20]) / 2
    watched = settings()._replace(threshold=jnp.float32(middle))
    first = next(i for i, loss in enumerate(losses) if loss < middle)
    state = advance(advance(start(params), watched, 15), watched, 25)
    assert int(state.reached_at) == first
    ended = final(state, advance(state, watched, 1))
    assert float(ended.loss) == pytest.approx(losses[40], rel=1e-4)
    assert int(advance(start(params), settings(), 2).reached_at) == NOT_REACHED


def test_one_kernel_trains_the_same():
    init = OverTrials(lambda seed, _: start(initial(seed, "tanh")))
    states = init(init.place(np.arange(64, dtype=np.uint32)), None)
    advance = gradient_descent(network("tanh"), INPUTS, TARGETS, point_by_point=True)
    losses = []
    for form in ("batched", "one kernel"):
        over = OverTrials(lambda state, shared: advance(state, *shared), form=FORMS[form])
        losses.append(over.collect(over(states, (settings(), jnp.int32(50))).loss, 64))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
