"""Functions with shape parameters: published start values, limits, and what training can do to the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.activations import (
    catalogue,
    elu,
    elu_alpha,
    hexpo,
    hexpo_of_layer,
    isigmoid,
    leaky_relu_of_slope,
    parametric,
    parametric_hexpo,
    parametric_hexpo_of_layer,
    prelu,
    reltanh,
    relu,
    sigmoid,
    silu,
    swish,
    tanh,
    thresholded_relu_at,
)

Y = jnp.linspace(-6, 6, 97)


@pytest.mark.parametrize("layer", range(9))
def test_hexpo_starts_as_table_7_says(layer):
    i = layer
    assert list(hexpo_of_layer(layer).params.values()) == [i / 2 + 1, i / 8 + 1, i / 2 + 1, i / 8 + 1]
    assert list(parametric_hexpo_of_layer(layer).params.values()) == [0.0, i / 2 + 1, i / 8 + 1, i / 2 + 1, i / 8 + 1]
    assert hexpo_of_layer(layer).steepest_slope == pytest.approx(
        hexpo_of_layer(layer).derivative(0.0, **hexpo_of_layer(layer).params)
    )


def test_the_catalogues_hexpo_is_the_first_layers():
    assert hexpo.params == hexpo_of_layer(1).params
    assert parametric_hexpo.params == parametric_hexpo_of_layer(1).params


@pytest.mark.parametrize("layer", [-1, 1.5])
def test_hexpo_of_no_layer_is_refused(layer):
    with pytest.raises(ValueError, match="number of a hidden layer, 0 or more"):
        hexpo_of_layer(layer)


def test_parametric_hexpo_does_not_jump():
    shape = dict(hexpo.params)
    for at in (0.0, 0.5):
        left, right = (parametric_hexpo(at + side, b=0.5, **shape) for side in (-1e-6, 1e-6))
        assert float(left) == pytest.approx(float(right), abs=1e-5)
    np.testing.assert_array_equal(parametric_hexpo(Y, b=0.5, **shape), hexpo(Y - 0.5, **shape))


def test_hexpo_with_uneven_sides_has_the_right_hand_slope_at_its_kink():
    shape = {"positive_height": 2.0, "positive_width": 0.5, "negative_height": 1.0, "negative_width": 4.0}
    assert hexpo.derivative(0.0, **shape) == jax.grad(lambda y: hexpo(y, **shape))(0.0) == 4.0


def test_hexpo_can_be_made_parametric_like_any_other():
    assert list(parametric(hexpo).params)[:2] == ["a", "b"]
    assert parametric(hexpo).params["a"] == 1.5 / hexpo.steepest_slope


def test_shape_parameters_reach_the_functions_without():
    np.testing.assert_array_equal(prelu(Y, negative_slope=0.0), relu(Y))
    np.testing.assert_array_equal(elu_alpha(Y, alpha=1.0), elu(Y))
    np.testing.assert_array_equal(swish(Y, beta=1.0), silu(Y))
    np.testing.assert_array_equal(isigmoid(Y, threshold=10.0, alpha=1.0), sigmoid(Y))
    np.testing.assert_array_equal(reltanh(Y, lambda_plus=10.0, lambda_minus=-10.0), tanh(Y))


def test_reltanh_is_the_same_with_its_thresholds_swapped():
    one, other = (reltanh(Y, lambda_plus=p, lambda_minus=m) for p, m in ((0.5, -1.5), (-1.5, 0.5)))
    np.testing.assert_array_equal(one, other)
    for plus, minus in ((0.5, -1.5), (-1.5, 0.5), (-0.5, -0.5)):
        args = (jnp.full_like(Y, plus), jnp.full_like(Y, minus))
        by = jax.grad(lambda p, m: reltanh(Y, lambda_plus=p, lambda_minus=m).sum(), argnums=(0, 1))(*args)
        for found, name in zip(by, ("lambda_plus", "lambda_minus"), strict=True):
            closed = reltanh.partials[name](Y, lambda_plus=plus, lambda_minus=minus)
            np.testing.assert_allclose(closed, found, rtol=1e-5, atol=1e-6)
            assert bool(jnp.any(found != 0))


def test_reltanhs_upper_threshold_has_no_gradient_where_it_starts():
    by_plus = jax.grad(lambda p: reltanh(Y, lambda_plus=p, lambda_minus=-1.5).sum())(0.0)
    assert by_plus == 0
    assert jax.grad(lambda p: reltanh(Y, lambda_plus=p, lambda_minus=-1.5).sum())(0.01) != 0


def test_reltanh_has_no_kink():
    slopes = reltanh.derivative(jnp.array([0.5 - 1e-6, 0.5 + 1e-6]), lambda_plus=0.5, lambda_minus=-1.5)
    assert float(slopes[0]) == pytest.approx(float(slopes[1]), abs=1e-5)


@pytest.mark.parametrize("threshold", [2.0, -2.0, 0.0])
def test_isigmoids_threshold_counts_as_its_size(threshold):
    params = {"threshold": threshold, "alpha": 0.125}
    np.testing.assert_array_equal(isigmoid(Y, **params), isigmoid(Y, threshold=abs(threshold), alpha=0.125))
    by = jax.vmap(jax.grad(lambda t, y: isigmoid(y, threshold=t, alpha=0.125)), (None, 0))(threshold, Y)
    np.testing.assert_allclose(isigmoid.partials["threshold"](Y, **params), by, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: leaky_relu_of_slope(1.0), "negative slope other than 1, got 1.0"),
        (lambda: leaky_relu_of_slope(float("nan")), "finite negative slope"),
        (lambda: thresholded_relu_at(-1.0), "threshold >= 0, got -1.0"),
        (lambda: thresholded_relu_at(float("inf")), "finite threshold"),
    ],
)
def test_constants_that_make_no_function_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_families_by_their_constant():
    assert leaky_relu_of_slope(0.3).name == "leaky_relu_0.3"
    assert leaky_relu_of_slope(-2.0).steepest_slope == 2.0
    assert leaky_relu_of_slope(-2.0).range == (0.0, float("inf"))
    assert thresholded_relu_at(0.0).kinks[0].value is None
    assert thresholded_relu_at(2.0).name == "thresholded_relu_2"


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "bfloat16"])
def test_one_of_each_parameter_per_node_broadcasts(name, dtype):
    record, y = catalogue.get(name), jnp.linspace(-3, 3, 15).reshape(5, 3).astype(dtype)
    params = {p: jnp.full((1, 3), start, dtype) for p, start in record.params.items()}
    for form in (record.fn, record.derivative, *record.partials.values()):
        found = form(y, **params)
        assert (found.shape, found.dtype) == (y.shape, y.dtype)
        np.testing.assert_array_equal(found, form(y, **record.params), strict=True)
