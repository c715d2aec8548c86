"""Perceptrons: the split of a gradient's decay into its two causes, and the state of the units."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.activations import catalogue
from paramact_jax.gradients import Cause, attribute, causes_of
from paramact_jax.networks import MLP, params_of, with_params
from tests.gradients import oracle
from tests.gradients.agreement import inputs

pytestmark = pytest.mark.usefixtures("unoptimised")


def mse(outputs):
    return ((outputs - 0.3) ** 2).mean()


def gradients_at_y(model, x, loss):
    """dL/dy^(l), l = 1 .. K+1, by autodiff: the gradient of what is added to each y."""

    class Added(nnx.Module):
        def __init__(self, linear, shape):
            self.linear, self.added = linear, nnx.Variable(jnp.zeros(shape, x.dtype))

        def __call__(self, z):
            return self.linear(z) + self.added[...]

    model = nnx.clone(model)
    for layer in model.hidden:
        layer.linear = Added(layer.linear, (len(x), layer.linear.out_features))
    model.out = Added(model.out, (len(x), model.out.out_features))
    gradients = nnx.grad(lambda model: loss(model(x)), argnums=nnx.DiffState(0, nnx.Variable))(model)
    gradients = nnx.to_pure_dict(gradients)
    return [gradients["hidden"][i]["linear"]["added"] for i in range(len(model.hidden))] + [gradients["out"]["added"]]


def decay_and_gradients(model, x, loss):
    """Computes the decay, and the gradients at y, in one compiled call."""
    run = jax.jit(lambda x: (attribute(model, x, loss=loss).decay, gradients_at_y(model, x, loss)))
    return jax.tree.map(np.asarray, run(x))


QUICK = [("ppns", "float64")]


@pytest.mark.parametrize(
    ("name", "hidden", "dtype"),
    [
        *(
            pytest.param(name, [3, 5, 4], dtype, marks=[] if (name, dtype) in QUICK else [pytest.mark.slow])
            for name in ("sigmoid", "ppns", "leaky_relu")
            for dtype in ("float32", "float64")
        ),
        ("sigmoid", [4], "float64"),
        pytest.param("ppns", [8] * 50, "float32", marks=pytest.mark.slow),
        pytest.param("ppns", [8] * 15, "float64", marks=pytest.mark.slow),
    ],
)
def test_the_two_causes_add_up_to_the_whole_as_autodiff_sees_it(name, hidden, dtype, x64):
    model, x = MLP(3, hidden, 2, name, param_dtype=dtype, rngs=nnx.Rngs(3)), inputs(8, 3, dtype)
    found, gradients = decay_and_gradients(model, x, mse)
    chex.assert_shape([found.linear, found.activation, found.cause], (len(hidden),))
    chex.assert_shape([found.log_norm, found.non_finite], (len(hidden) + 1,))
    eps = float(jnp.finfo(dtype).eps)
    # To rounding: each is a difference of logarithms as large as log_norm.
    rounding = 4 * eps * (1 + float(np.abs(found.log_norm).max()))
    np.testing.assert_allclose(found.linear + found.activation, -np.diff(found.log_norm), rtol=0, atol=rounding)
    norms = np.array([np.linalg.norm(gradient) for gradient in gradients])
    seen = np.asarray(norms > 1e4 * float(jnp.finfo(dtype).tiny))  # below, autodiff itself has lost digits
    assert seen[len(hidden) // 2 :].all()
    np.testing.assert_allclose(found.log_norm[seen], np.log(norms)[seen], rtol=0, atol=2000 * eps * len(hidden))
    assert not found.non_finite.any()


def test_what_is_far_below_the_smallest_float_is_kept():
    """Checks the norms, and the signs of the weights' gradients."""
    small = jax.nn.initializers.orthogonal(1e-4)
    model, x = MLP(4, [4] * 12, 1, "sigmoid", kernel_init=small, rngs=nnx.Rngs(0)), np.abs(inputs(6, 4))

    @jax.jit
    def run(x):
        found = attribute(model, x, loss=mse)
        return found.decay, found.units, gradients_at_y(model, x, mse)

    decay, units, gradients = run(x)
    assert float(decay.log_norm[0]) < np.log(float(jnp.finfo(jnp.float32).smallest_subnormal)) - 10
    assert np.isfinite(decay.log_norm).all()
    assert not np.any(gradients[0])  # autodiff has lost it
    assert int(decay.total_cause) in (Cause.ACTIVATION, Cause.BOTH)
    assert units.one_sign_of_sample.tolist() == [1.0] * 12  # all inputs positive: sigmoid's second fault
    assert units.histograms is None


WIDTH = 16


@functools.cache
def with_weights(name, depth):
    """Returns the decay as a jitted function of params and inputs, and a function that draws orthogonal weights."""

    def model(scale):
        scaled = jax.nn.initializers.orthogonal(scale)
        return MLP(WIDTH, [WIDTH] * depth, WIDTH, name, kernel_init=scaled, rngs=nnx.Rngs(0))

    like = model(1.0)
    run = jax.jit(lambda params, x: attribute(with_params(like, params), x, loss=mse).decay)
    return run, lambda scale: params_of(model(scale))


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        ("identity", 0.5, Cause.LINEAR),
        ("identity", 1.5, Cause.NONE),
        ("sigmoid", 1.0, Cause.ACTIVATION),
        ("sigmoid", 8.0, Cause.ACTIVATION),
        ("sigmoid", 0.25, Cause.BOTH),
        ("ppns", 1.0, Cause.NONE),
    ],
)
def test_causes_known_by_construction(name, scale, expected):
    run, params = with_weights(name, depth=1 if name == "ppns" else 3)
    x = np.asarray(inputs(4, WIDTH))
    if name == "ppns":
        x = np.float32(0.01) * x  # where its slope is 1.5
    found = run(params(scale), x)
    assert set(found.cause.tolist()) == {expected}
    assert int(found.total_cause) == expected
    np.testing.assert_allclose(found.linear, np.log(scale), atol=1e-5)
    if name == "identity":
        np.testing.assert_allclose(found.activation, 0, atol=1e-6)
    if name == "sigmoid":
        assert (np.asarray(found.activation) <= np.log(0.25) + 1e-6).all()


def test_cause_of_every_kind_of_pair():
    inf, nan = np.inf, np.nan
    pairs = {
        (-1.0, -1.0): Cause.BOTH,
        (-1.0, 0.5): Cause.LINEAR,
        (0.5, -1.0): Cause.ACTIVATION,
        (1.0, -0.5): Cause.NONE,
        (0.0, 0.0): Cause.NONE,
        (-0.05, -1.0): Cause.ACTIVATION,
        (-1.0, -0.05): Cause.LINEAR,
        (-1.0, -inf): Cause.ACTIVATION,
        (-inf, nan): Cause.LINEAR,
        (nan, nan): Cause.UNDEFINED,
        (nan, -1.0): Cause.UNDEFINED,
    }
    linear, activation = np.array(list(pairs)).T
    assert causes_of(jnp.array(linear), jnp.array(activation)).tolist() == list(pairs.values())


def decay_and_units(look, x):
    """Returns both of what `look` finds, in one compiled call."""

    @jax.jit
    def run(x):
        found = look(x)
        return found.decay, found.units

    return jax.tree.map(np.asarray, run(x))


def killed(layer):
    """A ReLU network where every unit of one hidden layer is dead at all samples."""
    model = MLP(3, [4] * 5, 2, "relu", bias_init=jax.nn.initializers.constant(1.0), rngs=nnx.Rngs(0))
    model.hidden[layer].linear.bias[...] = jnp.full(4, -1e3)
    return model


def test_a_gradient_that_becomes_exactly_zero():
    model = killed(2)
    decay, units = decay_and_units(lambda x: attribute(model, x, loss=mse), inputs(6, 3))
    assert np.isneginf(decay.log_norm).tolist() == [True, True, True, False, False, False]
    assert np.isneginf(decay.activation).tolist() == [False, False, True, False, False]
    assert np.isnan(decay.linear).tolist() == [True, True, False, False, False]
    assert decay.cause.tolist()[:3] == [Cause.UNDEFINED, Cause.UNDEFINED, Cause.ACTIVATION]
    assert int(decay.total_cause) == Cause.ACTIVATION
    assert not decay.non_finite.any()
    assert float(units.dead[2]) == 1


def test_what_overflows_in_the_models_dtype_is_counted():
    steep = MLP(4, [4] * 10, 1, "identity", kernel_init=jax.nn.initializers.orthogonal(1e6), rngs=nnx.Rngs(0))
    found, gradients = decay_and_gradients(steep, inputs(8, 4), jnp.sum)
    seen = [bool(np.isfinite(gradient).all()) for gradient in gradients]
    assert np.isfinite(found.log_norm).all()
    assert (found.non_finite == 0).tolist() == seen
    assert not found.non_finite[-1]


def against(gradient):
    """A loss with this gradient by the outputs."""
    return lambda outputs: jnp.vdot(outputs, gradient)


def test_an_infinite_gradient_has_no_cause():
    model, x = MLP(1, [1] * 3, 1, "identity", rngs=nnx.Rngs(0)), jnp.ones((2, 1))
    found, _ = decay_and_units(lambda x: attribute(model, x, loss=against(jnp.array([[jnp.inf], [1.0]]))), x)
    assert found.non_finite.tolist() == [1] * 4
    assert found.cause.tolist() == [Cause.UNDEFINED] * 3
    assert int(found.total_cause) == Cause.UNDEFINED


@functools.cache
def of_flat_weights(dtype, **options):
    flat = jax.nn.initializers.constant(0.01)
    model = MLP(4, [128] * 2, 1, "identity", kernel_init=flat, param_dtype=dtype, rngs=nnx.Rngs(0))
    return jax.jit(lambda x: attribute(model, x, loss=jnp.sum, **options))(inputs(1024, 4, dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_models_add_up_too(dtype):
    found, expected = of_flat_weights(dtype, singular_values=True), of_flat_weights("float32")
    np.testing.assert_allclose(found.decay.log_norm, expected.decay.log_norm, atol=0.02)
    np.testing.assert_allclose(
        found.decay.linear + found.decay.activation, -np.diff(found.decay.log_norm), rtol=0, atol=1e-5
    )
    assert not found.decay.non_finite.any()
    assert found.spectra.log_end_to_end.dtype == jnp.float32


def test_no_gradient_to_begin_with():
    model = MLP(3, [4, 4], 1, "tanh", rngs=nnx.Rngs(0))
    found, _ = decay_and_units(lambda x: attribute(model, x, loss=lambda outputs: 0 * outputs.sum()), inputs(5, 3))
    assert np.isneginf(found.log_norm).all()
    assert np.isnan(found.linear).all()
    assert found.cause.tolist() == [Cause.UNDEFINED] * 2
    assert int(found.total_cause) == Cause.UNDEFINED


def test_non_finite_gradients_are_counted_where_they_are():
    model, x = MLP(3, [4, 4, 4], 1, "tanh", rngs=nnx.Rngs(0)), inputs(5, 3)
    run = jax.jit(lambda params, g: attribute(with_params(model, params), x, loss=against(g)).decay)
    params, ones = jax.tree.map(np.array, params_of(model)), np.ones((5, 1), np.float32)
    for bad in (np.inf, np.nan):
        gradient = ones.copy()
        gradient[2] = bad
        found = run(params, gradient)
        assert found.non_finite.tolist() == [4, 4, 4, 1]  # every entry of one sample, not of the others
        assert not np.isfinite(found.log_norm).any()
        assert int(found.total_cause) == Cause.UNDEFINED
    for bad in (np.inf, np.nan):
        params["hidden"][1]["linear"]["kernel"][0, 0] = bad
        assert int(run(params, ones).non_finite[0]) > 0


def test_per_trial_and_per_checkpoint():
    """Two axes of vmap in one jitted call, the non-finite trial reported and the others untouched."""
    model, x = MLP(3, [4, 4], 1, "ppns", rngs=nnx.Rngs(0)), inputs(5, 3)
    params = params_of(model)
    scales = jnp.array([[0.5, 1.0, jnp.nan], [1.0, 2.0, 4.0]])

    def one(scale):
        return attribute(with_params(model, jax.tree.map(lambda p: p * scale, params)), x, loss=mse)

    together = jax.jit(jax.vmap(jax.vmap(one)))(scales)
    chex.assert_shape(together.decay.log_norm, (2, 3, 3))
    assert (together.decay.non_finite.sum(-1) > 0).tolist() == [[False, False, True], [False, False, False]]
    alone = jax.jit(one)(2.0)
    picked = jax.tree.map(lambda leaf: leaf[1, 1], together)
    chex.assert_trees_all_close(picked, alone, rtol=1e-4, atol=1e-5)


def test_state_of_units_by_hand():
    model = nnx.Sequential(
        nnx.Linear(2, 2, rngs=nnx.Rngs(0)),
        nnx.relu,
        nnx.Linear(2, 2, rngs=nnx.Rngs(0)),
        nnx.relu,
        nnx.Linear(2, 1, rngs=nnx.Rngs(0)),
    )
    for i, kernel in {0: [[1.0, -1.0], [0.0, 0.0]], 2: [[1.0, 1.0], [1.0, -9.0]], 4: [[1.0], [1.0]]}.items():
        model.layers[i].kernel[...] = jnp.array(kernel)
    x = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    edges = jnp.array([0.0, 2.0, 4.0])
    found = attribute(model, x, loss=jnp.sum, edges=edges).units
    # Hidden layer 1: y = (x_1, -x_1): the second unit is dead. Layer 2: z = (x_1, 0), y = (x_1, x_1), nobody is.
    assert found.slope_at_least_one.tolist() == [0.5, 1.0]
    assert found.saturated.tolist() == [0.5, 0.0]
    assert found.dead.tolist() == [0.5, 0.0]
    # Weight gradients of unit 1, layer 1: delta x = 2 (1, 2) and 2 (3, -1), added (8, 2); unit 2 has none.
    assert found.one_sign.tolist() == [0.5, 1.0]
    assert found.one_sign_of_sample.tolist() == [0.25, 1.0]
    # Layer 1's values: 1, 0 and 3, 0. Layer 2's: 1, 1 and 3, 3.
    assert found.histograms.tolist() == [[0, 3, 1, 0, 0], [0, 2, 2, 0, 0]]


@pytest.mark.parametrize(
    "name",
    [
        *("ppns", "relu"),
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("selu", "sigmoid", "softsign", "pn_sigmoid", "hard_tanh", "gelu")
        ),
    ],
)
def test_a_perceptron_is_split_as_by_its_factors(name):
    model, x = MLP(5, [6, 4, 7], 2, name, rngs=nnx.Rngs(3)), inputs(8, 5)

    @jax.jit
    def both(x):
        return attribute(model, x, loss=mse), *oracle.causes_and_units(model, x, mse)

    found, expected, states = both(x)
    chex.assert_trees_all_close(found.decay[:3], expected, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(found.units[:5], states, atol=1e-6)
    assert [a.function for a in found.activations] == [catalogue.get(name).name] * 3


def test_looking_costs_about_as_much_as_a_gradient():
    model, x = MLP(784, [128] * 8, 10, "ppns", rngs=nnx.Rngs(0)), inputs(64, 784)
    params = params_of(model)

    def flops(function):
        return jax.jit(function).lower(params).compile().cost_analysis()["flops"]

    look = flops(lambda p: attribute(with_params(model, p), x, loss=mse))
    assert look <= 1.4 * flops(jax.grad(lambda p: mse(with_params(model, p)(x))))
