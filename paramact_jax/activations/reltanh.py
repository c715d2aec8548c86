"""ReLTanh: tanh between two learned thresholds, and its tangent lines outside them."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import vanishing
from paramact_jax.activations.record import Activation
from paramact_jax.activations.zoo import tanh


def _ordered(lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns whether the thresholds are in order, the lower and the upper one.

    It selects them: with `jnp.minimum` autodiff would halve the gradient where they are equal.
    """
    in_order = jnp.less_equal(lambda_minus, lambda_plus)
    low = jnp.where(in_order, lambda_minus, lambda_plus)
    return in_order, low, jnp.where(in_order, lambda_plus, lambda_minus)


def _nearest(y: ArrayLike, low: jax.Array, high: jax.Array) -> jax.Array:
    """Returns the point of tangency for y: the nearest threshold outside them, y itself between them."""
    return jnp.where(jnp.greater_equal(y, high), high, jnp.where(jnp.less_equal(y, low), low, y))


def _reltanh(y: ArrayLike, *, lambda_plus: ArrayLike, lambda_minus: ArrayLike) -> jax.Array:
    # Where a line is taken, tanh is computed at 0 and not at y, which may be infinite.
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
kink: a tangent line meets the curve with its slope. If training swaps the order of the two, the smaller one is used as
the lower threshold. [P, Table 7] starts lambda_plus at 0. There dz/dlambda_plus is 0 for every y, since tanh'' is 0
there, so gradient descent from the published start values never moves it.

Examples:
  >>> float(reltanh(3.0, lambda_plus=0.0, lambda_minus=-1.5)), float(reltanh(-1.0, lambda_plus=-1.5, lambda_minus=0.0))
  (3.0, -0.7615941762924194)
"""
