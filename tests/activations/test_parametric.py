"""The transform f -> a f(y - b), for the catalogue's functions and for a user's own."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramact_jax.activations import (
    Kink,
    activation,
    catalogue,
    identity,
    parametric,
    ppns,
    relu_from_right,
    sgn,
    sigmoid,
    step,
    tanh,
)
from paramact_jax.papers import ko2021

EVERY = [catalogue.get(name) for name in catalogue.names()]
BASES = [record for record in EVERY if not record.params and record.steepest_slope]
every_base = pytest.mark.parametrize("base", BASES, ids=lambda record: record.name)
every_record = pytest.mark.parametrize("name", catalogue.names())
numbers = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


def rows(size):
    return st.lists(numbers, min_size=size, max_size=size).map(lambda values: np.array(values, np.float32))


@every_base
@settings(max_examples=10)
@given(y=rows(20))
def test_a_1_b_0_is_the_base_bit_for_bit(base, y):
    z, expected = (np.asarray(x) for x in (parametric(base)(y, a=1.0, b=0.0), base(y)))
    np.testing.assert_array_equal(z.view(np.int32), expected.view(np.int32))


@functools.cache
def slopes_in_y_and_b(base):
    """Returns the jitted slopes of a f(y - b), as a function of y, b and a."""
    return jax.jit(jax.grad(lambda y, b, a: parametric(base)(y, a=a, b=b).sum(), argnums=(0, 1)))


@every_base
@given(y=rows(4), a=numbers, b=numbers)
def test_slope_in_b_is_minus_the_slope_in_y(base, y, a, b):
    y = np.append(y, np.float32(b))  # the kink, if there is one, lies at y = b
    a, b = (np.full_like(y, x) for x in (a, b))
    by_y, by_b = slopes_in_y_and_b(base)(y, b, a)
    np.testing.assert_array_equal(by_b, -by_y)


@every_base
def test_start_value_of_a_makes_the_steepest_slope_1_5(base):
    record = parametric(base)
    assert record.params == {"a": 1.5 / base.steepest_slope, "b": 0.0}
    assert record.steepest_slope == pytest.approx(1.5, rel=1e-15)


@pytest.mark.parametrize("row", [row for row in ko2021.TABLE_5 if row.initial_a is not None], ids=lambda r: r.label)
def test_start_values_are_the_published_ones(row):
    assert catalogue.get(row.activation).params == {"a": row.initial_a, "b": row.initial_b}


def test_four_rows_of_table_5_have_start_values():
    assert [row.initial_a for row in ko2021.TABLE_5 if row.initial_a is not None] == [6.0, 6.0, 1.5, 1.5]


@every_record
def test_steepest_slope_and_range_hold_on_a_dense_grid(name, x64):
    record = catalogue.get(name)
    beside_kinks = [kink.at + side for kink in record.kinks for side in (-1e-12, 0.0, 1e-12)]
    y = jnp.concatenate([jnp.linspace(-50, 50, 100_001), jnp.array([-1e8, 1e8, *beside_kinks])])
    z, slope = jax.jit(lambda y: jax.jvp(lambda y: record(y, **record.params), (y,), (jnp.ones_like(y),)))(y)
    # The grid comes within 5e-4 of a steepest point inside it, where the slope is flat.
    assert float(jnp.abs(slope).max()) == pytest.approx(record.steepest_slope, rel=1e-6)
    assert float(jnp.abs(slope).max()) <= record.steepest_slope * (1 + 1e-12)
    low, high = record.range
    assert low * (1 + 1e-15) <= float(z.min())
    assert float(z.max()) <= high
    for bound in record.range:
        near = float(jnp.abs(z - bound).min()) if math.isfinite(bound) else 1 / float(jnp.abs(z).max())
        assert near < 3e-7  # a bound is reached or approached, not merely safe


@pytest.mark.parametrize(
    ("fn", "steepest", "span"),
    [
        (jnp.arctan, 1.0, (-1.5608, 1.5608)),
        (jax.nn.softplus, 1.0, (0.0, 100.0)),
        (jnp.sin, 1.0, (-1.0, 1.0)),
        (lambda y: jnp.exp(-(y**2)), math.sqrt(2 / math.e), (0.0, 1.0)),
        (lambda y: -3 * y, 3.0, (-300.0, 300.0)),
    ],
    ids=["arctan", "softplus", "sin", "gaussian", "line"],
)
def test_properties_of_a_users_function_are_found(fn, steepest, span):
    record = activation(fn)
    assert record.steepest_slope == pytest.approx(steepest, rel=1e-6)
    assert record.range == pytest.approx(span, abs=1e-4)
    assert parametric(fn).params["a"] == pytest.approx(1.5 / steepest, rel=1e-6)


def test_start_values_move_kinks_and_scale_the_range():
    record = parametric(relu_from_right, a=-2.0, b=0.5, name="mine", source="here")
    assert record.kinks == (Kink(at=0.5, slope=-2.0),)
    assert record.range == (-math.inf, 0.0)
    assert (record.name, record.source, record.steepest_slope) == ("mine", "here", 2.0)
    assert parametric(identity, a=0.0).range == (0.0, 0.0)


@pytest.mark.parametrize(("name", "centred"), [("sigmoid", False), ("tanh", True), ("ppns", True), ("relu", False)])
def test_zero_centred(name, centred):
    assert catalogue.get(name).zero_centred is centred


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (ppns, ValueError, "parametric already"),
        (jnp.ones_like, ValueError, r"steepest slope is 0, .*pass a="),
        (3.0, TypeError, "elementwise function of one array, got float"),
        (lambda y: jnp.sqrt(jnp.abs(y)), ValueError, r"steepest slope is inf, .*pass a="),
        (jnp.sum, ValueError, r"elementwise function.* -> \(\)"),
        (jax.nn.softmax, ValueError, "elementwise function"),
        (jnp.cumsum, ValueError, "elementwise function"),
        (jnp.flip, ValueError, "elementwise function"),
        (lambda y: y / jnp.max(jnp.abs(y)), ValueError, "elementwise function"),
        (np.tanh, TypeError, "write it with jax.numpy"),
        (jnp.square, ValueError, r"steepest slope is inf, .*pass a="),
        (lambda y: y * jnp.sin(y), ValueError, r"steepest slope is inf, .*pass a="),
    ],
    ids=[
        "parametric",
        "constant",
        "number",
        "infinite slope",
        "sum",
        "softmax",
        "cumsum",
        "flip",
        "scaled",
        "NumPy",
        "square",
        "growing",
    ],
)
def test_what_cannot_be_made_parametric_is_refused(f, error, message):
    with pytest.raises(error, match=message):
        parametric(f)


@pytest.mark.parametrize("f", [jnp.ones_like, lambda y: jnp.sqrt(jnp.abs(y))], ids=["no slope", "infinite slope"])
def test_a_stated_start_value_needs_no_steepest_slope(f):
    """The refusals above advise parametric(f, a=...)."""
    assert parametric(f, a=2.0, learned=("a",)).params == {"a": 2.0}


@pytest.mark.parametrize("flat", [step, sgn, jnp.ones_like], ids=["step", "sgn", "user"])
def test_a_learned_shift_of_a_flat_function_warns(flat):
    with pytest.raises(ValueError, match=r"steepest slope is 0, .*pass a="):
        parametric(flat)
    with pytest.warns(UserWarning, match=r"slope is 0 everywhere, so b gets no gradient") as caught:
        record = parametric(flat, a=2.0)
    assert caught[0].filename == __file__
    assert record.params == {"a": 2.0, "b": 0.0}
    assert jax.grad(lambda b: record(1.0, a=2.0, b=b))(0.0) == 0
    parametric(flat, a=2.0, learned="a")  # no warning


@pytest.mark.parametrize("learned", [("a", "b"), ("b", "a"), ("a",), ("b",), ()], ids=str)
@pytest.mark.parametrize("name", ["tanh", "relu_from_right", "swish", "hexpo", "reltanh", "isigmoid", "prelu"])
def test_what_is_not_learned_is_a_constant(name, learned):
    base = catalogue.get(name)
    whole = parametric(base, a=3.0, b=0.25)
    record = parametric(base, a=3.0, b=0.25, learned=learned)
    assert list(record.params) == [p for p in ("a", "b") if p in learned] + list(base.params)
    y = jnp.linspace(-4, 4, 33)
    values = {p: 1.5 * start + 0.1 for p, start in record.params.items()}
    everything = dict(whole.params) | values
    np.testing.assert_array_equal(record(y, **values), whole(y, **everything))
    np.testing.assert_array_equal(record.derivative(y, **values), whole.derivative(y, **everything))
    for p, partial in record.partials.items():
        np.testing.assert_array_equal(partial(y, **values), whole.partials[p](y, **everything))
    assert (record.kinks, record.range, record.steepest_slope) == (whole.kinks, whole.range, whole.steepest_slope)


def test_a_frozen_parameter_cannot_be_passed():
    with pytest.raises(TypeError, match="'b'"):
        parametric(tanh, learned=("a",))(0.0, a=1.0, b=2.0)


def test_only_a_and_b_can_be_learned():
    with pytest.raises(ValueError, match=r"learned to name some of a, b; got \['c'\]"):
        parametric(tanh, learned=("a", "c"))


@pytest.mark.parametrize("start", [{"a": float("nan")}, {"a": float("inf")}, {"b": float("nan")}], ids=str)
def test_start_values_that_are_not_finite_are_refused(start):
    with pytest.raises(ValueError, match="expected finite start values"):
        parametric(tanh, **start)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {"a": 1.0}}, r"one partial for each parameter \['a'\], got partials for \[\]"),
        ({"partials": {"a": jnp.sin}}, r"one partial for each parameter \[\], got partials for \['a'\]"),
        ({"steepest_slope": math.nan}, "steepest slope >= 0"),
        ({"steepest_slope": -1.0}, "steepest slope >= 0"),
    ],
    ids=["partial missing", "partial of nothing", "nan", "negative"],
)
def test_an_inconsistent_record_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tanh, **change)


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ppns.name = "other"
    with pytest.raises(TypeError):
        ppns.params["a"] = 1.0


def test_records_are_static_arguments_compared_by_identity():
    traces = []

    def z(record, y):
        traces.append(record)
        return record(y)

    jitted, twin = jax.jit(z, static_argnums=0), dataclasses.replace(sigmoid)
    for record in (sigmoid, twin, sigmoid, twin):
        jitted(record, jnp.zeros(3))
    assert len(traces) == 2
    assert traces[0] is sigmoid
    assert traces[1] is twin


@pytest.mark.parametrize(("wrong", "near"), [("ppn", "ppns"), ("parametric_tahn", "parametric_tanh")])
def test_an_unknown_name_says_the_nearest(wrong, near):
    with pytest.raises(ValueError, match=f"unknown activation '{wrong}'.* did you mean {near}"):
        catalogue.get(wrong)


def test_a_name_like_none_says_all_of_them():
    with pytest.raises(ValueError, match=", ".join(catalogue.names())) as error:
        catalogue.get("zzz")
    assert "did you mean" not in str(error.value)
