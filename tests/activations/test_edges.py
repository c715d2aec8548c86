"""Infinity, NaN, whole numbers, strict promotion: every record; and slopes that keep their digits in the tails."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.activations import catalogue, leaky_relu, relu, silu, step, tanh
from paramact_jax.activations.edges import check_edges, check_whole_numbers
from paramact_jax.activations.verification import DTYPES

pytestmark = pytest.mark.usefixtures("unoptimised")
every_record = pytest.mark.parametrize("name", catalogue.names())
# bfloat16 alone mixes with NumPy's numbers
SLOW = [d if d == "bfloat16" else pytest.param(d, marks=pytest.mark.slow) for d in DTYPES]


@every_record
@pytest.mark.parametrize("dtype", SLOW)
def test_limits_at_infinity_nan_and_strict_promotion(name, dtype):
    checks = check_edges(catalogue.get(name), dtype)
    assert {check.against for check in checks} == {"infinity", "NaN"}
    assert {"z", "dz/dy", "dz/dy forward", "dz/dy in reverse"} <= {check.quantity for check in checks}
    assert [check for check in checks if not check.passed] == []


@every_record
def test_whole_numbers_are_floats(name):
    record = catalogue.get(name)
    checks = check_whole_numbers(record)
    assert [check.quantity for check in checks] == ["z", "dz/dy", *(f"dz/d{p}" for p in record.params)]
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(
    ("right", "wrong", "failed"),
    [
        (step, {"fn": lambda y: (y > 0).astype(y.dtype)}, {("NaN", "z")}),
        (silu, {"fn": jax.nn.silu}, {("infinity", "z"), ("infinity", "dz/dy forward")}),
        (tanh, {"derivative": lambda y: y / y * tanh.derivative(y)}, {("infinity", "dz/dy")}),
        (tanh, {"fn": lambda y: jnp.tanh(y) * np.float32(1)}, {("strict promotion", "z")}),
        (relu, {"derivative": lambda y: jnp.where(y > 0, 1.0, 0 * y)}, {("NaN", "dz/dy forward")}),
    ],
    ids=["NaN", "limit", "slope", "dtypes", "closed form"],
)
def test_what_is_wrong_at_the_edges_is_noticed(right, wrong, failed):
    checks = check_edges(dataclasses.replace(right, **wrong), "bfloat16")
    assert failed <= {(check.against, check.quantity) for check in checks if not check.passed}


def test_a_slope_of_whole_numbers_that_is_cut_is_noticed():
    wrong = dataclasses.replace(leaky_relu)
    object.__setattr__(wrong, "derivative", leaky_relu.derivative.fn)
    assert [check.quantity for check in check_whole_numbers(wrong) if not check.passed] == ["dz/dy"]


TAILS = {
    "elu": np.exp,
    "elu_alpha": np.exp,
    "celu": np.exp,
    "selu": lambda y: 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717 * np.exp(y),
    "hexpo": lambda y: 1.5 / 1.125 * np.exp(y / 1.125),
}


@pytest.mark.parametrize(
    ("name", "order"), [*((name, 1) for name in TAILS), ("elu", 3), *(("hexpo", order) for order in (2, 3))]
)
def test_autodiff_keeps_the_digits_of_exponential_tails_in_every_order(name, order):
    record, y = catalogue.get(name), -np.geomspace(1e-3, 80, 60).astype(np.float32)
    modes = {1: [jax.grad], 2: [jax.jacfwd, jax.grad], 3: [jax.grad, jax.jacfwd, jax.grad]}[order]
    slope = lambda y: record(y, **record.params)  # noqa: E731 - it is built up below
    for mode in modes:
        slope = mode(slope)
    width = 1.125 if name == "hexpo" else 1.0
    expected = TAILS[name](y.astype(np.float64)) / width ** (order - 1)
    np.testing.assert_allclose(jax.jit(jax.vmap(slope))(y), expected, rtol=2e-5)


def test_the_slope_of_gelu_tanh_outlives_its_value():
    y = np.linspace(-9, -3, 13)
    u, bend = (2 * math.sqrt(2 / math.pi) * x for x in (y + 0.044715 * y**3, 1 + 3 * 0.044715 * y**2))
    s = 1 / (1 + np.exp(-u))
    found = jax.vmap(jax.grad(catalogue.get("gelu_tanh").fn))(jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(found, s * (1 + y * (1 - s) * bend), rtol=1e-4)
