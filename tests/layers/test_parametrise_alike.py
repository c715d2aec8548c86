"""parametrise: what looks the same and is not, and what looks different and is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.layers import parametrise
from tests.layers.changed import equal, moved
from tests.zoo.case import normal, weight

pytestmark = pytest.mark.usefixtures("ranks_as_users_have_them")


WRITTEN = {
    "where": lambda y: jnp.where(y > 0, y, 0.1 * y),
    "soft_sign": lambda y: y / (1 + jnp.abs(y)),
    "swish": lambda y: y * jax.nn.sigmoid(y),
    "softplus": lambda y: jnp.log1p(jnp.exp(y)),
}


@jax.custom_vjp
def own_tanh(y):
    return jnp.tanh(y)


own_tanh.defvjp(lambda y: (jnp.tanh(y), y), lambda y, g: (g * (1 - jnp.tanh(y) ** 2),))

CALLED = {name: jax.jit(f) for name, f in WRITTEN.items()} | {
    "gelu": jax.nn.gelu,
    "maximum": lambda y: jnp.maximum(y, 0),
    "logaddexp": lambda y: jnp.logaddexp(y, 0),
    "own_tanh": own_tanh,
    "scaled": lambda y: jnp.sin(3 * y),
}


def force(f):
    """A program that takes the derivative of a network with one hidden layer."""
    return lambda w, x: -jax.grad(lambda x: (f(x @ w["in"]) @ w["out"]).sum())(x)


W = {"in": weight(90, 3, 5), "out": weight(91, 5, 2)}


@pytest.mark.parametrize("name", CALLED)
def test_the_derivative_of_a_changed_function_is_its_own(name):
    f, x = CALLED[name], normal(92, 4, 3)
    retrofit = parametrise(force(f), W, x)
    assert len(retrofit.changed) == 1
    variables = moved(retrofit.variables)
    (own,) = variables["activations"].values()
    by_hand = force(lambda y: own["a"] * f(y - own["b"]))(W, x)
    np.testing.assert_allclose(retrofit.apply(variables, x), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_out_where_derivatives_are_taken_is_left(name):
    with pytest.raises(ValueError, match=r"put jax.jit around the function of y"):
        parametrise(force(WRITTEN[name]), W, normal(92, 4, 3))


def test_layers_of_different_width_in_a_program_that_takes_derivatives():
    def f(w, x):
        return jax.grad(lambda x: jnp.tanh(jnp.tanh(x @ w).sum(0)[:2]).sum())(x)

    retrofit = parametrise(f, weight(93, 3, 5), normal(92, 4, 3))
    assert [change.features for change in retrofit.changed] == [(5,), (2,)]
    equal(retrofit.apply(retrofit.variables, normal(92, 4, 3)), f(weight(93, 3, 5), normal(92, 4, 3)), 1e-6)


def test_numbers_among_the_params_and_arguments():
    def f(params, x, slope):
        y = jax.nn.relu(x @ params["w"])
        return jnp.where((z := y @ params["v"]) > 0, z, params["slope"] * z) * slope

    params = {"w": weight(94, 3, 4), "v": weight(95, 4, 2), "slope": 0.2}
    retrofit = parametrise(f, params, normal(92, 4, 3), 0.5)
    assert [change.function for change in retrofit.changed] == ["relu", "leaky_relu"]
    variables = moved(retrofit.variables)
    traced = jax.jit(retrofit.apply)(variables, normal(92, 4, 3), 0.5)
    np.testing.assert_allclose(traced, retrofit.apply(variables, normal(92, 4, 3), 0.5), rtol=1e-5)


def test_a_number_is_the_same_function_when_it_is_traced():
    def f(w, x, slope):
        return jnp.where((y := x @ w) > 0, y, slope * y)

    retrofit = parametrise(f, weight(94, 3, 4), normal(92, 4, 3), 0.2)
    variables = moved(retrofit.variables)
    traced = jax.jit(retrofit.apply)(variables, normal(92, 4, 3), 0.2)
    np.testing.assert_allclose(traced, retrofit.apply(variables, normal(92, 4, 3), 0.2), rtol=1e-5)


def test_a_flag_that_turns_one_function_into_another_is_noticed():
    def f(w, x, power):
        return (x @ w) ** power if power != 1 else jax.nn.relu(x @ w)

    retrofit = parametrise(f, weight(94, 3, 4), normal(92, 4, 3), 1)
    with pytest.raises(ValueError, match="reaches integer_pow at"):
        retrofit.apply(retrofit.variables, normal(92, 4, 3), 3)


class Dropping(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 8, rngs=rngs)

    def __call__(self, x, *, rngs):
        return nnx.Dropout(0.5, deterministic=False)(nnx.relu(self.linear(x)), rngs=rngs)


def test_a_random_stream_among_the_arguments_moves_on():
    model, x = Dropping(nnx.Rngs(0)), normal(92, 4, 3)
    changed = parametrise(model, x, rngs=nnx.Rngs(dropout=1)).model
    ours, plain = nnx.Rngs(dropout=2), nnx.Rngs(dropout=2)
    for _ in range(3):
        equal(changed(x, rngs=ours), model(x, rngs=plain))


def test_a_rule_of_its_own_is_not_taken_away():
    @jax.custom_vjp
    def solve(w, x):
        return jax.lax.while_loop(lambda y: y.sum() > 100, lambda y: jnp.tanh(y @ w) + x, x)

    solve.defvjp(lambda w, x: (solve(w, x), (w, x)), lambda held, g: (held[0] * 0 + g.sum(), g))

    def f(w, x):
        return jax.nn.relu(solve(w, x))

    retrofit = parametrise(f, weight(96, 3, 3), normal(92, 4, 3))
    assert [change.function for change in retrofit.changed] == ["relu"]
    assert [left.why for left in retrofit.untouched if left.function == "tanh"] == [
        "within a function with a derivative rule of its own, which would be lost"
    ]
    assert jax.grad(lambda v: retrofit.apply(v, normal(92, 4, 3)).sum())(retrofit.variables)["params"].any()


def helper(w, x):
    return jax.nn.relu(x @ w)


def test_a_helper_that_was_called_before():
    inner = jax.jit(helper)
    model = lambda w, x: jax.checkpoint(lambda x: inner(w, x))(x) + inner(w, 2 * x)  # noqa: E731
    w = weight(97, 3, 4)
    model(w, normal(92, 8, 3))
    retrofit = parametrise(model, w, normal(92, 8, 3))
    assert len(retrofit.changed) == 2
    equal(retrofit.apply(retrofit.variables, normal(92, 5, 3)), model(w, normal(92, 5, 3)), 1e-6)


def test_shapes_are_an_example_too():
    shape = jax.ShapeDtypeStruct((4, 3), jnp.float32)
    assert [c.features for c in parametrise(helper, weight(97, 3, 4), shape).changed] == [(4,)]
