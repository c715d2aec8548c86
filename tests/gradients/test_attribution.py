"""Perceptrons: the split of a gradient's decay into its two causes, and the state of the units."""

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


def gradient_norms(model, x, loss):
    return jnp.stack([jnp.linalg.norm(gradient) for gradient in gradients_at_y(model, x, loss)])


@pytest.mark.parametrize(
    ("name", "hidden", "dtype"),
    [
        *(
            pytest.param(name, [3, 5, 4], dtype, marks=[] if name == "ppns" else [pytest.mark.slow])
            for name in ("sigmoid", "ppns", "leaky_relu")
            for dtype in ("float32", "float64")
        ),
        ("sigmoid", [4], "float64"),
        pytest.param("ppns", [8] * 50, "float32", marks=pytest.mark.slow),
        ("ppns", [8] * 15, "float64"),
    ],
)
def test_the_two_causes_add_up_to_the_whole_as_autodiff_sees_it(name, hidden, dtype, x64):
    model, x = MLP(3, hidden, 2, name, param_dtype=dtype, rngs=nnx.Rngs(3)), inputs(8, 3, dtype)
    found = jax.jit(lambda x: attribute(model, x, loss=mse).decay)(x)
    chex.assert_shape([found.linear, found.activation, found.cause], (len(hidden),))
    chex.assert_shape([found.log_norm, found.non_finite], (len(hidden) + 1,))
    eps = float(jnp.finfo(dtype).eps)
    # To rounding: each is a difference of logarithms as large as log_norm.
    rounding = 4 * eps * (1 + float(jnp.abs(found.log_norm).max()))
    np.testing.assert_allclose(found.linear + found.activation, -np.diff(found.log_norm), rtol=0, atol=rounding)
    norms = jax.jit(lambda x: gradient_norms(model, x, mse))(x)
    seen = np.asarray(norms > 1e4 * float(jnp.finfo(dtype).tiny))  # below, autodiff itself has lost digits
    assert seen[len(hidden) // 2 :].all()
    np.testing.assert_allclose(found.log_norm[seen], jnp.log(norms)[seen], rtol=0, atol=2000 * eps * len(hidden))
    assert not found.non_finite.any()


def test_norms_far_below_the_smallest_float():
    small = jax.nn.initializers.orthogonal(0.02)
    model = MLP(4, [4] * 24, 1, "sigmoid", kernel_init=small, rngs=nnx.Rngs(0))
    found = jax.jit(lambda x: attribute(model, x, loss=mse).decay)(inputs(8, 4))
    assert float(found.log_norm[0]) < np.log(float(jnp.finfo(jnp.float32).smallest_subnormal)) - 10
    assert bool(jnp.isfinite(found.log_norm).all())
    assert not gradient_norms(model, inputs(8, 4), mse)[0] > 0  # autodiff has lost it
    assert int(found.total_cause) in (Cause.ACTIVATION, Cause.BOTH)


def with_weights(name, scale, depth=6, width=64):
    """An MLP whose square weight matrices are `scale` times orthogonal ones."""
    model = MLP(
        width, [width] * depth, width, name, kernel_init=jax.nn.initializers.orthogonal(scale), rngs=nnx.Rngs(0)
    )
    return model, inputs(4, width)


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
    model, x = with_weights(name, scale, depth=1 if name == "ppns" else 6)
    if name == "ppns":
        x = 0.01 * x  # where its slope is 1.5
    found = attribute(model, x, loss=mse).decay
    assert set(found.cause.tolist()) == {expected}
    assert int(found.total_cause) == expected
    np.testing.assert_allclose(found.linear, np.log(scale), atol=1e-5)
    if name == "identity":
        np.testing.assert_allclose(found.activation, 0, atol=1e-6)
    if name == "sigmoid":
        assert bool((found.activation <= np.log(0.25) + 1e-6).all())


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


def killed(layer):
    """A ReLU network where every unit of one hidden layer is dead at all samples."""
    model = MLP(3, [4] * 5, 2, "relu", bias_init=jax.nn.initializers.constant(1.0), rngs=nnx.Rngs(0))
    model.hidden[layer].linear.bias[...] = jnp.full(4, -1e3)
    return model


def test_a_gradient_that_becomes_exactly_zero():
    found = attribute(killed(2), inputs(6, 3), loss=mse)
    assert jnp.isneginf(found.decay.log_norm).tolist() == [True, True, True, False, False, False]
    assert jnp.isneginf(found.decay.activation).tolist() == [False, False, True, False, False]
    assert jnp.isnan(found.decay.linear).tolist() == [True, True, False, False, False]
    assert found.decay.cause.tolist()[:3] == [Cause.UNDEFINED, Cause.UNDEFINED, Cause.ACTIVATION]
    assert int(found.decay.total_cause) == Cause.ACTIVATION
    assert not found.decay.non_finite.any()
    assert float(found.units.dead[2]) == 1


def test_what_overflows_in_the_models_dtype_is_counted():
    steep = MLP(4, [4] * 60, 1, "identity", kernel_init=jax.nn.initializers.orthogonal(10.0), rngs=nnx.Rngs(0))
    found = jax.jit(lambda x: attribute(steep, x, loss=jnp.sum).decay)(inputs(8, 4))
    seen = [bool(jnp.isfinite(gradient).all()) for gradient in gradients_at_y(steep, inputs(8, 4), jnp.sum)]
    assert jnp.isfinite(found.log_norm).all()
    assert (found.non_finite == 0).tolist() == seen
    assert not found.non_finite[-1]


def against(gradient):
    """A loss with this gradient by the outputs."""
    return lambda outputs: jnp.vdot(outputs, gradient)


def test_an_infinite_gradient_has_no_cause():
    model, x = MLP(1, [1] * 3, 1, "identity", rngs=nnx.Rngs(0)), jnp.ones((2, 1))
    found = attribute(model, x, loss=against(jnp.array([[jnp.inf], [1.0]]))).decay
    assert found.non_finite.tolist() == [1] * 4
    assert found.cause.tolist() == [Cause.UNDEFINED] * 3
    assert int(found.total_cause) == Cause.UNDEFINED


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_models_add_up_too(dtype):
    flat = jax.nn.initializers.constant(0.01)
    model = MLP(4, [128] * 2, 1, "identity", kernel_init=flat, param_dtype=dtype, rngs=nnx.Rngs(0))
    found = attribute(model, inputs(1024, 4, dtype), loss=jnp.sum, singular_values=True)
    expected = attribute(
        MLP(4, [128] * 2, 1, "identity", kernel_init=flat, rngs=nnx.Rngs(0)), inputs(1024, 4), loss=jnp.sum
    )
    np.testing.assert_allclose(found.decay.log_norm, expected.decay.log_norm, atol=0.02)
    np.testing.assert_allclose(
        found.decay.linear + found.decay.activation, -np.diff(found.decay.log_norm), rtol=0, atol=1e-5
    )
    assert not found.decay.non_finite.any()
    assert found.spectra.log_end_to_end.dtype == jnp.float32


def test_no_gradient_to_begin_with():
    found = attribute(MLP(3, [4, 4], 1, "tanh", rngs=nnx.Rngs(0)), inputs(5, 3), loss=lambda outputs: 0 * outputs.sum())
    assert jnp.isneginf(found.decay.log_norm).all()
    assert jnp.isnan(found.decay.linear).all()
    assert found.decay.cause.tolist() == [Cause.UNDEFINED] * 2
    assert int(found.decay.total_cause) == Cause.UNDEFINED


@pytest.mark.parametrize("bad", [jnp.inf, jnp.nan])
def test_non_finite_gradients_are_counted_where_they_are(bad):
    model, x = MLP(3, [4, 4, 4], 1, "tanh", rngs=nnx.Rngs(0)), inputs(5, 3)
    found = attribute(model, x, loss=against(jnp.ones((5, 1)).at[2].set(bad))).decay
    assert found.non_finite.tolist() == [4, 4, 4, 1]  # every entry of one sample, not of the others
    assert not jnp.isfinite(found.log_norm).any()
    assert int(found.total_cause) == Cause.UNDEFINED
    model.hidden[1].linear.kernel[0, 0] = bad
    assert int(attribute(model, x, loss=mse).decay.non_finite[0]) > 0


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
    alone = one(2.0)
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


def test_signs_survive_where_the_gradient_underflows():
    model, x = MLP(4, [4] * 80, 1, "sigmoid", rngs=nnx.Rngs(0)), jnp.abs(inputs(6, 4))
    found = jax.jit(lambda x: attribute(model, x, loss=jnp.sum).units)(x)
    assert found.one_sign_of_sample.tolist() == [1.0] * 80  # all inputs positive: sigmoid's second fault
    assert found.histograms is None


@pytest.mark.parametrize(
    "name",
    [
        *("ppns", "relu", "selu"),
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("sigmoid", "softsign", "pn_sigmoid", "hard_tanh", "gelu")),
    ],
)
def test_a_perceptron_is_split_as_by_its_factors(name):
    model, x = MLP(5, [6, 4, 7], 2, name, rngs=nnx.Rngs(3)), inputs(8, 5)

    @jax.jit
    def both(x):
        expected, _ = oracle.of_chain(model, x, mse)
        return attribute(model, x, loss=mse), expected, oracle.state_of_units(model, x, mse)

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
