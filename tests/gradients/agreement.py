"""What the tests of chains share: inputs, Jacobians by autodiff, and how near two arrays have to be."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def inputs(samples, features, dtype="float32"):
    return jnp.asarray(np.random.default_rng(2).normal(size=(samples, features)), dtype)


def autodiff(model, x):
    """d output / d input of every sample, in reverse mode, on the batch as it is."""

    def run(x):
        return (nnx.clone(model) if isinstance(model, nnx.Module) else model)(x)

    full = jax.jit(jax.jacrev(run))(x)
    return jnp.stack([full[i, :, i] for i in range(len(x))])


def assert_close(actual, expected, tolerance):
    """To `tolerance`, relative to the largest entry."""
    chex.assert_trees_all_close(actual, expected, rtol=0, atol=tolerance * float(jnp.abs(expected).max()))
