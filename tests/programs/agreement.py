"""Compares many trials with the trials last with what `jax.vmap` makes of them."""

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.programs import trace, trials_last

TRIALS = 5


def check(function, *arguments, own=None, tolerance=1e-5, exact=False):
    """Asserts that all trials of a function are what vmap makes of them, with the same shapes and dtypes.

    Args:
      function: of one trial.
      arguments: trees of arrays; those of which every trial has its own with a last axis of trials.
      own: for each argument, whether every trial has its own; by default all.
      tolerance: relative and absolute.
      exact: whether not even rounding may differ. Integers, booleans and random keys never differ.
    """
    own = [True] * len(arguments) if own is None else own
    one = [jax.tree.map(lambda x: x[..., 0], a) if o else a for a, o in zip(arguments, own, strict=True)]
    flags = [o for a, o in zip(arguments, own, strict=True) for _ in jax.tree.leaves(a)]
    axes = [-1 if o else None for o in own]
    last, mapped = trials_last(trace(function, *one), flags), jax.vmap(function, in_axes=axes, out_axes=-1)
    many, expected = jax.jit(lambda *arguments: (last(*arguments), mapped(*arguments)))(*arguments)
    assert jax.tree.structure(many) == jax.tree.structure(expected)
    for i, (got, want) in enumerate(zip(jax.tree.leaves(many), jax.tree.leaves(expected), strict=True)):
        assert (got.shape, got.dtype) == (want.shape, want.dtype), f"output {i}"
        numbers, right = _numbers(got), _numbers(want)
        if exact or numbers.dtype.kind not in "fc":
            np.testing.assert_array_equal(numbers, right, f"output {i}")
        else:
            np.testing.assert_allclose(numbers, right, tolerance, tolerance, err_msg=f"output {i}")


def _numbers(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(x))
    return np.asarray(x, np.float64 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype)


def normal(*shape, seed=0, dtype="float32"):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def keys(implementation=None, seed=0):
    return jax.random.split(jax.random.key(seed, impl=implementation), TRIALS)
