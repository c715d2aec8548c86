"""Functions with trainable shape parameters of their own: PReLU, ELU with alpha, Swish with beta, ISigmoid.

None of the parameters is called a or b: those are the scale and the shift of `parametric`, which also works with the
records here. `hexpo` and `reltanh` have files of their own.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import vanishing
from paramact_jax.activations.record import Activation, Kink
from paramact_jax.activations.rectifiers import elu_of_alpha
from paramact_jax.activations.zoo import sigmoid


def _prelu(y: ArrayLike, *, negative_slope: ArrayLike) -> jax.Array:
    return jnp.where(jnp.greater_equal(y, 0), y, jnp.multiply(negative_slope, y))


def _prelu_derivative(y: ArrayLike, *, negative_slope: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return jnp.where(y >= 0, jnp.ones_like(y), negative_slope)


def _prelu_by_negative_slope(y: ArrayLike, *, negative_slope: ArrayLike) -> jax.Array:
    return jnp.minimum(y, 0) + jnp.zeros_like(negative_slope)


prelu = Activation(
    name="prelu",
    fn=_prelu,
    derivative=_prelu_derivative,
    partials={"negative_slope": _prelu_by_negative_slope},
    params={"negative_slope": 0.25},
    steepest_slope=1.0,
    range=(-math.inf, math.inf),
    formula="y if y >= 0 else negative_slope * y",
    source="[B1]; He et al. 2015, arXiv:1502.01852",
    kinks=(Kink(at=0.0, slope=1.0),),
)
"""f(y) = y for y >= 0, negative_slope y for y < 0; slope 1 at the kink y = 0, as in `flax.nnx.PReLU`.

dz/dnegative_slope = min(y, 0). The start value 0.25 is that of He et al. It is not the Parametric ReLU of [P, Table 1],
which scales and shifts a ReLU; that is `parametric_relu` here.

Examples:
  >>> float(prelu(-2.0, negative_slope=0.25)), float(prelu.partials["negative_slope"](-2.0, negative_slope=0.25))
  (-0.5, -2.0)
"""


def _elu_alpha(y: ArrayLike, *, alpha: ArrayLike) -> jax.Array:
    return elu_of_alpha(y, alpha)


def _elu_alpha_derivative(y: ArrayLike, *, alpha: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return jnp.where(y > 0, jnp.ones_like(y), alpha * jnp.exp(jnp.minimum(y, 0)))


def _elu_alpha_by_alpha(y: ArrayLike, *, alpha: ArrayLike) -> jax.Array:
    return jnp.expm1(jnp.minimum(y, 0)) + jnp.zeros_like(alpha)


elu_alpha = Activation(
    name="elu_alpha",
    fn=_elu_alpha,
    derivative=_elu_alpha_derivative,
    partials={"alpha": _elu_alpha_by_alpha},
    params={"alpha": 1.0},
    steepest_slope=1.0,
    range=(-1.0, math.inf),
    formula="y if y > 0 else alpha * (exp(y) - 1)",
    source="[B1]; Clevert et al. 2016, arXiv:1511.07289",
    jax_nn=jax.nn.elu,
)
"""f(y) = y for y > 0, alpha (exp(y) - 1) for y <= 0, alpha learned from 1: `elu` at the start.

dz/dalpha = exp(min(y, 0)) - 1. If alpha is not 1, there is a kink at y = 0, where the slope is alpha.

Examples:
  >>> float(elu_alpha.derivative(0.0, alpha=0.5)), float(elu_alpha(2.0, alpha=0.5))
  (0.5, 2.0)
"""


@jax.custom_jvp
def _swish_of(y: ArrayLike, beta: ArrayLike) -> jax.Array:
    return vanishing(sigmoid.fn(jnp.multiply(beta, y)), y)


def _swish(y: ArrayLike, *, beta: ArrayLike) -> jax.Array:
    return _swish_of(y, beta)


def _swish_derivative(y: ArrayLike, *, beta: ArrayLike) -> jax.Array:
    u = jnp.multiply(beta, y)
    return vanishing(sigmoid.fn(u), 1 + vanishing(sigmoid.fn(-u), u))


def _swish_by_beta(y: ArrayLike, *, beta: ArrayLike) -> jax.Array:
    # (slope y) y and not slope y^2: y^2 overflows in float16.
    slope = sigmoid.derivative(jnp.multiply(beta, y))
    return vanishing(slope, y) * jnp.where(jnp.equal(slope, 0), jnp.sign(y), y)


# In the tail autodiff computes s (1 - s) as 0 or with an error of eps, and dz/dbeta multiplies it by y^2.
_swish_of.defjvps(
    lambda tangent, _, y, beta: tangent * _swish_derivative(y, beta=beta),
    lambda tangent, _, y, beta: tangent * _swish_by_beta(y, beta=beta),
)


swish = Activation(
    name="swish",
    fn=_swish,
    derivative=_swish_derivative,
    partials={"beta": _swish_by_beta},
    params={"beta": 1.0},
    steepest_slope=1.0998393201288669,
    range=(-0.2784645427610738, math.inf),
    formula="y / (1 + exp(-beta * y))",
    source="Ramachandran et al. 2017, arXiv:1710.05941",
    jax_nn=jax.nn.silu,
)
"""f(y) = y s, s = sigmoid(beta y), beta learned from 1, where it is `silu`.

f' = s (1 + beta y (1 - s)), dz/dbeta = y^2 s (1 - s). Autodiff uses both formulas, with sigmoid(-beta y) in place of
1 - s. Otherwise it would compute s (1 - s), and y^2 would magnify its rounding error in the tail.

Examples:
  >>> float(swish(2.0, beta=0.0)), float(swish.partials["beta"](2.0, beta=0.0))
  (1.0, 1.0)
"""


def _outside(y: ArrayLike, t: jax.Array) -> jax.Array:
    return jnp.greater_equal(jnp.abs(y), t)


def _isigmoid(y: ArrayLike, *, threshold: ArrayLike, alpha: ArrayLike) -> jax.Array:
    t = jnp.abs(threshold)
    end = jnp.where(jnp.less(y, 0), -t, t)
    outside = _outside(y, t)
    return sigmoid.fn(jnp.where(outside, end, y)) + alpha * jnp.where(outside, y - end, 0)


def _isigmoid_derivative(y: ArrayLike, *, threshold: ArrayLike, alpha: ArrayLike) -> jax.Array:
    return jnp.where(_outside(y, jnp.abs(threshold)), alpha, sigmoid.derivative(y))


def _isigmoid_by_threshold(y: ArrayLike, *, threshold: ArrayLike, alpha: ArrayLike) -> jax.Array:
    t = jnp.abs(jnp.asarray(threshold, jnp.result_type(y, threshold)))  # a number takes the dtype of y
    outwards = jnp.less(y, 0) == jnp.less(threshold, 0)
    slope = sigmoid.derivative(t) - alpha
    return jnp.where(_outside(y, t), jnp.where(outwards, slope, -slope), 0)


def _isigmoid_by_alpha(y: ArrayLike, *, threshold: ArrayLike, alpha: ArrayLike) -> jax.Array:
    t = jnp.abs(threshold)
    beyond = jnp.where(_outside(y, t), y - jnp.where(jnp.less(y, 0), -t, t), 0)
    return beyond + jnp.zeros_like(alpha)


isigmoid = Activation(
    name="isigmoid",
    fn=_isigmoid,
    derivative=_isigmoid_derivative,
    partials={"threshold": _isigmoid_by_threshold, "alpha": _isigmoid_by_alpha},
    params={"threshold": 2.0, "alpha": 0.125},
    steepest_slope=0.25,
    range=(-math.inf, math.inf),
    formula="sigmoid(y) if |y| < threshold else sigmoid(+-threshold) + alpha * (y -+ threshold)",
    source="[P, section 2]; Qin et al. 2018",
    kinks=(Kink(at=-2.0, slope=0.125), Kink(at=2.0, slope=0.125)),
)
"""f(y) = s(y) for |y| < threshold, s(+-threshold) + alpha (y -+ threshold) beyond it: sigmoid between straight lines.

f' = s (1 - s) inside, alpha outside and at the two kinks |y| = threshold. Outside, dz/dthreshold is s' - alpha at the
threshold, with the sign of y, and dz/dalpha is the distance to the threshold, with the sign of y; both are 0 inside. A
negative threshold counts as its absolute value. The threshold is called a in [P, section 2], which gives no start
values. With the start values here the lines begin a little steeper than the sigmoid ends (0.125 against s'(2) = 0.105).

Examples:
  >>> float(isigmoid(0.0, threshold=2.0, alpha=0.125)), float(isigmoid.derivative(9.0, threshold=2.0, alpha=0.125))
  (0.5, 0.125)
"""
