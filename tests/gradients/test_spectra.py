"""Singular values of the factors and of the end-to-end Jacobian."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.gradients import attribute, layer_jacobians, spectra
from paramact_jax.networks import MLP


def inputs(samples, features, dtype="float32"):
    return jnp.asarray(np.random.default_rng(2).normal(size=(samples, features)), dtype)


@pytest.mark.parametrize("sizes", [(3, [5, 4], 2), (2, [3], 4), (4, [4] * 20, 4)])
def test_equal_those_of_the_matrices(sizes, x64):
    features, hidden, outputs = sizes
    model, x = (
        MLP(features, hidden, outputs, "tanh", param_dtype="float64", rngs=nnx.Rngs(0)),
        inputs(6, features, "float64"),
    )
    jacobians = layer_jacobians(model, x)
    found = spectra(jacobians)
    for w, values in zip(jacobians.linear, found.linear, strict=True):
        np.testing.assert_allclose(values, np.linalg.svd(w, compute_uv=False), rtol=1e-12)
    for slopes, values in zip(jacobians.slopes, found.slopes, strict=True):
        diagonals = np.stack([np.diag(of_sample) for of_sample in np.asarray(slopes)])
        np.testing.assert_allclose(values, np.linalg.svd(diagonals, compute_uv=False), rtol=1e-12)
    full = jax.jacrev(model)(x)
    per_sample = np.stack([full[i, :, i] for i in range(6)])
    expected = np.linalg.svd(per_sample, compute_uv=False)
    large = expected > 1e-8 * expected[:, :1]  # smaller ones are rounding
    np.testing.assert_allclose(np.exp(found.log_end_to_end)[large], expected[large], rtol=1e-6)


def test_orthogonal_weights_and_the_identity_have_the_product_of_the_scales():
    orthogonal = jax.nn.initializers.orthogonal(0.5)
    model = MLP(8, [8] * 199, 8, "identity", kernel_init=orthogonal, rngs=nnx.Rngs(0))
    found = spectra(layer_jacobians(model, inputs(3, 8)))
    np.testing.assert_allclose(found.log_end_to_end, 200 * np.log(0.5), rtol=1e-4)  # 0.5^200: no float32


def test_a_dead_network_has_none():
    model = MLP(2, [3], 2, "relu", bias_init=jax.nn.initializers.constant(-1e3), rngs=nnx.Rngs(0))
    assert jnp.isneginf(spectra(layer_jacobians(model, inputs(4, 2))).log_end_to_end).all()


def test_attribute_returns_them_when_asked():
    model, x = MLP(3, [4, 4], 2, "tanh", rngs=nnx.Rngs(0)), inputs(5, 3)
    assert attribute(model, x, loss=jnp.sum).spectra is None
    found = jax.jit(lambda x: attribute(model, x, loss=jnp.sum, singular_values=True).spectra)(x)
    chex.assert_trees_all_close(found, spectra(layer_jacobians(model, x)), rtol=1e-4, atol=1e-5)
