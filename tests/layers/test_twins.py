"""The nnx and the linen layer are one function: values and gradients, with the same params."""

import copy
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as flax_linen
from flax import nnx as flax_nnx

from paramact_jax.activations import Activation, catalogue
from paramact_jax.layers import linen, nnx

shaped = Activation(
    name="shaped",
    fn=lambda y, *, low, high: jnp.where(y < 0, low * y, high * y),
    derivative=lambda y, *, low, high: jnp.where(y < 0, low, high),
    partials={"low": lambda y, **_: jnp.where(y < 0, y, 0), "high": lambda y, **_: jnp.where(y < 0, 0, y)},
    params={"low": 0.25, "high": 1.0},
    steepest_slope=1.0,
    range=(-np.inf, np.inf),
    formula="low y if y < 0 else high y",
    source="test",
)
ONE_DEVICE = jax.sharding.Mesh(jax.devices()[:1], ("model",))
SHARINGS = {
    "node": ({"features": 3}, (4, 3)),
    "node in a sequence": ({"features": 3}, (2, 4, 3)),
    "layer": ({"sharing": "layer"}, (4, 3)),
    "channel": ({"features": 3, "sharing": "channel"}, (2, 5, 4, 3)),
    "channel first": ({"features": (3, 5, 4), "sharing": "channel", "channel_axis": -3}, (2, 3, 5, 4)),
    "element": ({"features": (5, 4, 3), "sharing": "element"}, (2, 5, 4, 3)),
}


def twins(f, shape, of_input="float32", **settings):
    """Both layers with the same random params, as functions of (learned, held, y), and those."""
    of_nnx = nnx.Parametric(f, **settings)
    of_linen = linen.Parametric(f, **settings)
    random = np.random.default_rng(0)
    y = jnp.asarray(random.normal(size=shape), of_input)
    variables = of_linen.init(jax.random.key(0), y)
    learned, held = (
        {name: p + jnp.asarray(random.normal(0, 0.3, p.shape), p.dtype) for name, p in variables.get(part, {}).items()}
        for part in ("params", linen.FROZEN_COLLECTION)
    )
    graphdef, learned_state, held_state = flax_nnx.split(of_nnx, nnx.ActivationParam, nnx.FrozenParam)
    assert set(learned_state) == set(learned)
    assert set(held_state) == set(held)

    def call_nnx(learned, held, y):
        for state, values in ((learned_state, learned), (held_state, held)):
            flax_nnx.replace_by_pure_dict(state, values)
        return flax_nnx.merge(graphdef, learned_state, held_state)(y)

    def call_linen(learned, held, y):
        return of_linen.apply({"params": learned, linen.FROZEN_COLLECTION: held}, y)

    return call_nnx, call_linen, (learned, held, y)


def value_and_gradients(call, args):
    return call(*args), jax.grad(lambda *args: (call(*args).astype(jnp.float32) ** 2).sum(), argnums=(0, 1, 2))(*args)


@pytest.mark.parametrize(
    "f", ["tanh", "ppns", "parametric_relu", shaped], ids=["tanh", "ppns", "parametric_relu", "shaped"]
)
@pytest.mark.parametrize("sharing", SHARINGS)
def test_values_and_gradients_agree(f, sharing):
    settings, shape = SHARINGS[sharing]
    call_nnx, call_linen, args = twins(f, shape, **settings)
    chex.assert_trees_all_equal(value_and_gradients(call_nnx, args), value_and_gradients(call_linen, args))
    chex.assert_shape(call_nnx(*args), shape)
    for p in jax.tree.leaves(value_and_gradients(call_nnx, args)[1][0]):
        assert p.any()


@pytest.mark.parametrize(
    ("input_dtype", "dtype", "param_dtype", "out"),
    [
        ("bfloat16", None, "float32", "bfloat16"),
        ("float16", None, "float32", "float16"),
        ("float32", None, "bfloat16", "float32"),
        ("float32", "bfloat16", "float32", "bfloat16"),
        ("float64", None, "float32", "float64"),
        ("float32", None, "float64", "float32"),
    ],
)
def test_dtypes_agree(input_dtype, dtype, param_dtype, out, x64):
    call_nnx, call_linen, args = twins("ppns", (4, 3), input_dtype, features=3, dtype=dtype, param_dtype=param_dtype)
    chex.assert_trees_all_equal(value_and_gradients(call_nnx, args), value_and_gradients(call_linen, args))
    value, (of_params, _, of_y) = value_and_gradients(call_nnx, args)
    assert value.dtype == out
    assert {p.dtype for p in jax.tree.leaves((args[0], of_params))} == {jnp.dtype(param_dtype)}
    assert of_y.dtype == input_dtype


@pytest.mark.parametrize("sharing", SHARINGS)
def test_values_and_gradients_equal_the_records_closed_forms(sharing, x64):
    settings, shape = SHARINGS[sharing]
    call, _, args = twins("tanh", shape, "float64", **settings, param_dtype="float64")
    learned, _, y = args
    record = catalogue.get("parametric_tanh")
    where = {"channel first": (1, 3, 1, 1), "element": (1, 5, 4, 3), "layer": (1, 1)}
    spread = {n: p.reshape(where.get(sharing, (1,) * (len(shape) - 1) + (3,))) for n, p in learned.items()}
    value, pull_back = jax.vjp(call, *args)
    of_params, _, of_y = pull_back(jnp.ones_like(value))
    chex.assert_trees_all_close(value, record(y, **spread), rtol=1e-12)
    chex.assert_trees_all_close(of_y, record.derivative(y, **spread), rtol=1e-10)
    for name, p in spread.items():
        partial = jnp.broadcast_to(record.partials[name](y, **spread), shape)
        shared = tuple(axis for axis, size in enumerate(p.shape) if size == 1)
        expected = partial.sum(shared).reshape(learned[name].shape)
        chex.assert_trees_all_close(of_params[name], expected, rtol=1e-10)


def test_gradients_at_the_kink_are_the_documented_ones():
    settings = {"features": 1, "initial": {"a": 2.0}}
    for f, slope in [(catalogue.get("relu"), 0.0), ("relu", 2.0), ("relu_from_right", 2.0)]:
        of_nnx, of_linen = nnx.Parametric(f, **settings), linen.Parametric(f, **settings)
        variables = of_linen.init(jax.random.key(0), jnp.zeros(1))
        for call in (of_nnx, lambda y, layer=of_linen, v=variables: layer.apply(v, y)):
            assert jax.grad(lambda y, call=call: call(y).sum())(jnp.zeros(1)).tolist() == [slope]


@pytest.mark.parametrize("trainable", [("a",), ("b",), ()], ids=str)
def test_what_is_not_trainable_is_held(trainable):
    call_nnx, call_linen, args = twins("tanh", (4, 3), features=3, trainable=trainable)
    assert set(args[0]) == set(trainable)
    assert set(args[1]) == {"a", "b"} - set(trainable)
    chex.assert_trees_all_equal(call_nnx(*args), call_linen(*args))
    layer = nnx.Parametric("tanh", 3, trainable=trainable)
    assert set(flax_nnx.state(layer, flax_nnx.Param)) == set(trainable)
    gradient = flax_nnx.grad(lambda layer: layer(jnp.ones((2, 3))).sum())(layer)
    assert set(gradient) == set(trainable)


@pytest.mark.parametrize("trainable", [("a", "b"), ()], ids=["learned", "held"])
def test_start_values_from_initialisers(trainable):
    initial = {"a": jax.nn.initializers.normal(2.0), "b": np.arange(3)}
    settings = {"features": 3, "initial": initial, "trainable": trainable, "param_dtype": "bfloat16"}
    layer = nnx.Parametric("tanh", **settings, rngs=flax_nnx.Rngs(0))
    variables = linen.Parametric("tanh", **settings).init(jax.random.key(0), jnp.ones(3))
    held = variables["params" if trainable else "frozen"]
    for a, b in [(layer.a[...], layer.b[...]), (held["a"], held["b"])]:
        assert a.dtype == b.dtype == jnp.bfloat16
        assert len(set(a.tolist())) == 3
        assert b.tolist() == [0, 1, 2]
    assert layer.a[...].tolist() != nnx.Parametric("tanh", **settings, rngs=flax_nnx.Rngs(1)).a[...].tolist()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"features": 3, "trainable": ("c",)}, ValueError, r"trainable names among a, b, got \['c'\]"),
        ({"features": 3, "trainable": "a"}, TypeError, "tuple of names, got 'a'"),
        ({"features": 3, "initial": {"c": 1.0}}, ValueError, r"start values for a, b, got \['c'\]"),
        ({"features": 3, "initial": {"a": np.nan}}, ValueError, "expected a finite start value for a, got nan"),
        ({"features": 3, "initial": {"a": np.ones(1)}}, ValueError, r"\(\) or \(3,\) for a, got \(1,\)"),
        ({"features": 3, "initial": {"a": lambda *_: np.ones(1)}}, ValueError, r"shape \(3,\) for a, got \(1,\)"),
        ({"sharing": "layer", "initial": {"a": np.ones(3)}}, ValueError, r"shape \(\) for a, got \(3,\).*'layer'"),
        ({"features": 3, "param_dtype": "int32"}, TypeError, "param_dtype to be a float dtype, got int32"),
        ({"features": 3, "dtype": "int32"}, TypeError, "expected dtype to be a float dtype, got int32"),
        ({"features": (4, 3)}, ValueError, "one size"),
        ({"features": 4}, ValueError, r"size 4, got shape \(2, 3\); build the layer with features=3"),
    ],
)
def test_both_refuse_alike(settings, error, message):
    y = jnp.ones((2, 3))
    with pytest.raises(error, match=message):
        nnx.Parametric("tanh", **settings, rngs=flax_nnx.Rngs(0))(y)
    with pytest.raises(error, match=message):
        linen.Parametric("tanh", **settings).init(jax.random.key(0), y)


@pytest.mark.parametrize("trainable", [("a", "b"), ()], ids=["learned", "held"])
def test_initialisers_may_name_axes_of_a_mesh(trainable):
    ones, settings = jax.nn.initializers.ones, {"features": 3, "trainable": trainable}
    of_axis = flax_nnx.with_partitioning(ones, ("model",), mesh=ONE_DEVICE)
    layer = nnx.Parametric("tanh", initial={"a": of_axis}, rngs=flax_nnx.Rngs(0), **settings)
    assert layer.a[...].tolist() == [1.0] * 3
    assert ("model",) in layer.a.get_metadata().values()
    of_linen = linen.Parametric("tanh", initial={"a": flax_linen.with_partitioning(ones, ("model",))}, **settings)
    variables = of_linen.init(jax.random.key(0), jnp.ones(3))
    held = variables["params" if trainable else "frozen"]["a"]
    assert (held.names, held.value.tolist()) == (("model",), [1.0] * 3)
    assert of_linen.apply(variables, jnp.ones(3)).tolist() == layer(jnp.ones(3)).tolist()
    with pytest.raises(ValueError, match=r"shape \(3,\) for a, got \(1,\)"):
        wrong = flax_nnx.with_partitioning(lambda *_: np.ones(1), ("model",))
        nnx.Parametric("tanh", initial={"a": wrong}, rngs=flax_nnx.Rngs(0), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"trainable": ["a"]},
        {"trainable": {"a"}, "features": np.array(3)},
        {"initial": {"a": np.ones(3), "b": jax.nn.initializers.zeros}},
        {"initial": {"a": jnp.ones(3), "b": [0, 1, 2]}, "features": [3]},
        {"initial": {"a": 2.0}, "features": np.array([3])},
    ],
    ids=["a list", "a set", "arrays", "lists", "numbers"],
)
def test_linen_layers_can_be_hashed_copied_and_pickled(settings):
    one, other = (linen.Parametric("tanh", **{"features": 3} | settings) for _ in range(2))
    assert hash(one) == hash(other)
    assert one == other
    assert one != linen.Parametric("tanh", 3, initial={"a": 5.0})
    variables = jax.jit(one.init)(jax.random.key(0), jnp.ones(3))
    for again in (other, copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one.clone()):
        chex.assert_trees_all_equal(again.init(jax.random.key(0), jnp.ones(3)), variables)


class InCall(flax_linen.Module):
    @flax_linen.compact
    def __call__(self, y):
        return linen.Parametric(lambda y: y / (1 + jnp.abs(y)), 3)(y)


def test_a_new_function_in_a_linen_call_works_under_jit():
    variables = jax.jit(InCall().init)(jax.random.key(0), jnp.ones(3))
    assert variables["params"]["Parametric_0"]["a"].tolist() == [1.5] * 3
    chex.assert_trees_all_close(jax.jit(InCall().apply)(variables, jnp.ones(3)), jnp.full(3, 0.75))


@pytest.mark.parametrize("features", [np.int64(3), np.array(3), np.array([3]), [3], jnp.int32(3)], ids=repr)
def test_features_may_be_of_numpy(features):
    for layer in (nnx.Parametric("tanh", features), linen.Parametric("tanh", features)):
        y = jnp.ones((2, 3))
        z = layer(y) if isinstance(layer, flax_nnx.Module) else layer.init_with_output(jax.random.key(0), y)[0]
        assert z.shape == (2, 3)
    assert nnx.Parametric("tanh", np.array([2, 4, 3]), sharing="element").a.shape == (2, 4, 3)
    with pytest.raises(TypeError, match="whole number or a tuple"):
        nnx.Parametric("tanh", np.array([3.0]))


def test_both_refuse_integers_and_nnx_an_initialiser_without_keys():
    layer = linen.Parametric("tanh", 3)
    with pytest.raises(TypeError, match="float dtype, got int32; cast it"):
        layer.apply(layer.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3, "int32"))
    with pytest.raises(TypeError, match="float dtype, got int32; cast it"):
        nnx.Parametric("tanh", 3)(jnp.ones(3, "int32"))
    with pytest.raises(ValueError, match="pass rngs"):
        nnx.Parametric("tanh", 3, initial={"a": jax.nn.initializers.ones})


@pytest.mark.parametrize(("f", "a"), [("tanh", 1.0), ("relu", 2**0.5), ("ppns", 4.0), (lambda y: 2 * jnp.tanh(y), 0.5)])
def test_a_starts_at_the_critical_gain_in_both_and_under_jit(f, a):
    settings = {"features": 3, "initial": {"a": "critical", "b": 0.25}}
    layer = nnx.Parametric(f, **settings)
    np.testing.assert_allclose(layer.a[...], a, rtol=1e-6)
    twin = linen.Parametric(f, **settings)
    params = jax.jit(twin.init)(jax.random.key(0), jnp.zeros((2, 3)))["params"]
    np.testing.assert_allclose(params["a"], a, rtol=1e-6)
    assert params["b"].tolist() == layer.b[...].tolist() == [0.25] * 3
    with pytest.raises(ValueError, match="or 'critical' as the start value of a, got 'best'"):
        nnx.Parametric(f, 3, initial={"a": "best"})
