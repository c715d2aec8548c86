"""What the tests of chains share: inputs, Jacobians by autodiff, and how near two arrays have to be."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def inputs(samples, features, dtype="float32"):
    return jnp.asarray(np.random.default_rng(2).normal(size=(samples, features)), dtype)


def full_jacobian(model):
    """Makes `x -> d output / d input` of all outputs by all inputs, in reverse mode."""

    def run(x):
        return (nnx.clone(model) if isinstance(model, nnx.Module) else model)(x)

    return jax.jacrev(run)


def of_each_sample(full):
    """Takes from a full Jacobian the parts of each sample's output by its own input."""
    full = np.asarray(full)
    return np.stack([full[i, :, i] for i in range(len(full))])


def assert_close(actual, expected, tolerance):
    """To `tolerance`, relative to the largest entry."""
    chex.assert_trees_all_close(actual, expected, rtol=0, atol=tolerance * float(np.abs(np.asarray(expected)).max()))
