"""A training that notes something on its way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import MLP, forward, params_of
from paramact_jax.training import Settings, gradient_descent, history_bytes, start, with_history

RECORD = catalogue.get("ppns")
SETTINGS = Settings(jnp.float32(0.05), jnp.float32(0.05), jnp.float32(0.5), jnp.float32(1e-3))
ADVANCE = gradient_descent(lambda params, inputs: forward(params, inputs, RECORD), *xor())


def state_of(seed):
    return start(params_of(MLP(2, [2] * 3, 1, RECORD, rngs=nnx.Rngs(seed))))


def observe(state):
    return {"iteration": state.iteration, "a": state.params["hidden"][0]["activation"]["a"]}


@pytest.mark.parametrize(("every", "records"), [(1, 7), (3, 4)])
def test_observations_are_of_the_states_that_training_goes_through(every, records):
    trials = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(state_of, range(3)))
    run = jax.jit(jax.vmap(with_history(ADVANCE, observe, every=every, records=records), in_axes=(0, None)))
    last, seen = run(trials, SETTINGS)
    steps = jax.jit(jax.vmap(ADVANCE, in_axes=(0, None, None)))
    state = trials
    for i in range(records):
        assert seen["iteration"][:, i].tolist() == [i * every] * 3
        np.testing.assert_allclose(seen["a"][:, i], state.params["hidden"][0]["activation"]["a"], rtol=1e-5)
        state = steps(state, SETTINGS, jnp.int32(every))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), last, state)
    again, more = run(last, SETTINGS)
    assert more["iteration"][0].tolist() == [(records + i) * every for i in range(records)]
    assert again.iteration.tolist() == [2 * records * every] * 3


def test_bytes_are_those_of_one_observation():
    state = state_of(0)
    assert history_bytes(observe, state) == sum(leaf.nbytes for leaf in jax.tree.leaves(observe(state))) == 12


@pytest.mark.parametrize(("every", "records"), [(0, 1), (1, 0), (-2, 3)])
def test_bad_lengths_are_refused(every, records):
    with pytest.raises(ValueError, match=f"every={every}, records={records}"):
        with_history(ADVANCE, observe, every=every, records=records)
