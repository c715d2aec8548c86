"""Singular values of the factors and of the end-to-end Jacobian."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.gradients import attribute, layer_jacobians, spectra
from paramact_jax.networks import MLP
from tests.gradients.agreement import full_jacobian, inputs, of_each_sample

pytestmark = pytest.mark.usefixtures("unoptimised")


def spectra_of(model):
    return jax.jit(lambda x: spectra(layer_jacobians(model, x)))


@pytest.mark.parametrize(
    "sizes", [(3, [5, 4], 2), (2, [3], 4), (4, [4] * 6, 4), pytest.param((4, [4] * 20, 4), marks=pytest.mark.slow)]
)
def test_equal_those_of_the_matrices(sizes, x64):
    features, hidden, outputs = sizes
    model, x = (
        MLP(features, hidden, outputs, "tanh", param_dtype="float64", rngs=nnx.Rngs(0)),
        inputs(6, features, "float64"),
    )

    @jax.jit
    def run(x):
        jacobians = layer_jacobians(model, x)
        return jacobians, spectra(jacobians), full_jacobian(model)(x)

    jacobians, found, full = run(x)
    for w, values in zip(jacobians.linear, found.linear, strict=True):
        np.testing.assert_allclose(values, np.linalg.svd(w, compute_uv=False), rtol=1e-12)
    for slopes, values in zip(jacobians.slopes, found.slopes, strict=True):
        diagonals = np.stack([np.diag(of_sample) for of_sample in np.asarray(slopes)])
        np.testing.assert_allclose(values, np.linalg.svd(diagonals, compute_uv=False), rtol=1e-12)
    expected = np.linalg.svd(of_each_sample(full), compute_uv=False)
    large = expected > 1e-8 * expected[:, :1]  # smaller ones are rounding
    np.testing.assert_allclose(np.exp(found.log_end_to_end)[large], expected[large], rtol=1e-6)


def test_orthogonal_weights_and_the_identity_have_the_product_of_the_scales():
    orthogonal = jax.nn.initializers.orthogonal(1e-12)
    model = MLP(8, [8] * 4, 8, "identity", kernel_init=orthogonal, rngs=nnx.Rngs(0))
    found = spectra_of(model)(inputs(3, 8))
    np.testing.assert_allclose(found.log_end_to_end, 5 * np.log(1e-12), rtol=1e-4)  # 1e-60: no float32


def test_a_dead_network_has_none():
    model = MLP(2, [3], 2, "relu", bias_init=jax.nn.initializers.constant(-1e3), rngs=nnx.Rngs(0))
    assert np.isneginf(spectra_of(model)(inputs(4, 2)).log_end_to_end).all()


def test_attribute_returns_them_when_asked():
    model, x = MLP(3, [4, 4], 2, "tanh", rngs=nnx.Rngs(0)), inputs(5, 3)
    assert attribute(model, x, loss=jnp.sum).spectra is None
    found = jax.jit(lambda x: attribute(model, x, loss=jnp.sum, singular_values=True).spectra)(x)
    chex.assert_trees_all_close(found, spectra_of(model)(x), rtol=1e-4, atol=1e-5)
