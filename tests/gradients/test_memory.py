"""Attribution keeps no more arrays than a gradient does."""

import jax
import jax.numpy as jnp
import pytest

from paramact_jax.gradients import attribute
from tests.zoo.case import to_ones

VERSION = tuple(map(int, jax.__version__.split(".")[:2]))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(VERSION < (0, 10), reason="XLA removes the barriers that have arrays made again"),
]


def deep(remat):
    def one(w, x):
        return jnp.tanh(jnp.tanh(jnp.tanh(x @ w) @ w) @ w)

    def run(kernels, x):
        for w in kernels:
            x = (jax.checkpoint(one) if remat else one)(w, x)
        return x

    return run


@pytest.mark.parametrize("remat", [False, True])
def test_it_keeps_no_more_than_a_backward_pass(remat):
    kernels, x, f = jnp.zeros((12, 8, 8)), jnp.zeros((4096, 8)), deep(remat)

    def kept(function):
        return jax.jit(function).lower(kernels, x).compile().memory_analysis().temp_size_in_bytes

    gradient = kept(lambda kernels, x: jax.grad(lambda kernels: to_ones(f(kernels, x)))(kernels))
    assert kept(lambda kernels, x: attribute(f, kernels, x, loss=to_ones)) <= 1.5 * gradient
