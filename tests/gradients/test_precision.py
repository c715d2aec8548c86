"""Products are float32 on accelerators too, unless the user asked otherwise."""

import types

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.lax import Precision

from paramact_jax.activations import activation, edges, precision, verification
from paramact_jax.gradients import (
    attribute,
    chain,
    feature_map_gradients,
    layer_jacobians,
    mean_field,
    parameter_gradients,
    spectra,
)
from paramact_jax.layers import Sharing
from paramact_jax.networks import MLP
from paramact_jax.programs.program import afresh, trace, walk

X = jnp.ones((2, 3))
MODEL = MLP(3, [4, 4], 1, "sigmoid", rngs=nnx.Rngs(0))


class Convolutional(nnx.Module):
    def __init__(self):
        self.conv = nnx.Conv(1, 2, (2, 2), rngs=nnx.Rngs(0))

    def __call__(self, x):
        return jnp.tanh(self.conv(x))


def total(outputs):
    return (outputs**2).sum()


def of_jacobians(function):
    return lambda x: function(layer_jacobians(MODEL, x))


COMPUTED = {
    "attribute": lambda x: attribute(MODEL, x, loss=total).share,
    "attribute, convolution": lambda x: attribute(Convolutional(), x[..., None, None], loss=total).share,
    "attribute, singular values": lambda x: attribute(MODEL, x, loss=total, singular_values=True).spectra,
    "layer_jacobians": of_jacobians(lambda jacobians: jacobians),
    "chain": of_jacobians(chain),
    "parameter_gradients": of_jacobians(parameter_gradients),
    "spectra": of_jacobians(spectra),
}
"""Everything with products in it, as functions of x."""


def precisions(function):
    with afresh():  # the machine is another one, which JAX cannot know
        operations = walk(trace(function, X))
    products = [o for o in operations if o.name in ("dot_general", "conv_general_dilated")]
    return {o.equation.params["precision"] for o in products if o.equation.outvars[0].aval.dtype == jnp.float32}


@pytest.fixture
def accelerator(monkeypatch):
    """What JAX says where there is a GPU."""
    monkeypatch.setattr(precision, "backend", types.SimpleNamespace(backends=lambda: {"cpu": None, "cuda": None}))


@pytest.mark.parametrize("name", COMPUTED)
def test_products_are_of_the_highest_precision(name, accelerator):
    assert precisions(COMPUTED[name]) == {(Precision.HIGHEST, Precision.HIGHEST)}
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        *((name, "high") for name in COMPUTED),
        ("attribute", "default"),
        *(pytest.param(name, "default", marks=pytest.mark.slow) for name in COMPUTED if name != "attribute"),
    ],
)
def test_what_the_user_asked_for_stays(name, asked, accelerator):
    kept = {"high": Precision.HIGH, "default": Precision.DEFAULT}[asked]
    with jax.default_matmul_precision(asked):
        assert precisions(COMPUTED[name]) == {(kept, kept)}


def test_a_product_with_a_precision_of_its_own_keeps_it(accelerator):
    model = nnx.Linear(3, 2, precision="high", rngs=nnx.Rngs(0))
    assert precisions(lambda x: attribute(model, x, loss=total).share) == {(Precision.HIGH, Precision.HIGH)}


@pytest.mark.parametrize("name", ["attribute", "spectra"])
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is an accelerator")
def test_where_there_are_only_cpus_no_program_changes(name):
    assert precisions(COMPUTED[name]) == {None}


def test_functions_of_records_compute_their_products_so_too(accelerator):
    """A function of a user's may have some."""
    seen = set()

    @activation
    def noting(y):
        seen.add(jax.config.jax_default_matmul_precision)
        return jax.nn.sigmoid(y)

    sharing, maps = Sharing("layer", 3), jnp.ones((2, 3))
    for look in (
        lambda: verification.check_against_autodiff(noting),
        lambda: verification.check_against_float64(noting),
        lambda: verification.ulp_error(noting, "bfloat16"),
        lambda: edges.check_edges(noting),
        lambda: edges.check_whole_numbers(noting),
        lambda: feature_map_gradients(noting, maps, maps, {}, sharing),
        lambda: mean_field.predict(noting, 1),
    ):
        seen.clear()
        look()
        assert seen == {"highest"}
