"""Functions of one's own: found out about while JAX traces too, and refused in one line where they cannot be used."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from paramact_jax.activations import activation, catalogue, parametric, relu_from_right
from paramact_jax.activations.record import TRACED


def own(y):
    return y / (1 + jnp.abs(y))


@jax.custom_vjp
def reverse_only(y):
    return jnp.tanh(y)


reverse_only.defvjp(lambda y: (jnp.tanh(y), y), lambda y, g: (g * (1 - jnp.tanh(y) ** 2),))


@pytest.mark.parametrize(
    "trace",
    [
        jax.jit,
        jax.grad,
        lambda f: lambda x: jax.eval_shape(f, x.sum()),
    ],
    ids=["jit", "grad", "eval_shape"],
)
def test_properties_are_found_while_jax_traces(trace):
    found = []

    def use(x):
        found.append(parametric(lambda y: y / (1 + jnp.abs(y)), name="inside"))
        return found[-1](x, a=1.0, b=0.0)

    trace(use)(jnp.float32(0.5) if trace is jax.grad else jnp.ones(2))
    assert found[0].params == parametric(own).params
    assert found[0].range == parametric(own).range


def test_a_function_of_a_traced_value_needs_a_start_value():
    def use(t, **options):
        return parametric(lambda y: jnp.tanh(t * y), **options)(0.5, a=2.0, b=0.0)

    with pytest.raises(ValueError, match=r"a value that JAX is tracing.* pass a start value, a=") as error:
        jax.jit(use)(3.0)
    assert "\n" not in str(error.value)
    with jax.checking_leaks():
        assert float(jax.jit(functools.partial(use, a=1.0))(3.0)) == pytest.approx(2 * math.tanh(1.5))
    slope = jax.grad(functools.partial(use, a=1.0))(3.0)
    assert float(slope) == pytest.approx(2 * 0.5 * (1 - math.tanh(1.5) ** 2), rel=1e-5)
    sources = []
    jax.jit(lambda t: sources.append(activation(lambda y: t * y).source) or t)(1.0)
    assert sources == [TRACED]


@pytest.mark.parametrize("fn", [lambda y: jnp.float32(2) * y, lambda y: jnp.asarray(y, "float32")], ids=["*", "cast"])
def test_a_function_that_promotes_keeps_the_dtype(fn):
    dtype = "bfloat16"
    record, y = parametric(fn, a=1.0), jnp.ones(3, dtype)
    params = {p: jnp.ones(3, dtype) for p in ("a", "b")}
    results = [record(y, **params), record.derivative(y, **params), *(d(y, **params) for d in record.partials.values())]
    assert {x.dtype for x in results} == {jnp.dtype(dtype)}
    assert jax.lax.scan(lambda carry, _: (record(carry, **params), None), y, length=2)[0].dtype == dtype


def test_a_function_with_a_rule_for_reverse_only_has_its_slope():
    record = activation(reverse_only)
    assert record.steepest_slope == 1.0
    assert float(record.derivative(0.5)) == pytest.approx(1 - math.tanh(0.5) ** 2)


class Steep:
    """A callable object."""

    def __call__(self, y):
        return 3 * y


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (functools.partial(jax.nn.leaky_relu, negative_slope=0.1), "leaky_relu"),
        (functools.partial(functools.partial(jax.nn.elu), alpha=0.5), "elu"),
        (Steep(), "Steep"),
        (Steep().__call__, "__call__"),
        (jax.jit(own), "own"),
    ],
    ids=["partial", "partial of a partial", "object", "method", "jit"],
)
def test_functions_are_called_by_their_name(fn, name):
    assert activation(fn).name == name
    assert parametric(fn).name == f"parametric_{name}"


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "arctan", "swish"])
def test_a_name_means_the_record(name):
    by_name, by_record = parametric(name, a=2.0), parametric(catalogue.get(name), a=2.0)
    assert (by_name.name, by_name.params, by_name.source) == (by_record.name, by_record.params, by_record.source)


def test_relu_by_name_is_the_papers():
    assert parametric("relu").derivative(0.0, a=1.5, b=0.0) == 1.5
    assert parametric("relu").name == catalogue.get("parametric_relu").name
    assert parametric("relu").kinks == parametric(relu_from_right).kinks
    with pytest.raises(ValueError, match=r"unknown activation 'tahn': did you mean tanh.*\? expected one of"):
        parametric("tahn")


@pytest.mark.parametrize(
    ("fn", "error", "message"),
    [
        (lambda y: jnp.exp(1j * y), TypeError, "real numbers of a float dtype, got complex64"),
        (lambda y: y > 0, TypeError, "real numbers of a float dtype, got bool"),
        (lambda y: y.astype(int), TypeError, "real numbers of a float dtype, got int32"),
        (lambda y: (y, y), TypeError, "gives one array, got 2 outputs"),
        (lambda y: {"z": y}, TypeError, "gives one array, got dict"),
        (lambda y, scale: scale * y, TypeError, "missing a required argument: 'scale'.*functools.partial"),
        (lambda: 1.0, TypeError, "too many positional arguments"),
        (math.tanh, TypeError, "'tanh': expected a function JAX can trace.*jax.numpy"),
        (np.tanh, TypeError, "'tanh': expected a function JAX can trace.*jax.numpy"),
        (lambda y: y if y > 0 else 0 * y, TypeError, "jnp.where in place of if"),
        (lambda y: jax.pure_callback(np.tanh, y, y), TypeError, "JAX can differentiate"),
        (lambda y: jnp.where(y > 0, jnp.sqrt(y), 0), ValueError, "steepest slope is inf.*pass a="),
        (lambda y: jnp.sqrt(jnp.maximum(y, 1e-30)), ValueError, "steepest slope is inf.*pass a="),
        (lambda y: jnp.sqrt(jnp.abs(y - 0.3)), ValueError, "steepest slope is inf.*pass a="),
        (lambda y: jnp.cbrt(y - 50.0), ValueError, "steepest slope is inf.*pass a="),
        (jnp.log, ValueError, "steepest slope is inf.*pass a="),
    ],
)
def test_what_is_no_activation_is_refused_in_one_line(fn, error, message):
    with pytest.raises(error, match=message) as caught:
        parametric(fn)
    assert "\n" not in str(caught.value)


class Own(nnx.Module):
    def __init__(self):
        self.slope = nnx.Param(jnp.ones(()))

    def call(self, y):
        return self.slope[...] * y


@pytest.mark.parametrize(
    "make",
    [
        nnx.PReLU,
        linen.PReLU,
        lambda: Own().call,
        lambda: linen.PReLU().__call__,
        lambda: functools.partial(nnx.PReLU()),
        lambda: functools.partial(Own().call),
        lambda: functools.partial(lambda module, y: module(y), nnx.PReLU()),
        lambda: functools.partial(lambda y, module: module(y), module=linen.PReLU()),
    ],
    ids=["nnx", "linen", "method", "linen method", "partial", "partial method", "argument", "keyword"],
)
def test_modules_are_refused(make):
    with pytest.raises(
        TypeError, match=r"got the Flax module (PReLU|Own), and its parameters would be frozen; pass a pure"
    ):
        parametric(make(), a=1.0)


def test_steep_but_bounded_slopes_are_bounded():
    for fn, slope in [(lambda y: jnp.tanh(1000 * y), 1000), (lambda y: jnp.tanh(300 * (y - 0.3)), 300), (own, 1.0)]:
        assert activation(fn).steepest_slope == pytest.approx(slope, rel=1e-3)
