"""Parametric: one a and one b per feature, in Flax params."""

import copy
import dataclasses
import functools
import gc
import pickle
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import paramact_jax as pa
from paramact_jax.activations import Activation, activation, catalogue, parametric, pn_sigmoid, ppns
from paramact_jax.layers import elementwise
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


def test_a_function_that_promotes_does_not_change_the_dtype():
    def promotes(y):
        return y * jnp.float32(2)

    by_hand = dataclasses.replace(parametric(promotes, a=1.0), fn=lambda y, a, b: jnp.float32(1) * y)
    for f in (promotes, by_hand):
        for layer in (Parametric(f, 3), Parametric(f, 3, dtype="float16")):
            expected = layer.elementwise.dtype or "bfloat16"
            chex.assert_type(layer(jnp.ones((2, 3), "bfloat16")), expected)
        carry, _ = jax.lax.scan(lambda y, _, f=f: (Parametric(f, 3)(y), None), jnp.ones(3, "bfloat16"), length=2)
        chex.assert_type(carry, "bfloat16")


@pytest.mark.parametrize(
    "layer",
    [Parametric("tanh", 3), Parametric("ppns", (4, 3), sharing="element", trainable=["a"]), Parametric("gelu", 3)],
    ids=["tanh", "ppns", "gelu"],
)
def test_layers_can_be_copied_and_pickled(layer):
    copied, pickled = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    assert nnx.graphdef(copied) == nnx.graphdef(layer)
    y = jax.random.normal(jax.random.key(0), (2, 4, 3))
    for again in (copied, pickled):
        chex.assert_trees_all_equal(again(y), layer(y))
        assert again.a is not layer.a
    layer.a[...] = layer.a[...] + 1
    assert not (copied(y) == layer(y)).all()
    network = MLP(2, [3], 1, "ppns", rngs=nnx.Rngs(0))
    chex.assert_trees_all_equal(pickle.loads(pickle.dumps(network))(jnp.ones((2, 2))), network(jnp.ones((2, 2))))


def test_layers_of_a_lambda_can_be_copied():
    layer = Parametric(lambda y: 2 * y, 3)
    chex.assert_trees_all_equal(copy.deepcopy(layer)(jnp.ones(3)), layer(jnp.ones(3)))


def test_layers_of_new_functions_can_be_built_while_jax_traces():
    def build(x):
        return Parametric(lambda y: y / (1 + jnp.abs(y)), 3)(x).sum()

    assert float(jax.jit(build)(jnp.ones(3))) == 3 * 1.5 * 0.5
    assert jax.grad(build)(jnp.ones(3)).tolist() == [1.5 * 0.25] * 3
    assert nnx.eval_shape(lambda: Parametric(lambda y: jnp.sin(y), 3)).a.shape == (3,)  # noqa: PLW0108 - a new function
    results = pa.sweep(lambda key, x: {"z": build(jnp.full(3, x))}, range(2), axes={"x": [1.0, 3.0]})
    np.testing.assert_allclose(np.sort(results["z"].values.ravel()), [2.25, 2.25, 3.375, 3.375])


def test_a_layer_of_a_traced_value_needs_a_start_value():
    def use(t, **settings):
        return Parametric(lambda y: jnp.tanh(t * y), 3, **settings)(jnp.ones(3)).sum()

    with pytest.raises(ValueError, match=r"not known; pass a start value, a=... or a layer's initial="):
        jax.jit(use)(2.0)
    with jax.checking_leaks():
        assert jax.jit(functools.partial(use, initial={"a": 2.0}))(2.0) == pytest.approx(6 * np.tanh(2.0))
    assert Parametric(jnp.square, 3, initial={"a": 0.5})(jnp.full(3, 2.0)).tolist() == [2.0] * 3


def test_functions_are_not_kept_for_ever(monkeypatch):
    of_tanh = activation(jnp.tanh)
    monkeypatch.setattr(elementwise, "activation", lambda f: of_tanh)
    functions = [lambda y, i=i: (i + 1) * y for i in range(300)]
    kept = [weakref.ref(f) for f in functions if Parametric(f, 2)]
    del functions
    gc.collect()
    assert sum(f() is not None for f in kept) == 256


def test_modules_are_refused():
    with pytest.raises(TypeError, match="got the Flax module PReLU, and its parameters would be frozen"):
        Parametric(nnx.PReLU(), 3)


def test_parameters_may_be_called_like_attributes():
    names = ("features", "activation", "train", "name", "dtype", "f")
    record = Activation(
        name="named",
        fn=lambda y, **params: sum(params.values()) * y,
        derivative=lambda y, **params: sum(params.values()) + 0 * y,
        partials={name: lambda y, **_: y for name in names},
        params=dict.fromkeys(names, 1.0),
        steepest_slope=6.0,
        range=(-np.inf, np.inf),
        formula="sum(params) y",
        source="test",
    )
    of_nnx, of_linen = Parametric(record, 3, initial={"features": 2.0}), pa.linen.Parametric(record, 3)
    assert of_nnx(jnp.ones(3)).tolist() == [7.0] * 3
    variables = of_linen.init(jax.random.key(0), jnp.ones(3))
    assert of_linen.apply(variables, jnp.ones(3)).tolist() == [6.0] * 3
    stored = {f"{name}_" for name in names}
    assert set(variables["params"]) == set(nnx.state(of_nnx, nnx.Param)) == stored
    assert (of_nnx.features, of_nnx.activation) == (3, record)


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
        (lambda: Parametric("tanh", 3, initial={"c": 1.0}), ValueError, r"start values for a, b, got \['c'\]"),
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
