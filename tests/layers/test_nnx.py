"""Parametric: one a and one b per feature, in Flax params."""

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from paramact_jax.activations import catalogue, parametric, pn_sigmoid, ppns
from paramact_jax.layers.nnx import Parametric
from paramact_jax.networks import MLP


def arctan(y):
    return jnp.arctan(y)


@pytest.mark.parametrize(
    ("f", "name", "a"),
    [
        ("sigmoid", "parametric_sigmoid", 6.0),
        ("ppns", "ppns", 6.0),
        (pn_sigmoid, "parametric_pn_sigmoid", 6.0),
        (ppns, "ppns", 6.0),
        (parametric(arctan, a=2.0), "parametric_arctan", 2.0),
        (arctan, "parametric_arctan", 1.5),
    ],
    ids=["name", "parametric name", "record", "parametric record", "own record", "function"],
)
def test_from_name_record_or_function(f, name, a):
    layer = Parametric(f, features=3)
    assert layer.activation.name == name
    chex.assert_trees_all_close((layer.a[...], layer.b[...]), (jnp.full(3, a), jnp.zeros(3)))
    y = jnp.linspace(-2, 2, 12).reshape(4, 3)
    chex.assert_trees_all_equal(layer(y), layer.activation(y, a=jnp.full((1, 3), layer.a[0]), b=jnp.zeros((1, 3))))


def test_every_feature_has_its_own_a_and_b():
    layer = Parametric("relu_from_right", 3, initial={"a": [1, 2, 3], "b": [0, 1, 4]})
    chex.assert_trees_all_close(layer(jnp.full((2, 3), 3.0)), jnp.array([[3.0, 4.0, 0.0]] * 2))


@pytest.mark.parametrize(
    ("dtype", "param_dtype"), [("bfloat16", "float32"), ("float16", "float32"), ("float32", "bfloat16")]
)
def test_dtype_that_comes_out_is_the_one_that_went_in(dtype, param_dtype):
    layer = Parametric("tanh", 3, param_dtype=param_dtype)
    chex.assert_type([layer.a[...], layer.b[...]], param_dtype)
    chex.assert_type(layer(jnp.ones((2, 3), dtype)), dtype)
    gradient = nnx.grad(lambda layer: layer(jnp.ones((2, 3), dtype)).sum())(layer)
    chex.assert_type([gradient.a[...], gradient.b[...]], param_dtype)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)], ids=str)
def test_leading_axes_share_the_parameters(shape):
    layer = Parametric("ppns", 3, initial={"a": [1, 2, 3], "b": [0, 1, 2]})
    y = jax.random.normal(jax.random.key(0), shape)
    chex.assert_shape(layer(y), shape)
    chex.assert_trees_all_close(layer(y).reshape(-1, 3), jnp.stack([layer(row) for row in y.reshape(-1, 3)]))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Parametric("tahn", 3), ValueError, "did you mean tanh"),
        (lambda: Parametric(1.5, 3), TypeError, "elementwise function of one array, got float"),
        (lambda: Parametric("tanh", 3, initial={"c": 1.0}), ValueError, r"start values for a, b, got one for \['c'\]"),
        (lambda: Parametric("tanh", 3, initial={"a": jnp.ones(4)}), ValueError, r"\(\) or \(3,\) for a, got \(4,\)"),
        (lambda: Parametric("tanh", 3, initial={"b": jnp.ones((1, 3))}), ValueError, r"for b, got \(1, 3\)"),
        (lambda: Parametric("tanh", 3)(jnp.ones((3, 4))), ValueError, r"size 3, got shape \(3, 4\).* features=4"),
        (lambda: Parametric("tanh", 3)(jnp.float32(1)), ValueError, r"size 3, got shape \(\)"),
        (lambda: Parametric("tanh", 3)(jnp.ones(3, int)), (TypeError, ValueError), "float"),
    ],
    ids=["name", "no function", "unknown initial", "long initial", "deep initial", "features", "scalar", "integers"],
)
def test_errors_say_what_was_expected(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("f", ["tanh", "ppns", pn_sigmoid, arctan], ids=["name", "ppns", "record", "function"])
def test_models_built_alike_share_one_compilation(f):
    traces = []

    @nnx.jit
    def call(layer, y):
        traces.append(1)
        return layer(y)

    layers = [Parametric(f, 3), Parametric(f, 3, initial={"a": 7.0})]
    assert nnx.graphdef(layers[0]) == nnx.graphdef(layers[1])
    outputs = [call(layer, jnp.ones((2, 3))) for layer in layers]
    assert len(traces) == 1
    assert (outputs[0] != outputs[1]).all()


def test_networks_built_alike_have_equal_graphdefs():
    first, second = (nnx.graphdef(MLP(2, [2, 2], 1, "ppns", rngs=nnx.Rngs(seed))) for seed in (0, 1))
    assert first == second
    assert hash(first) == hash(second)
    assert first != nnx.graphdef(MLP(2, [2, 2], 1, "parametric_tanh", rngs=nnx.Rngs(0)))


def test_a_and_b_of_every_layer_receive_gradients():
    model = MLP(2, [3, 3], 1, "ppns", rngs=nnx.Rngs(0))
    _, gradient = nnx.value_and_grad(lambda model: (model(jnp.array([[0.3, 1.0], [1.0, -2.0]])) ** 2).mean())(model)
    for layer in gradient["hidden"].values():
        assert layer["activation"]["a"][...].all()
        assert layer["activation"]["b"][...].all()


def test_the_name_of_a_function_means_the_papers_parametric_form():
    """Parametric ReLU of [P, Table 1] has slope a at its kink; a plain transform of ReLU has slope 0 there."""
    layer = Parametric("relu", 1)
    assert layer.activation is catalogue.get("parametric_relu")
    assert float(jax.grad(lambda y: layer(y[None])[0])(jnp.float32(0.0))) == 1.5
    assert Parametric("sigmoid", 1).activation is catalogue.get("parametric_sigmoid")
