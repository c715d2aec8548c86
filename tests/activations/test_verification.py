"""Every record of the catalogue: closed forms, values and accuracy, and that a wrong record would be noticed."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.activations import activation, catalogue, parametric, relu, sigmoid, squareplus, tanh
from paramact_jax.activations.errata import ERRATA
from paramact_jax.activations.reference import VALUES
from paramact_jax.activations.verification import (
    check_against_autodiff,
    check_against_float64,
    grid,
    numbers,
    ulp_error,
)

every_record = pytest.mark.parametrize("name", catalogue.names())
BFLOAT16 = pytest.param("bfloat16", marks=pytest.mark.slow)
FLOAT16 = pytest.param("float16", marks=pytest.mark.slow)
FLOAT32 = pytest.param("float32", marks=pytest.mark.slow)


@every_record
@pytest.mark.parametrize("dtype", ["float64", FLOAT32, BFLOAT16, FLOAT16])
def test_closed_forms_equal_autodiff(name, dtype):
    record = catalogue.get(name)
    checks = check_against_autodiff(record, dtype)
    assert {check.against for check in checks} == {"forward", "grad", "jit", "vmap"}
    assert {check.quantity for check in checks} == {"dz/dy", *(f"dz/d{p}" for p in record.params)}
    assert [check for check in checks if not check.passed] == []


@every_record
def test_values_equal_numpy_and_slopes_equal_differences(name):
    checks = check_against_float64(catalogue.get(name))
    assert [(check.against, check.quantity) for check in checks][:2] == [("numpy", "z"), ("differences", "dz/dy")]
    assert [check for check in checks if not check.passed] == []
    assert all(check.points > 30 for check in checks)


@every_record
@pytest.mark.parametrize("dtype", ["float32", BFLOAT16, FLOAT16])
def test_values_are_finite_of_the_input_dtype_and_no_worse_than_jax_nn(name, dtype):
    record = catalogue.get(name)
    y, params = grid(record, dtype)
    z = record(y, **params)
    assert (z.shape, z.dtype) == (y.shape, y.dtype)
    assert record(y, **record.params).dtype == y.dtype
    assert bool(jnp.isfinite(z).all())
    assert ulp_error(record, dtype).passed


@every_record
@pytest.mark.parametrize("dtype", ["float32", BFLOAT16, "float16"])
def test_no_number_gives_a_gradient_that_is_not_finite(name, dtype):
    record, y = catalogue.get(name), jnp.asarray(numbers(dtype))
    params = {p: jnp.full_like(y, start) for p, start in record.params.items()}

    @jax.jit
    def everything(y, params):
        z, pull_back = jax.vjp(lambda y, params: record(y, **params), y, params)
        closed = [record.derivative(y, **params), *(d(y, **params) for d in record.partials.values())]
        return [z, *pull_back(jnp.ones_like(y)), *closed]

    for leaf in jax.tree.leaves(everything(y, params)):
        assert bool(jnp.isfinite(leaf).all())
        assert leaf.dtype == y.dtype


def test_numpy_knows_every_record():
    assert set(VALUES) == set(catalogue.names())


@every_record
def test_functions_of_jax_nn_are_computed_by_it(name):
    record, y = catalogue.get(name), jnp.linspace(-200, 200, 4001)
    if record.jax_nn is None:
        return
    if name == "squareplus":  # whose tail jax.nn loses to cancellation
        y = jnp.maximum(y, -5)
        np.testing.assert_allclose(record(y), record.jax_nn(y), rtol=1e-5)
    else:
        np.testing.assert_array_equal(record(y, **record.params), record.jax_nn(y))


# Those with an own rule for the slope, or a guard at infinity.
OWN_RULES = ("elu", "elu_alpha", "celu", "selu", "silu", "swish", "gelu", "gelu_tanh", "mish", "hard_silu", "softsign")


@pytest.mark.parametrize("name", OWN_RULES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_own_rules_leave_every_bit_of_the_value(name, dtype):
    record, y = catalogue.get(name), jnp.asarray(numbers(dtype))
    z, expected = (np.asarray(jax.jit(f)(y)) + 0 for f in (lambda y: record(y, **record.params), record.jax_nn))
    np.testing.assert_array_equal(z.view(np.uint16), expected.view(np.uint16))  # but for the sign of 0


def test_float16_is_why_two_functions_are_not_jax_nns_own():
    far = jnp.float16(1e4)
    assert math.isinf(jax.nn.squareplus(far))
    assert math.isnan(jax.grad(jax.nn.gelu)(far))
    assert squareplus(far) == far
    assert jax.grad(catalogue.get("gelu_tanh").fn)(far) == 1


@pytest.mark.parametrize(
    ("wrong", "against"),
    [
        (dataclasses.replace(tanh, derivative=lambda y: 1 - jnp.tanh(y)), {"forward", "grad", "jit", "vmap"}),
        (dataclasses.replace(relu, derivative=lambda y: (y >= 0).astype(y.dtype)), {"forward", "grad", "jit", "vmap"}),
        (dataclasses.replace(tanh, derivative=lambda y: jnp.float32(0) + tanh.derivative(y)), {"dtype"}),
        (dataclasses.replace(sigmoid, derivative=lambda y: jnp.exp(-y) / (1 + jnp.exp(-y)) ** 2), {"finite"}),
    ],
    ids=["formula", "kink", "dtype", "overflow"],
)
def test_a_wrong_derivative_is_noticed(wrong, against):
    checks = check_against_autodiff(wrong, "bfloat16")
    assert not any(check.passed for check in checks)
    if against & {"dtype", "finite"}:
        assert all(math.isinf(check.error) for check in checks)


def test_a_wrong_partial_is_noticed_by_both():
    right = catalogue.get("swish")
    wrong = dataclasses.replace(right, partials={"beta": lambda y, beta: y * right.derivative(y, beta=beta)})
    for checks in (check_against_autodiff(wrong), check_against_float64(wrong)):
        assert {check.quantity for check in checks if not check.passed} == {"dz/dbeta"}


def test_a_wrong_value_is_noticed():
    wrong = dataclasses.replace(tanh, fn=lambda y: jnp.tanh(y) * (1 + 1e-13))
    assert [check.against for check in check_against_float64(wrong) if not check.passed] == ["numpy"]


def test_a_users_function_is_compared_with_differences_only():
    checks = check_against_float64(parametric(activation(jnp.sin, "sine")))
    assert [check.against for check in checks] == ["differences"] * 3
    assert all(check.passed for check in checks)


def test_ulps_count_as_they_should():
    eps = 2.0**-10
    off = dataclasses.replace(relu, fn=lambda y: relu(y) * (1 + 4 * eps) if y.dtype == jnp.float16 else relu(y))
    found = ulp_error(off, "float16")
    assert 4 <= found.error <= 8.5  # between a power of 2 and its double a relative error of 4 eps is 4 to 8 ulps
    assert found.jax_nn_error == 0
    assert not found.passed
    assert ulp_error(squareplus, "float16").jax_nn_error == math.inf


@pytest.mark.parametrize("check", [check_against_autodiff, ulp_error])
def test_other_dtypes_are_refused(check):
    with pytest.raises(ValueError, match=r"expected one of the dtypes .*float16, got int32"):
        check(tanh, "int32")
    if check is ulp_error:
        with pytest.raises(ValueError, match="got float64"):
            check(tanh, "float64")


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: erratum.where)
def test_printed_formulas_fail_and_the_right_ones_hold(erratum):
    assert erratum.check().confirmed
    if erratum.truth is None:
        assert set(erratum.point) == {"y", *erratum.activation.params}


def test_the_right_formula_is_right_everywhere():
    for erratum in ERRATA:
        name = "y" if "y" in erratum.point else next(iter(erratum.point))
        for value in (-1.0, 0.0, 1.0) if name == "i" else (-2.0, -0.5, 0.0, 0.75, 3.0):
            example = dataclasses.replace(erratum, point={**erratum.point, name: value}).check()
            assert example.right == pytest.approx(example.true, rel=1e-4, abs=1e-6)


def test_errata_are_of_every_source_and_one_that_is_none_is_not_confirmed():
    assert list(dict.fromkeys(erratum.source for erratum in ERRATA)) == ["P", "A", "R", "B1", "B2"]
    assert not dataclasses.replace(ERRATA[-1], printed=ERRATA[-1].right).check().confirmed
    with pytest.raises(ValueError, match="expected an activation or a truth, got neither"):
        dataclasses.replace(ERRATA[-1], activation=None, truth=None).check()
