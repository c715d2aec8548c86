"""[P]'s functions: closed forms against autodiff, for scales of either sign, and against its formulas in NumPy.

The whole catalogue is compared in `test_verification`.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from paramact_jax.activations import catalogue, parametric, pn_sigmoid, ppns, relu, sigmoid, tanh
from paramact_jax.activations import parametric_relu as p_relu
from paramact_jax.papers import ko2021

EVERY = {name: catalogue.get(name) for name in catalogue.names()}
PUBLISHED = ("identity", "pn_sigmoid", "relu_from_right", *(row.activation for row in ko2021.TABLE_5))
RECORDS = {name: EVERY[name] for name in PUBLISHED} | {"user": parametric(lambda y: y / (1 + jnp.abs(y)), name="user")}
every_record = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)

# Both zeros, kinks, the region where the functions bend, saturation, and what overflows a careless exp.
POINTS = np.array([0.0, -0.0] + [sign * y for y in (0.5, 1, 1.5, 2, 3, 20, 400, 1e4) for sign in (1, -1)])
SCALES = (1.0, 6.0, 1.5, 0.5, -2.0)
SHIFTS = (0.0, 0.25, 2.0, -1.5)  # binary fractions: y - b then hits every kink exactly


def inputs(record, dtype):
    """Y and every parameter, all of one shape: each point and its shift by b, for every a and every b."""
    a, b, u = (jnp.asarray(x, dtype) for x in np.meshgrid(SCALES, SHIFTS, POINTS, indexing="ij"))
    y = jnp.concatenate([u, jnp.where(b == 0, u, u + b)])
    known = {"a": jnp.concatenate([a, a]), "b": jnp.concatenate([b, b])}
    return y, {name: known[name] for name in record.params}


def slopes(record, y, params):
    """Autodiff's dz/dy and dz/dp, elementwise, in forward and in reverse mode."""
    ones = jnp.ones_like(y)

    def z(args):
        return record(args["y"], **{name: args[name] for name in params})

    args = {"y": y} | params
    forward = {name: jax.jvp(lambda x, name=name: z(args | {name: x}), (args[name],), (ones,))[1] for name in args}
    value, pull_back = jax.vjp(z, args)
    return forward, pull_back(jnp.ones_like(value))[0]


def closed(record, y, params):
    return {"y": record.derivative(y, **params)} | {name: d(y, **params) for name, d in record.partials.items()}


@every_record
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_closed_forms_equal_autodiff_at_kinks_and_in_saturation(record, dtype, x64):
    y, params = inputs(record, dtype)
    forward, reverse = slopes(record, y, params)
    # Autodiff's 1 - z^2 and s (1 - s) are exact to eps, not to a relative eps: so is this comparison.
    tolerance = 16 * float(jnp.finfo(dtype).eps)
    chex.assert_trees_all_close(closed(record, y, params), forward, rtol=tolerance, atol=4 * tolerance)
    chex.assert_trees_all_close(forward, reverse, rtol=tolerance, atol=4 * tolerance)


@every_record
def test_autodiff_is_right_away_from_kinks(record, x64):
    y = jnp.array([-2.9, -1.3, -0.4, 0.6, 1.7, 2.8])
    params = {"a": jnp.full_like(y, -1.7), "b": jnp.full_like(y, 0.25)}
    check_grads(lambda y, p: record(y, **p), (y, {name: params[name] for name in record.params}), order=1)


KINKED = {name: record for name, record in EVERY.items() if record.kinks}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", KINKED)
def test_slope_at_the_kink_is_the_stated_one(name, shift):
    base = KINKED[name]
    record = base if "b" in base.params else parametric(base, a=-2.0, b=shift, learned=("a",))
    z = functools.partial(record, **record.params)
    for kink in record.kinks:
        at = jnp.float32(kink.at)
        assert record.derivative(at, **record.params) == pytest.approx(kink.slope, rel=1e-6)
        assert jax.grad(z)(at) == pytest.approx(kink.slope, rel=1e-6)
        assert kink.value is None or z(at) == kink.value
        left, right = z(at - 1e-3), z(at + 1e-3)
        jumps = abs(left - right) > 0.1
        assert jumps == (kink.value is not None)
        assert jumps or jax.grad(z)(at - 1e-3) != jax.grad(z)(at + 1e-3)


@pytest.mark.parametrize("a", [6.0, -2.0])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_has_slope_0_and_parametric_relu_slope_a_at_the_kink(a, zero):
    assert relu.derivative(zero) == jax.grad(relu.fn)(zero) == 0
    assert p_relu.derivative(zero, a=a, b=0.0) == jax.grad(p_relu.fn)(zero, a=a, b=0.0) == a
    assert p_relu.derivative(1.5 + zero, a=a, b=1.5) == jax.grad(p_relu.fn)(1.5 + zero, a=a, b=1.5) == a
    assert p_relu.partials["b"](zero, a=a, b=0.0) == -a
    assert p_relu(zero, a=a, b=0.0) == p_relu.partials["a"](zero, a=a, b=0.0) == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_users_record_is_finite_and_of_the_input_dtype_up_to_1e4(dtype):
    """Those of the catalogue are looked at in `test_verification`."""
    record = RECORDS["user"]
    y = jnp.concatenate([jnp.asarray(POINTS, dtype), jnp.linspace(-1e4, 1e4, 101).astype(dtype)])
    params = {name: jnp.full_like(y, start) for name, start in record.params.items()}
    results = [record(y, **params), record(y, **record.params), closed(record, y, params), slopes(record, y, params)[1]]
    for leaf in jax.tree.leaves(results):
        chex.assert_shape(leaf, y.shape)
        chex.assert_type(leaf, dtype)
    chex.assert_tree_all_finite(results)


def s(y):
    return np.where(y >= 0, 1 / (1 + np.exp(-np.abs(y))), np.exp(-np.abs(y)) / (1 + np.exp(-np.abs(y))))


def s_slope(y):
    return np.exp(-np.abs(y)) / (1 + np.exp(-np.abs(y))) ** 2


# name -> z and dz/dy as functions of y, a, b; those without parameters are read at a = 1, b = 0.
FORMULAS = {
    "identity": (lambda y, a, b: y, lambda y, a, b: np.ones_like(y)),
    "sigmoid": (lambda y, a, b: s(y), lambda y, a, b: s_slope(y)),
    "parametric_sigmoid": (lambda y, a, b: a * s(y - b), lambda y, a, b: a * s_slope(y - b)),
    "pn_sigmoid": (lambda y, a, b: s(y) - 0.5, lambda y, a, b: s_slope(y)),
    "ppns": (lambda y, a, b: a * s(y - b) - a / 2, lambda y, a, b: a * s_slope(y - b)),
    "tanh": (lambda y, a, b: np.tanh(y), lambda y, a, b: 4 * s_slope(2 * y)),
    "parametric_tanh": (
        lambda y, a, b: a * np.tanh(y - b),
        lambda y, a, b: 4 * a * np.exp(2 * (y + b)) / (np.exp(2 * y) + np.exp(2 * b)) ** 2,
    ),
    "relu": (lambda y, a, b: np.maximum(y, 0), lambda y, a, b: np.where(y > 0, 1.0, 0.0)),
    "relu_from_right": (lambda y, a, b: np.maximum(y, 0), lambda y, a, b: np.where(y >= 0, 1.0, 0.0)),
    "parametric_relu": (
        lambda y, a, b: np.where(y >= b, a * (y - b), 0),
        lambda y, a, b: np.where(y >= b, a, 0),
    ),
}


def test_a_formula_stands_here_for_every_published_record():
    assert set(FORMULAS) == set(PUBLISHED)


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_slopes_equal_the_papers_formulas(name, x64):
    record, (value, slope) = catalogue.get(name), FORMULAS[name]
    y, params = inputs(record, np.float64)
    # exp(2 y) of the paper's tanh row overflows beyond 350, where the slope is 0 in 64 bits anyway.
    near = {"y": jnp.clip(y, -30, 30), "a": 1.0, "b": 0.0} | params
    near_params = {p: near[p] for p in params}
    args = [np.asarray(near[p]) for p in ("y", "a", "b")]
    np.testing.assert_allclose(record(near["y"], **near_params), value(*args), rtol=1e-12, atol=1e-14)
    # No absolute tolerance: in saturation the slope is tiny, and its digits are what vanishing gradients consist of.
    np.testing.assert_allclose(record.derivative(near["y"], **near_params), slope(*args), rtol=1e-12)


def test_table_2_of_ppns_corrected(x64):
    y, params = inputs(ppns, np.float64)
    a, z, slope = params["a"], ppns(y, **params), slopes(ppns, y, params)[1]
    right, unshifted = a / 4 - z**2 / a, z + a / 2
    for form in (right, unshifted * (1 - unshifted / a)):
        np.testing.assert_allclose(form, slope["y"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(-right, slope["b"], rtol=1e-12, atol=1e-14)


def test_table_2_of_ppns_as_printed_fails():
    a, b = 6.0, 0.25
    z, slope = ppns(b, a=a, b=b), jax.grad(ppns.fn)(b, a=a, b=b)
    assert z * (1 - z / a) == 0  # as printed: no slope at all in the middle of the curve
    assert slope == ppns.derivative(b, a=a, b=b) == a / 4


def test_autodiff_of_sigmoids_fades_earlier_than_their_closed_form():
    """What a reader of float32 gradients has to know: autodiff's slope is 0 where s rounds to 1."""
    for record, y in ((sigmoid, 20.0), (tanh, 10.0), (pn_sigmoid, 20.0)):
        assert jax.grad(record.fn)(y) == 0
        assert record.derivative(y) > 1e-9
