"""Where a program applies an activation, what it is, and along which axis its nodes lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.programs import sites, trace
from tests.zoo.case import normal, weight

X, W = normal(0, 5, 4), weight(1, 4, 6)


def found(function, params=W, *inputs, also=(), choices=False):
    """The sites of a function of params and inputs."""
    inputs = inputs or (X,)
    program = trace(function, params, *inputs)
    learned = [True] * len(jax.tree.leaves(params)) + [False] * len(jax.tree.leaves(inputs))
    return sites(program, learned, also=also, choices=choices)


@jax.custom_vjp
def own_rule(y):
    return jnp.tanh(y)


own_rule.defvjp(lambda y: (jnp.tanh(y), y), lambda y, g: (g,))

KNOWN = {
    "relu": [jax.nn.relu, lambda y: jnp.maximum(y, 0), lambda y: jnp.where(y > 0, y, 0), lambda y: y * (y > 0)],
    "tanh": [jnp.tanh, lax.tanh, own_rule, lambda y: 0.5 * (1 + jnp.tanh(y / 2))],
    "sigmoid": [jax.nn.sigmoid, lax.logistic, lambda y: 1 / (1 + jnp.exp(-y))],
    "silu": [jax.nn.silu, jax.nn.swish, lambda y: y * jax.nn.sigmoid(y), lambda y: y / (1 + jnp.exp(-y))],
    "gelu": [jax.nn.gelu, lambda y: jax.nn.gelu(y, approximate=False), lambda y: y * jax.scipy.stats.norm.cdf(y)],
    "softplus": [jax.nn.softplus, lambda y: jnp.logaddexp(y, 0), lambda y: jnp.log1p(jnp.exp(y))],
    "leaky_relu": [jax.nn.leaky_relu, lambda y: jnp.where(y >= 0, y, 0.3 * y), lambda y: jnp.maximum(y, 0.2 * y)],
    "elu": [jax.nn.elu, lambda y: jnp.where(y > 0, y, 2 * (jnp.exp(jnp.minimum(y, 0)) - 1))],
    "relu6": [jax.nn.relu6, lambda y: jnp.clip(y, 0, 6)],
    "hard_tanh": [jax.nn.hard_tanh, lambda y: jnp.clip(y, -1, 1)],
    "soft_sign": [jax.nn.soft_sign, lambda y: y / (1 + jnp.abs(y))],
    "mish": [jax.nn.mish, lambda y: y * jnp.tanh(jax.nn.softplus(y))],
    "gaussian": [lambda y: jnp.exp(-(y**2))],
    "sin": [jnp.sin, lambda y: jnp.sin(30 * y)],
    "cos": [jnp.cos],
    "arctan": [jnp.arctan],
    "selu": [jax.nn.selu],
    "celu": [lambda y: jax.nn.celu(y, 2.0)],
    "hard_silu": [jax.nn.hard_swish, lambda y: y * jnp.clip(y + 3, 0, 6) / 6],
    "squareplus": [jax.nn.squareplus],
    "log_sigmoid": [jax.nn.log_sigmoid, lambda y: -jax.nn.softplus(-y)],
    "function of sin": [lambda y: y + jnp.sin(y) ** 2],
    "function of tanh": [lambda y: y - jnp.tanh(y)],
}


@pytest.mark.parametrize("function", [f for functions in KNOWN.values() for f in functions])
def test_activations_are_known_by_name_or_values(function):
    (name,) = [name for name, functions in KNOWN.items() if function in functions]
    (site,) = (site for site in found(lambda w, x: function(x @ w) @ jnp.ones((6, 2))) if not site.why)
    assert name == site.function or (name, site.function) == ("log_sigmoid", "softplus")
    assert (site.shape, site.axis) == ((5, 6), 1)
    if not site.held and name not in ("sin", "tanh", "log_sigmoid"):  # of these, scaled and moved ones are in the table
        y = normal(2, 5, 6)
        np.testing.assert_allclose(site.value(y), function(y), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "names", "reason"),
    [
        (lambda w, x: jnp.exp(x @ w), ["exp"], "not known as an activation"),
        (lambda w, x: jnp.sqrt(1 + (x @ w) ** 2), ["integer_pow", "sqrt"], "not known as an activation"),
        (lambda w, x: jax.nn.softmax(x @ w), ["exp"], "part of a softmax"),
        (lambda w, x: jnp.tanh(x) @ w, ["tanh"], "no learned parameter"),
        (lambda w, x: x @ jnp.tanh(w), ["tanh"], "of parameters alone"),
        (lambda w, x: x @ w / jnp.sqrt(jnp.maximum(jnp.var(x @ w), 0)), None, "keeps a value from 0"),
        (lambda w, x: jnp.exp(jnp.clip(x @ w, -5, 2)), None, "not known as an activation"),
    ],
)
def test_what_is_left_has_a_reason(function, names, reason):
    seen = found(function)
    assert all(site.why for site in seen)
    assert any(reason in site.why for site in seen)
    if names is not None:
        assert {site.function for site in seen} >= set(names) - {"integer_pow"}


def test_two_activations_in_a_row_are_two():
    assert [s.function for s in found(lambda w, x: jax.nn.relu(jnp.tanh(x @ w)))] == ["tanh", "relu"]


def test_nothing_is_seen_in_affine_functions_and_noise():
    def f(w, x, key):
        return (2 * (x @ w) - 1) / 3 + jax.random.normal(key, (5, 6)) + jnp.sum(x) * jnp.mean(w, keepdims=True)

    assert found(f, W, X, jax.random.key(0)) == []


def test_a_value_that_is_needed_elsewhere_too_is_no_part_of_a_larger_function():
    def f(w, x):
        gate = jax.nn.sigmoid(y := x @ w)
        return y * gate, gate

    assert [site.function for site in found(f)] == ["sigmoid"]


@pytest.mark.parametrize(
    ("function", "params", "inputs", "axis"),
    [
        (lambda w, x: jnp.tanh(w @ x), normal(3, 6, 4), (X.T,), 0),
        (lambda w, x: jnp.tanh(jnp.einsum("bi,io->ob", x, w)), W, (X,), 0),
        (lambda w, x: jnp.tanh((x @ w).reshape(5, 2, 3)), W, (X,), 2),
        (lambda w, x: jnp.tanh((x @ w).sum(-1)), W, (X,), None),
        (lambda w, x: jnp.tanh(lax.conv(x, w, (1, 1), "SAME")), normal(3, 6, 2, 3, 3), (normal(4, 5, 2, 4, 4),), 1),
        (lambda w, x: jnp.tanh(w[x]), normal(3, 7, 6), (jnp.arange(5),), 1),
        (lambda w, x: jnp.tanh(w[x]), normal(3, 7), (jnp.arange(5),), None),
        (lambda w, x: jnp.tanh(jnp.concatenate([x, x @ w], 1)), normal(3, 4, 4), (X,), 1),
        (lambda w, x: jnp.tanh(jnp.swapaxes(x @ w, 0, 1)), W, (X,), 0),
        (lambda w, x: jnp.tanh((x @ w) @ (x @ w).T), W, (X,), None),
        (lambda w, x: jnp.tanh(x[:, None] * w[:1]), W, (normal(4, 5),), 1),
        (lambda w, x: jax.vmap(lambda w: jnp.tanh(x @ w), in_axes=1)(w), W, (X,), 1),
    ],
)
def test_the_axis_of_nodes(function, params, inputs, axis):
    (site,) = found(function, params, *inputs)
    assert site.axis == axis


def test_scans_over_layers_and_over_time():
    def over(carry, xs):
        return lax.scan(lambda c, x: (jnp.tanh(c @ x), c), carry, xs)

    stack = jnp.stack([weight(i, 6, 6) for i in range(3)])
    (layers,) = found(lambda w, x: over(x, w), stack, normal(3, 5, 6))
    assert (layers.layers, layers.steps, layers.recurrent) == ((3,), (), False)
    (steps,) = found(lambda w, x: lax.scan(lambda c, x: (jnp.tanh(c @ w + x), c), x[0], x), stack[0], normal(3, 4, 6))
    assert (steps.layers, steps.steps, steps.recurrent) == ((), (4,), True)
    (mapped,) = found(lambda w, x: lax.map(lambda x: jnp.tanh(x @ w), x), stack[0], normal(3, 4, 6))
    assert (mapped.layers, mapped.steps, mapped.recurrent) == ((), (4,), False)


def test_gates_of_a_cell_that_a_loop_of_python_repeats():
    def f(w, x):
        h = jnp.zeros(6)
        for t in range(3):
            z = jax.nn.sigmoid(h @ w + x[t])
            h = (1 - z) * h + z * jnp.tanh(h @ w)
        return jax.nn.sigmoid(h @ w) * h

    gates = [site.gate for site in found(f, weight(3, 6, 6), normal(4, 3, 6)) if site.function == "sigmoid"]
    assert gates == [True, True, True, False]


def test_what_is_inside_an_operation_that_is_not_entered_is_named():
    def f(w, x):
        return lax.custom_linear_solve(
            lambda y: y, x @ w, solve=lambda _, b: jnp.tanh(b), transpose_solve=lambda _, b: b
        )

    (site,) = (site for site in found(f) if site.function == "tanh")
    assert site.why == "within 'custom_linear_solve', where no operation is changed"


@pytest.mark.parametrize(
    "chosen",
    [
        lambda h: jnp.select([h > 0], [h], 0.0),
        lambda h: jnp.piecewise(h, [h < 0], [0.0, lambda h: h]),
        lambda h: jnp.interp(h, jnp.array([-1.0, 0, 1]), jnp.array([0.0, 0, 1])),
        lambda h: jnp.where(h >= lax.top_k(h, 2)[0][:, -1:], h, 0.0),
    ],
    ids=["select", "piecewise", "interp", "top_k"],
)
def test_choices_that_are_no_function_of_one_array_are_named(chosen):
    def chosen_in(function):
        return [site for site in found(function, choices=True) if site.function == "select"]

    left = chosen_in(lambda w, x: jnp.tanh(chosen(x @ w)))
    assert left
    assert {site.why for site in left} == {"not known as an activation; if it is one here, write it with jnp.where"}
    assert not chosen_in(lambda w, x: jnp.where(x[:, :1] > 0, x @ w, 0.0))


def test_functions_in_also_are_told_by_their_values():
    def cube(y):
        return y**3

    (site,) = found(lambda w, x: (x @ w) ** 3, also=[cube])
    assert (site.function, site.why) == ("cube", "")


def test_steepest_slopes():
    (site,) = found(lambda w, x: 0.5 * jnp.tanh(3 * (x @ w)))
    assert site.steepest_slope() == pytest.approx(3, rel=1e-4)
    (site,) = found(lambda w, x: (lambda y: y + jnp.sin(w[:1] * y))(x @ w))
    assert site.steepest_slope() is None


def gated(w, x, h):
    z = jax.nn.sigmoid(jnp.concatenate([h, x], -1) @ w["z"])
    return (1 - z) * h + z * jnp.tanh(jnp.concatenate([z * h, x], -1) @ w["h"])


def test_gates_of_the_first_step_are_gates_too():
    def f(w, x):
        h = jnp.zeros((2, 6))
        for t in range(4):
            h = gated(w, x[t], h)
        return h

    params = {"z": weight(5, 9, 6), "h": weight(6, 9, 6)}
    found_gates = [s.gate for s in found(f, params, normal(7, 4, 2, 3)) if s.function == "sigmoid"]
    assert found_gates == [True] * 4


def test_a_gate_that_multiplies_zeros_in_the_first_step():
    def f(w, x):
        h = c = jnp.zeros((2, 3))
        for t in range(4):
            i, f, o, g = jnp.split(jnp.concatenate([h, x[t]], -1) @ w, 4, axis=-1)
            i, f, o = (jax.nn.sigmoid(y) for y in (i, f, o))
            c = f * c + i * jnp.tanh(g)
            h = o * jnp.tanh(c)
        return h

    sites_of_loop = found(f, weight(5, 6, 12), normal(7, 4, 2, 3))
    assert [s.gate for s in sites_of_loop if s.function == "sigmoid"] == [True] * 12
    assert sum(s.function == "tanh" and not s.gate for s in sites_of_loop) == 8


def test_one_network_on_two_inputs_is_no_recurrent_cell():
    def encoder(w, x):
        return (x @ w) * jax.nn.sigmoid(jnp.cos(x) @ w)

    def f(w, x):
        return encoder(w, x).sum() - encoder(w, 2 * x).sum()

    assert [s.gate for s in found(f) if s.function == "sigmoid"] == [False, False]


@pytest.mark.parametrize(
    ("function", "params", "inputs", "axis"),
    [
        (
            lambda w, x: jnp.tanh(lax.conv((x @ w["d"]).reshape(5, 2, 4, 3), w["k"], (1, 1), "SAME")),
            {"d": weight(1, 4, 24), "k": normal(3, 6, 2, 3, 3)},
            (X,),
            1,
        ),
        (
            lambda w, x: jnp.tanh(lax.conv(x, w["k"], (1, 1), "SAME") + w["p"]),
            {"k": normal(3, 6, 2, 3, 3), "p": normal(4, 1, 1, 4, 4)},
            (normal(4, 5, 2, 4, 4),),
            1,
        ),
        (
            lambda w, x: jnp.tanh(jnp.einsum("bcx,co->box", x, w["w"]) + w["p"]),
            {"w": weight(5, 3, 6), "p": normal(6, 1, 6, 4)},
            (normal(7, 5, 3, 4),),
            1,
        ),
        (lambda w, x: jnp.tanh(w["w"] @ x + w["b"]), {"w": weight(5, 6, 4), "b": normal(6, 6, 1)}, (X.T,), 0),
        (
            lambda w, x: jnp.tanh(w["e"][x] + w["p"]),
            {"e": normal(5, 9, 6), "p": normal(6, 1, 4, 6)},
            (jnp.ones((5, 4), int),),
            2,
        ),
    ],
)
def test_the_axis_of_nodes_is_made_by_the_last_kernel(function, params, inputs, axis):
    (site,) = found(function, params, *inputs)
    assert site.axis == axis


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda w, x: jnp.abs(x @ w), None),
        (lambda w, x: jnp.maximum(x @ w, 0) / 2, "relu"),
        (lambda w, x: jnp.where((y := x @ w) > 0, y, w[:1] * y), "leaky_relu"),
        (lambda w, x: jnp.maximum(y := x @ w, 0) + w[:1] * jnp.minimum(y, 0), "leaky_relu"),
    ],
)
def test_near_misses(function, name):
    names = [site.function for site in found(function) if not site.why]
    assert names == ([name] if name else [])
