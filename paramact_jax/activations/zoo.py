"""The base functions f(y) of the sources that saturate or are smooth, each with its closed-form derivative.

Functions of straight pieces and steps are in `rectifiers`; further functions of `jax.nn` are in `wrapped`. Every
function keeps the dtype of y. Value and derivative are finite for |y| <= 1e4 in every float dtype. At +-inf they are
their limits.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import finite, hypotenuse
from paramact_jax.activations.record import Activation, Kink


def _identity(y: ArrayLike) -> jax.Array:
    return jnp.asarray(y)


def _identity_derivative(y: ArrayLike) -> jax.Array:
    return jnp.ones_like(y)


def _sigmoid_derivative(y: ArrayLike) -> jax.Array:
    # s(y) s(-y) rather than s (1 - s): the second loses all digits where s rounds to 1.
    return jax.nn.sigmoid(y) * jax.nn.sigmoid(jnp.negative(y))


def _pn_sigmoid(y: ArrayLike) -> jax.Array:
    # sigmoid(y) - 1/2 without cancellation at y = 0.
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
    return jnp.logical_not(y < 0).astype(y.dtype)


def _softsign(y: ArrayLike) -> jax.Array:
    return jax.nn.soft_sign(finite(y))


def _softsign_derivative(y: ArrayLike) -> jax.Array:
    return jnp.square(1 / (1 + jnp.abs(y)))


def _arctan_derivative(y: ArrayLike) -> jax.Array:
    # The reciprocal squared: y^2 overflows in float16.
    return (1 / hypotenuse(y, 1.0)) ** 2


def _bent_identity(y: ArrayLike) -> jax.Array:
    # sqrt(y^2 + 1) - 1 = y^2 / (sqrt(y^2 + 1) + 1): the first cancels at y = 0, the second overflows far out.
    y = jnp.asarray(y)
    near, root = jnp.abs(y) <= 1, hypotenuse(y, 1.0)
    z = y + 0.5 * jnp.where(near, jnp.where(near, y, 0) ** 2 / (1 + root), root - 1)
    return jnp.where(y == -jnp.inf, 0.5 * y, z)


def _bent_identity_derivative(y: ArrayLike) -> jax.Array:
    y = finite(y)
    return 1 + 0.5 * (y / hypotenuse(y, 1.0))


def _where_gaussian_is_not_0(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return jnp.where(jnp.abs(y) > 30, 30, y)


def _gaussian(y: ArrayLike) -> jax.Array:
    return jnp.exp(-jnp.square(_where_gaussian_is_not_0(y)))


def _gaussian_derivative(y: ArrayLike) -> jax.Array:
    return -2 * _where_gaussian_is_not_0(y) * _gaussian(y)


identity = Activation(
    name="identity",
    fn=_identity,
    derivative=_identity_derivative,
    steepest_slope=1.0,
    range=(-math.inf, math.inf),
    formula="y",
    source="[R, no. 1]",
    jax_nn=jax.nn.identity,
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
    jax_nn=jax.nn.sigmoid,
)
"""f(y) = 1 / (1 + exp(-y)), f' = f (1 - f).

Autodiff computes f (1 - f), which is 0 where f rounds to 1 (from y = 17 on in float32). `derivative` computes
f(y) f(-y), which keeps its digits. Training uses the gradients of autodiff, as with `jax.nn.sigmoid`, and the published
counts were reproduced with them. The same holds for `tanh` and `pn_sigmoid`.

Examples:
  >>> float(jax.grad(sigmoid.fn)(20.0)), float(sigmoid.derivative(20.0)) > 2e-9
  (0.0, True)
"""

pn_sigmoid = Activation(
    name="pn_sigmoid",
    fn=_pn_sigmoid,
    derivative=_sigmoid_derivative,
    steepest_slope=0.25,
    range=(-0.5, 0.5),
    formula="1 / (1 + exp(-y)) - 1/2",
    source="[P, Table 1], with a = 1, b = 0",
)
"""f(y) = sigmoid(y) - 1/2, the positive-negative sigmoid and base function of PPNS; f' is that of sigmoid."""

tanh = Activation(
    name="tanh",
    fn=jnp.tanh,
    derivative=_tanh_derivative,
    steepest_slope=1.0,
    range=(-1.0, 1.0),
    formula="tanh(y)",
    source="[P, Table 6]",
    jax_nn=jax.nn.tanh,
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
    jax_nn=jax.nn.relu,
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
"""f(y) = max(y, 0) with the right-hand slope 1 at y = 0, the base function of Parametric ReLU [P, Table 1].

The values are those of `relu`; only the slope at the kink differs. That slope matters in trainings that start from zero
biases, where the input (0, 0) lies on the kink of every layer.
"""

softsign = Activation(
    name="softsign",
    fn=_softsign,
    derivative=_softsign_derivative,
    steepest_slope=1.0,
    range=(-1.0, 1.0),
    formula="y / (1 + |y|)",
    source="[R, no. 6]",
    jax_nn=jax.nn.soft_sign,
)
"""f(y) = y / (1 + |y|), f' = 1 / (1 + |y|)^2. Smooth at 0, where f' = 1 [R, no. 6].

Examples:
  >>> float(softsign(1.0)), float(softsign.derivative(1.0))
  (0.5, 0.25)
"""

arctan = Activation(
    name="arctan",
    fn=jnp.arctan,
    derivative=_arctan_derivative,
    steepest_slope=1.0,
    range=(-math.pi / 2, math.pi / 2),
    formula="arctan(y)",
    source="[R, no. 7]",
)
"""f(y) = arctan(y), f' = 1 / (1 + y^2) [R, no. 7].

Examples:
  >>> float(arctan.derivative(0.0))
  1.0
"""

softplus = Activation(
    name="softplus",
    fn=jax.nn.softplus,
    derivative=jax.nn.sigmoid,
    steepest_slope=1.0,
    range=(0.0, math.inf),
    formula="log(1 + exp(y))",
    source="[R, no. 11]",
    jax_nn=jax.nn.softplus,
)
"""f(y) = log(1 + exp(y)), f' = sigmoid(y) [R, no. 11].

Examples:
  >>> float(softplus.derivative(0.0))
  0.5
"""

bent_identity = Activation(
    name="bent_identity",
    fn=_bent_identity,
    derivative=_bent_identity_derivative,
    steepest_slope=1.5,
    range=(-math.inf, math.inf),
    formula="(sqrt(y^2 + 1) - 1) / 2 + y",
    source="[R, no. 12], corrected",
)
"""f(y) = (sqrt(y^2 + 1) - 1) / 2 + y, f' = y / (2 sqrt(y^2 + 1)) + 1: slope 1/2 far left, 3/2 far right.

[R, no. 12] prints (sqrt(y^2 + 1)) - 1/2 + y, which is 1/2 at y = 0 and has slopes 0 and 2.

Examples:
  >>> float(bent_identity(0.0)), float(bent_identity.derivative(0.0))
  (0.0, 1.0)
"""

gaussian = Activation(
    name="gaussian",
    fn=_gaussian,
    derivative=_gaussian_derivative,
    steepest_slope=math.sqrt(2 / math.e),
    range=(0.0, 1.0),
    formula="exp(-y^2)",
    source="[R, no. 13]",
)
"""f(y) = exp(-y^2), f' = -2 y f, steepest at y = +-1/sqrt(2) [R, no. 13].

Examples:
  >>> float(gaussian(0.0)), float(abs(gaussian.derivative(0.0)))
  (1.0, 0.0)
"""
