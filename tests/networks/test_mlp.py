"""The Flax model and the pure function of its params are one network."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.activations import catalogue, parametric, ppns, tanh
from paramact_jax.activations.hexpo import hexpo_of_layer
from paramact_jax.networks import MLP, forward, forward_with_values, params_of, with_activation, with_params

WIDE = [9, 20]


def mlp(activation, seed=0, widths=WIDE):
    """A model in float64 whose biases and activation parameters are all different."""
    model = MLP(3, widths, 2, activation, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))
    random = np.random.default_rng(seed)
    moved = jax.tree.map(lambda p: np.asarray(p) + random.normal(0, 0.1, p.shape), params_of(model))
    return with_params(model, moved)


def assert_close(actual, expected):
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture
def x(x64):
    return jnp.asarray(np.random.default_rng(7).normal(size=(4, 3)))


QUICK = ("sigmoid", "relu", "ppns", "hexpo", "parametric_hexpo", "parametric_relu")


@pytest.mark.parametrize(
    "record",
    [
        *(
            pytest.param(catalogue.get(name), marks=[] if name in QUICK else [pytest.mark.slow])
            for name in catalogue.names()
        ),
        parametric(jnp.arctan),
    ],
    ids=lambda f: f.name,
)
def test_model_and_pure_function_agree(record, x):
    model = mlp(record)

    @nnx.jit
    def of_both(model, params):
        of_params = forward(params, x, record), jax.grad(lambda p: (forward(p, x, record) ** 2).sum())(params)
        return of_params, (model(x), nnx.grad(lambda model: (model(x) ** 2).sum())(model))

    of_params, (z, gradient) = of_both(model, params_of(model))
    chex.assert_shape(z, (4, 2))
    assert_close(of_params, (z, nnx.to_pure_dict(gradient)))


@pytest.mark.parametrize("widths", [[], [1], [8, 8]], ids=str)
def test_model_and_pure_function_agree_at_other_depths(widths, x):
    model = mlp(ppns, 0, widths)
    assert_close(jax.jit(forward, static_argnums=2)(params_of(model), x, ppns), model(x))


def test_with_params_puts_params_into_a_copy():
    model = MLP(2, [3], 1, ppns, rngs=nnx.Rngs(0))
    before = params_of(model)
    other = jax.tree.map(lambda p: p + 1, before)
    chex.assert_trees_all_equal(params_of(with_params(model, other)), other)
    chex.assert_trees_all_equal(params_of(model), before)
    x = jnp.ones((4, 2))
    assert_close(with_params(model, other)(x), forward(other, x, ppns))


def test_with_params_refuses_params_of_another_network():
    with pytest.raises(ValueError, match="activation"):
        with_params(MLP(2, [3], 1, tanh, rngs=nnx.Rngs(0)), params_of(MLP(2, [3], 1, ppns, rngs=nnx.Rngs(0))))


@pytest.mark.parametrize("trials", [(), (4,)], ids=["one trial", "trials"])
def test_with_activation_keeps_the_weights_and_gives_start_values(trials):
    params = params_of(MLP(2, [3, 5], 1, "identity", rngs=nnx.Rngs(0)))
    params = jax.tree.map(lambda p: jnp.broadcast_to(p.reshape(p.shape + (1,) * len(trials)), p.shape + trials), params)
    changed = with_activation(params, ppns, {"b": 0.5})
    for i, width in enumerate([3, 5]):
        ones = jnp.ones((width, *trials))
        chex.assert_trees_all_equal(changed["hidden"][i]["activation"], {"a": 6 * ones, "b": 0.5 * ones})
    chex.assert_trees_all_equal(with_activation(changed, tanh), params)


@pytest.mark.parametrize("name", catalogue.names())
def test_initial_weights_do_not_depend_on_the_activation(name):
    def params(activation):
        return params_of(MLP(2, [3, 5], 1, activation, rngs=nnx.Rngs(3)))

    chex.assert_trees_all_equal(params(name), with_activation(params("identity"), catalogue.get(name)))


def test_default_initial_weights_are_normal_over_the_root_of_fan_in():
    linear = MLP(100, [400], 1, tanh, rngs=nnx.Rngs(0)).hidden[0].linear
    assert float(linear.kernel[...].std()) == pytest.approx(0.1, rel=0.02)
    assert not linear.bias[...].any()


def test_start_values_param_dtype_and_leading_axes():
    model = MLP(2, [3], 1, "ppns", initial={"a": jnp.arange(3.0)}, param_dtype=jnp.float16, rngs=nnx.Rngs(0))
    assert model.hidden[0].activation.a[...].tolist() == [0, 1, 2]
    assert {p.dtype for p in jax.tree.leaves(params_of(model))} == {jnp.dtype("float16")}
    chex.assert_shape(model(jnp.zeros((6, 4, 2), jnp.float16)), (6, 4, 1))
    with pytest.raises(ValueError, match="unknown activation"):
        MLP(2, [3], 1, "pns", rngs=nnx.Rngs(0))


def test_start_values_a_network_has_no_place_for_are_refused():
    with pytest.raises(ValueError, match=r"tanh: expected start values for \[\], got \['a'\]"):
        MLP(2, [2], 1, "tanh", initial={"a": 3.0}, rngs=nnx.Rngs(0))
    params = params_of(MLP(2, [2], 1, "tanh", rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="ppns: expected start values for"):
        with_activation(params, catalogue.get("ppns"), {"beta": 1.0})


def test_params_of_another_shape_are_refused_by_their_path():
    model = MLP(2, [2], 1, "ppns", rngs=nnx.Rngs(0))
    stacked = jax.tree.map(lambda x: jnp.stack([x] * 3), params_of(model))
    with pytest.raises(ValueError, match=r"\['activation'\]\['a'\]: expected shape \(2,\), got \(3, 2\)"):
        with_params(model, stacked)
    plain = params_of(MLP(2, [2], 1, "tanh", rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"\['a'\]: expected shape \(2,\), got none"):
        with_params(model, plain)


HEXPO_BY_LAYER = [hexpo_of_layer(i) for i in (1, 2, 3)]


def test_each_hidden_layer_may_have_a_record_of_its_own(x):
    model = MLP(3, [4, 4, 4], 2, HEXPO_BY_LAYER, rngs=nnx.Rngs(0))
    assert [float(layer.activation.positive_height[0]) for layer in model.hidden] == [1.5, 2.0, 2.5]
    np.testing.assert_allclose(forward(params_of(model), x, HEXPO_BY_LAYER), model(x), rtol=1e-5)


def test_parameters_that_are_not_learned_are_held_at_their_start_values(x):
    frozen = MLP(3, [4, 4, 4], 2, HEXPO_BY_LAYER, trainable=(), rngs=nnx.Rngs(0))
    learned = MLP(3, [4, 4, 4], 2, HEXPO_BY_LAYER, rngs=nnx.Rngs(0))
    assert all("activation" not in layer for layer in params_of(frozen)["hidden"].values())
    np.testing.assert_array_equal(frozen(x), learned(x))
    np.testing.assert_allclose(forward(params_of(frozen), x, HEXPO_BY_LAYER), frozen(x), rtol=1e-5)


def test_another_number_of_activations_than_of_layers_is_refused(x):
    with pytest.raises(ValueError, match="one activation for each of 2 hidden layers, got 3"):
        MLP(3, [4, 4], 2, HEXPO_BY_LAYER, rngs=nnx.Rngs(0))
    model = MLP(3, [4, 4, 4], 2, "tanh", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="one activation for each of 3 hidden layers, got 2"):
        forward(params_of(model), x, [tanh, tanh])


def test_values_on_the_way_and_the_gradient_by_the_first(x, x64):
    model = mlp(ppns, widths=[4, 5])
    params = params_of(model)
    outputs, (first, second) = forward_with_values(params, x, ppns)
    np.testing.assert_allclose(outputs, model(x))
    np.testing.assert_allclose(first, model.hidden[0].linear(x))
    np.testing.assert_allclose(second, model.hidden[1].linear(model.hidden[0](x)))

    def loss(added):
        return jnp.sum(forward_with_values(params, x, ppns, added=added)[0] ** 2)

    def rest(first):
        return jnp.sum(model.out(model.hidden[1](model.hidden[0].activation(first))) ** 2)

    np.testing.assert_allclose(jax.grad(loss)(jnp.zeros_like(first)), jax.grad(rest)(first))
