"""ReLTanh: tanh between two learned thresholds, its tangent lines outside them."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import vanishing
from paramact_jax.activations.record import Activation
from paramact_jax.activations.zoo import tanh


def _ordered(lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether the thresholds are in order, and the lower and the upper one; selected, so autodiff never halves."""
    in_order = jnp.less_equal(lambda_minus, lambda_plus)
    low = jnp.where(in_order, lambda_minus, lambda_plus)
    return in_order, low, jnp.where(in_order, lambda_plus, lambda_minus)


def _nearest(y: ArrayLike, low: jax.Array, high: jax.Array) -> jax.Array:
    """The point of tangency for y: a threshold outside them, y itself between."""
    return jnp.where(jnp.greater_equal(y, high), high, jnp.where(jnp.less_equal(y, low), low, y))


def _reltanh(y: ArrayLike, *, lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> jax.Array:
    # Where the line is taken, tanh does not see y, and where tanh is taken, the line does not: y may be infinite.
    _, low, high = _ordered(lambda_plus, lambda_minus)
    above, below = jnp.greater_equal(y, high), jnp.less_equal(y, low)
    end = jnp.where(above, high, low)
    line = jnp.tanh(end) + tanh.derivative(end) * (y - end)
    return jnp.where(above | below, line, jnp.tanh(jnp.where(above | below, 0, y)))


def _reltanh_derivative(y: ArrayLike, *, lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> jax.Array:
    _, low, high = _ordered(lambda_plus, lambda_minus)
    return tanh.derivative(_nearest(y, low, high))


def _by_threshold(y: ArrayLike, at: ArrayLike) -> jax.Array:
    at = jnp.asarray(at, jnp.result_type(y, at))  # a threshold given as a number takes the dtype of y
    return vanishing(-2 * jnp.tanh(at) * tanh.derivative(at), y - at)


def _reltanh_by_plus(y: ArrayLike, *, lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> jax.Array:
    in_order, low, high = _ordered(lambda_plus, lambda_minus)
    beyond = jnp.where(in_order, jnp.greater_equal(y, high), jnp.less_equal(y, low))
    return jnp.where(beyond, _by_threshold(y, lambda_plus), 0)


def _reltanh_by_minus(y: ArrayLike, *, lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> jax.Array:
    in_order, low, high = _ordered(lambda_plus, lambda_minus)
    beyond = jnp.where(in_order, jnp.less_equal(y, low) & jnp.less(y, high), jnp.greater_equal(y, high))
    return jnp.where(beyond, _by_threshold(y, lambda_minus), 0)


reltanh = Activation(
    name="reltanh",
    fn=_reltanh,
    derivative=_reltanh_derivative,
    partials={"lambda_plus": _reltanh_by_plus, "lambda_minus": _reltanh_by_minus},
    params={"lambda_plus": 0.0, "lambda_minus": -1.5},
    steepest_slope=1.0,
    range=(-math.inf, math.inf),
    formula="tanh(y) between lambda_minus and lambda_plus, its tangent line outside",
    source="[P, Table 6 and 7]; Wang et al. 2019",
)
"""f(y) = tanh(y) for lambda_minus < y < lambda_plus, tanh'(l) (y - l) + tanh(l) beyond the threshold l on that side.

dz/dy is tanh' at the point of tangency, dz/dl = -2 tanh(l) tanh'(l) (y - l) beyond l and 0 elsewhere. There is no
kink: a tangent line meets the curve with its slope. The thresholds are kept ordered by using the smaller one as the
lower, whichever parameter training leaves it in. At lambda_plus = 0, where [P, Table 7] starts it, dz/dlambda_plus is 0
for every y, since tanh bends at no rate there: gradient descent from the published start values never moves it.

Examples:
  >>> float(reltanh(3.0, lambda_plus=0.0, lambda_minus=-1.5)), float(reltanh(-1.0, lambda_plus=-1.5, lambda_minus=0.0))
  (3.0, -0.7615941762924194)
"""
