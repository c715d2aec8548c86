"""The factors of the chain rule, [P, eq. 13-16], in the paper's orientation: dy/dz = W = kernel transposed."""

from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import MLP, forward, params_of
from paramact_jax.networks.affine import affine

WIDTHS = [2, 3, 2]

# dz/dy written in the output z. Eq. 15 is corrected: the paper prints z (1 - z/a), which holds for z + a/2 only.
SLOPE_IN_Z = {
    "sigmoid": lambda z: z * (1 - z),
    "ppns": lambda z, a, b: a / 4 - z**2 / a,
}
both_precisions = pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
every_slope = pytest.mark.parametrize("name", SLOPE_IN_Z)


def network(name, dtype):
    """Params with another bias, a and b in every node, record, and the XOR inputs."""
    record, random = catalogue.get(name), np.random.default_rng(1)
    model = MLP(2, WIDTHS, 1, record, param_dtype=dtype, rngs=nnx.Rngs(1))
    params = jax.tree.map(lambda p: p + jnp.asarray(random.normal(0, 0.3, p.shape), dtype), params_of(model))
    return params, record, jnp.asarray(xor()[0], dtype)


class Layer(NamedTuple):
    """One hidden layer for one sample: its maps, and their Jacobians as the paper writes them."""

    y_of: Callable[[jax.Array], jax.Array]
    z_of: Callable[[jax.Array], jax.Array]
    dy_dz: jax.Array
    dz_dy: Callable[[jax.Array], jax.Array]


def layers_of(params, record):
    def layer(linear, activation=MappingProxyType({})):
        return Layer(
            y_of=lambda z: affine(z[None], **linear)[0],
            z_of=lambda y: record(y, **activation),
            dy_dz=linear["kernel"].T,  # eq. 16
            dz_dy=lambda z: jnp.diag(SLOPE_IN_Z[record.name](z, **activation)),  # eq. 14, 15
        )

    return [layer(**params["hidden"][i]) for i in range(len(WIDTHS))]


@both_precisions
@every_slope
def test_factors_equal_autodiff(name, dtype, tolerance, x64):
    params, record, inputs = network(name, dtype)

    def factors(z):
        """Of every layer, dy/dz and dz/dy: as the paper writes them, in reverse mode and in forward mode."""
        for layer in layers_of(params, record):
            y = layer.y_of(z)
            paper = layer.dy_dz, layer.dz_dy(layer.z_of(y))
            yield paper, *((J(layer.y_of)(z), J(layer.z_of)(y)) for J in (jax.jacrev, jax.jacfwd))
            z = layer.z_of(y)

    of_layers = jax.jit(jax.vmap(lambda z: list(factors(z))))(inputs)
    for (fan_in, fan_out), (paper, reverse, forward_mode) in zip(pairwise([2, *WIDTHS]), of_layers, strict=True):
        chex.assert_shape(paper, [(4, fan_out, fan_in), (4, fan_out, fan_out)])
        chex.assert_trees_all_close(reverse, paper, rtol=tolerance, atol=tolerance)
        chex.assert_trees_all_close(forward_mode, paper, rtol=tolerance, atol=tolerance)


@both_precisions
@every_slope
def test_product_of_the_factors_is_the_gradient_of_w_11(name, dtype, tolerance, x64):
    params, record, inputs = network(name, dtype)

    def product(x):
        """d y_out / d w_11^(1): eq. 13 from y_out down to y^(1), then dy_1^(1) / dw_11^(1) = x_1."""
        first, *others = layers_of(params, record)
        z = first.z_of(first.y_of(x))
        chain = first.dz_dy(z)
        for layer in others:
            z = layer.z_of(layer.y_of(z))
            chain = layer.dz_dy(z) @ layer.dy_dz @ chain
        return (params["out"]["kernel"].T @ chain)[0, 0] * x[0]

    def gradient(x):
        return jax.grad(lambda p: forward(p, x[None], record)[0, 0])(params)["hidden"][0]["linear"]["kernel"][0, 0]

    actual, expected = jax.jit(lambda x: (jax.vmap(product)(x), jax.vmap(gradient)(x)))(inputs)
    chex.assert_trees_all_close(actual, expected, rtol=tolerance, atol=tolerance)
    assert not expected[:2].any()  # x_1 = 0 there
    assert (jnp.abs(expected[2:]) > 100 * tolerance).all()
