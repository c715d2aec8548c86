"""Base activation functions f(y), each beside its closed-form derivative.

Every function keeps the dtype of y and is finite, with finite derivative, for |y| <= 1e4 in every float dtype.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.record import Activation, Kink


def _identity(y: ArrayLike) -> jax.Array:
    return jnp.asarray(y)


def _identity_derivative(y: ArrayLike) -> jax.Array:
    return jnp.ones_like(y)


def _sigmoid_derivative(y: ArrayLike) -> jax.Array:
    # s(y) s(-y) rather than s (1 - s): the second loses all digits where s rounds to 1.
    return jax.nn.sigmoid(y) * jax.nn.sigmoid(jnp.negative(y))


def _pn_sigmoid(y: ArrayLike) -> jax.Array:
    # sigmoid(y) - 1/2 without its cancellation at y = 0.
    return 0.5 * jnp.tanh(0.5 * jnp.asarray(y))


def _tanh_derivative(y: ArrayLike) -> jax.Array:
    return 4 * _sigmoid_derivative(2 * jnp.asarray(y))


def _relu_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return (y > 0).astype(y.dtype)


def _relu_from_right(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return jnp.where(y < 0, 0, y)


def _relu_from_right_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return (y >= 0).astype(y.dtype)


identity = Activation(
    name="identity",
    fn=_identity,
    derivative=_identity_derivative,
    steepest_slope=1.0,
    range=(-math.inf, math.inf),
    formula="y",
    source="[R, no. 1]",
)
"""f(y) = y."""

sigmoid = Activation(
    name="sigmoid",
    fn=jax.nn.sigmoid,
    derivative=_sigmoid_derivative,
    steepest_slope=0.25,
    range=(0.0, 1.0),
    formula="1 / (1 + exp(-y))",
    source="[P, eq. 14]",
)
"""f(y) = 1 / (1 + exp(-y)), f' = f (1 - f)."""

pn_sigmoid = Activation(
    name="pn_sigmoid",
    fn=_pn_sigmoid,
    derivative=_sigmoid_derivative,
    steepest_slope=0.25,
    range=(-0.5, 0.5),
    formula="1 / (1 + exp(-y)) - 1/2",
    source="[P, Table 1], with a = 1, b = 0",
)
"""f(y) = sigmoid(y) - 1/2, the positive-negative sigmoid under PPNS; f' is sigmoid's."""

tanh = Activation(
    name="tanh",
    fn=jnp.tanh,
    derivative=_tanh_derivative,
    steepest_slope=1.0,
    range=(-1.0, 1.0),
    formula="tanh(y)",
    source="[P, Table 6]",
)
"""f(y) = tanh(y), f' = sech^2(y)."""

relu = Activation(
    name="relu",
    fn=jax.nn.relu,
    derivative=_relu_derivative,
    steepest_slope=1.0,
    range=(0.0, math.inf),
    formula="y if y > 0 else 0",
    source="[P, Table 6]",
    kinks=(Kink(at=0.0, slope=0.0),),
)
"""f(y) = max(y, 0), f' = 1 for y > 0 and 0 for y <= 0: slope 0 at the kink [P, Table 6]."""

relu_from_right = Activation(
    name="relu_from_right",
    fn=_relu_from_right,
    derivative=_relu_from_right_derivative,
    steepest_slope=1.0,
    range=(0.0, math.inf),
    formula="y if y >= 0 else 0",
    source="[P, Table 1], with a = 1, b = 0",
    kinks=(Kink(at=0.0, slope=1.0),),
)
"""f(y) = max(y, 0) with its right-hand slope 1 at y = 0, as under Parametric ReLU [P, Table 1].

The values are `relu`'s; only the slope at the kink differs. It decides trainings that start from zero biases, where
the input (0, 0) sits on the kink of every layer.
"""
