"""The functions of `jax.nn` that the sources do not name, each with its closed-form derivative.

The values are those of `jax.nn`, bit for bit, with two exceptions. At -inf, where a product such as y sigmoid(y) is
NaN, they are the limits. `squareplus` is computed in another way, since that of `jax.nn` overflows in float16. So a
model computes the same values if a record here replaces its `jax.nn` function. Where autodiff of `jax.nn` loses the
digits of a slope or gives NaN at infinity, autodiff of the record uses the closed form.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paramact_jax.activations.exact import expm1, finite, hypotenuse, vanishing, with_slope, zero_at_the_left
from paramact_jax.activations.record import Activation, Function, Kink
from paramact_jax.activations.rectifiers import elu_of_alpha

_sigmoid = jax.nn.sigmoid
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_gelu_exact = functools.partial(jax.nn.gelu, approximate=False)
_gelu_tanh_unguarded = functools.partial(jax.nn.gelu, approximate=True)


def _wrap(
    fn: Function,
    derivative: Function,
    name: str,
    steepest_slope: float,
    span: tuple[float, float],
    formula: str,
    kinks: tuple[Kink, ...] = (),
    jax_nn: Function | None = None,
) -> Activation:
    return Activation(
        name=name,
        fn=fn,
        derivative=derivative,
        steepest_slope=steepest_slope,
        range=span,
        formula=formula,
        source=f"jax.nn.{name.removesuffix('_tanh') if name.startswith('gelu') else name}",
        kinks=kinks,
        jax_nn=jax_nn,
    )


def _silu_derivative(y: ArrayLike) -> jax.Array:
    return vanishing(_sigmoid(y), 1 + vanishing(_sigmoid(jnp.negative(y)), y))


silu = _wrap(
    with_slope(functools.partial(zero_at_the_left, jax.nn.silu), _silu_derivative),
    _silu_derivative,
    "silu",
    1.0998393201288669,
    (-0.2784645427610738, math.inf),
    "y / (1 + exp(-y))",
    jax_nn=jax.nn.silu,
)
"""f(y) = y s, s = sigmoid(y); f' = s (1 + y (1 - s)). Steepest at y = 2.3994. `swish` with beta = 1.

Examples:
  >>> float(silu.derivative(0.0))
  0.5
"""


def _gelu_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    cdf = 0.5 * jax.lax.erfc(-y * math.sqrt(0.5))
    return cdf + vanishing(jnp.exp(-0.5 * y * y) / math.sqrt(2 * math.pi), y)


gelu = _wrap(
    with_slope(functools.partial(zero_at_the_left, _gelu_exact), _gelu_derivative),
    _gelu_derivative,
    "gelu",
    1.1289041451851549,
    (-0.1699712074799037, math.inf),
    "y Phi(y), Phi(y) = (1 + erf(y / sqrt(2))) / 2",
    jax_nn=_gelu_exact,
)
"""f(y) = y Phi(y), f' = Phi(y) + y phi(y), with the normal distribution's Phi and phi. Steepest at y = sqrt(2).

It is `jax.nn.gelu(y, approximate=False)`. The default of `jax.nn.gelu` is `gelu_tanh`.

Examples:
  >>> float(gelu.derivative(0.0))
  0.5
"""

# Beyond this |y|, tanh is 1 in every dtype; up to it, y^3 is far from overflow.
_GELU_GUARD = 10.0


def _inside(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    inside = jnp.logical_not(jnp.abs(y) > _GELU_GUARD)  # also true for NaN
    return inside, jnp.where(inside, y, 0)


def _gelu_tanh(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    inside, near = _inside(y)
    return jnp.where(inside, _gelu_tanh_unguarded(near), jnp.maximum(y, 0))


def _gelu_tanh_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    inside, near = _inside(y)
    u = 2 * math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)
    bend = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near**2)
    slope = _sigmoid(u) * (1 + near * _sigmoid(-u) * bend)
    return jnp.where(inside, slope, (y > 0).astype(y.dtype))


gelu_tanh = _wrap(
    with_slope(_gelu_tanh, _gelu_tanh_derivative),
    _gelu_tanh_derivative,
    "gelu_tanh",
    1.128993068658772,
    (-0.17004075057125406, math.inf),
    "y (1 + tanh(sqrt(2 / pi) (y + 0.044715 y^3))) / 2",
    jax_nn=_gelu_tanh_unguarded,
)
"""f(y) = y s(2u), u = sqrt(2 / pi) (y + 0.044715 y^3); f' = s(2u) (1 + 2 y s(-2u) u'). Steepest at y = 1.4185.

The values are those of `jax.nn.gelu(y)`. In float16 its gradient is NaN as soon as y^3 overflows. So beyond |y| = 10,
where tanh is +-1 in every dtype, this is max(y, 0). Autodiff uses f' as above, since the usual form loses its digits in
the tail where tanh rounds to -1.

Examples:
  >>> float(gelu_tanh.derivative(0.0))
  0.5
"""


def _selu_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return _SELU_SCALE * jnp.where(y > 0, 1, _SELU_ALPHA * jnp.exp(jnp.minimum(y, 0)))


selu = _wrap(
    lambda y: _SELU_SCALE * elu_of_alpha(y, _SELU_ALPHA),
    _selu_derivative,
    "selu",
    _SELU_SCALE * _SELU_ALPHA,
    (-_SELU_SCALE * _SELU_ALPHA, math.inf),
    "1.0507 y if y > 0 else 1.0507 * 1.6733 (exp(y) - 1)",
    kinks=(Kink(at=0.0, slope=_SELU_SCALE * _SELU_ALPHA),),
    jax_nn=jax.nn.selu,
)
"""f(y) = l y for y > 0, l alpha (exp(y) - 1) for y <= 0, l = 1.0507, alpha = 1.6733; slope l alpha at the kink y = 0.

Autodiff keeps the digits of f' for y < 0, as with `elu`.

Examples:
  >>> round(float(selu.derivative(0.0)), 4), round(float(selu.derivative(1.0)), 4)
  (1.7581, 1.0507)
"""


def _mish_derivative(y: ArrayLike) -> jax.Array:
    soft = jax.nn.softplus(y)
    # sech^2 as a product of sigmoids keeps its digits where tanh rounds to 1.
    return jnp.tanh(soft) + vanishing(4 * _sigmoid(2 * soft) * _sigmoid(-2 * soft) * _sigmoid(y), y)


mish = _wrap(
    with_slope(functools.partial(zero_at_the_left, jax.nn.mish), _mish_derivative),
    _mish_derivative,
    "mish",
    1.088498161251728,
    (-0.30884341301725043, math.inf),
    "y tanh(log(1 + exp(y)))",
    jax_nn=jax.nn.mish,
)
"""f(y) = y tanh(w), w = softplus(y); f' = tanh(w) + y sech^2(w) sigmoid(y). Steepest at y = 1.4906.

Examples:
  >>> round(float(mish.derivative(0.0)), 4)
  0.6
"""

celu = _wrap(
    lambda y: jnp.maximum(y, 0.0) + expm1(jnp.minimum(y, 0.0)),
    lambda y: jnp.exp(jnp.minimum(y, 0)),
    "celu",
    1.0,
    (-1.0, math.inf),
    "max(y, 0) + exp(min(y, 0)) - 1",
    jax_nn=jax.nn.celu,
)
"""f(y) = max(y, 0) + exp(min(y, 0)) - 1, f' = exp(min(y, 0)): `jax.nn.celu` with alpha = 1, the same function as `elu`.

Autodiff keeps the digits of f' for y < 0, as with `elu`.

Examples:
  >>> float(celu(2.0)), float(celu.derivative(0.0))
  (2.0, 1.0)
"""


def _hard_tanh_derivative(y: ArrayLike) -> jax.Array:
    y = jnp.asarray(y)
    return jnp.logical_not(jnp.abs(y) > 1).astype(y.dtype)


hard_tanh = _wrap(
    jax.nn.hard_tanh,
    _hard_tanh_derivative,
    "hard_tanh",
    1.0,
    (-1.0, 1.0),
    "min(max(y, -1), 1)",
    kinks=(Kink(at=-1.0, slope=1.0), Kink(at=1.0, slope=1.0)),
    jax_nn=jax.nn.hard_tanh,
)
"""f(y) = min(max(y, -1), 1), f' = 1 for |y| <= 1 and 0 elsewhere: slope 1 at both kinks.

Examples:
  >>> float(hard_tanh(3.0)), float(hard_tanh.derivative(1.0))
  (1.0, 1.0)
"""


def _hard_sigmoid_derivative(y: ArrayLike) -> jax.Array:
    # The same comparisons as in jax.nn.hard_sigmoid: in float16, y + 3 rounds to 6 before y reaches 3.
    shifted = jnp.add(y, 3)
    return jnp.where((shifted > 0) & (shifted < 6), 1 / 6, 0).astype(shifted.dtype)


hard_sigmoid = _wrap(
    jax.nn.hard_sigmoid,
    _hard_sigmoid_derivative,
    "hard_sigmoid",
    1 / 6,
    (0.0, 1.0),
    "min(max(y + 3, 0), 6) / 6",
    kinks=(Kink(at=-3.0, slope=0.0), Kink(at=3.0, slope=0.0)),
    jax_nn=jax.nn.hard_sigmoid,
)
"""f(y) = min(max(y + 3, 0), 6) / 6, f' = 1/6 for |y| < 3 and 0 elsewhere: slope 0 at both kinks.

Examples:
  >>> float(hard_sigmoid(0.0)), float(hard_sigmoid.derivative(3.0))
  (0.5, 0.0)
"""


def _hard_silu_derivative(y: ArrayLike) -> jax.Array:
    return jax.nn.hard_sigmoid(y) + vanishing(_hard_sigmoid_derivative(y), y)


hard_silu = _wrap(
    with_slope(functools.partial(zero_at_the_left, jax.nn.hard_silu), _hard_silu_derivative),
    _hard_silu_derivative,
    "hard_silu",
    1.5,
    (-0.375, math.inf),
    "y min(max(y + 3, 0), 6) / 6",
    kinks=(Kink(at=-3.0, slope=0.0), Kink(at=3.0, slope=1.0)),
    jax_nn=jax.nn.hard_silu,
)
"""f(y) = y h, h = hard_sigmoid(y); f' = h + y h': slope 0 at the kink y = -3 and 1 at y = 3, rising to 3/2 before it.

Examples:
  >>> float(hard_silu(-1.5)), float(hard_silu.derivative(3.0))
  (-0.375, 1.0)
"""


def _squareplus(y: ArrayLike) -> jax.Array:
    root = hypotenuse(y, 2.0)
    return jnp.where(jnp.less(y, 0), 2 / (root - jnp.minimum(y, 0)), 0.5 * y + 0.5 * root)


def _squareplus_derivative(y: ArrayLike) -> jax.Array:
    y = finite(y)
    root = hypotenuse(y, 2.0)
    return jnp.where(y < 0, _squareplus(jnp.minimum(y, 0)) / root, 0.5 + 0.5 * (y / root))


squareplus = _wrap(
    _squareplus,
    _squareplus_derivative,
    "squareplus",
    1.0,
    (0.0, math.inf),
    "(y + sqrt(y^2 + 4)) / 2",
    jax_nn=jax.nn.squareplus,
)
"""f(y) = (y + sqrt(y^2 + 4)) / 2, f' = f / sqrt(y^2 + 4).

It is computed as 2 / (sqrt(y^2 + 4) - y) for y < 0. `jax.nn.squareplus` overflows in float16 from |y| = 256 on, and
loses all digits of its negative tail to cancellation.

Examples:
  >>> float(squareplus(0.0)), float(squareplus.derivative(0.0))
  (1.0, 0.5)
"""

log_sigmoid = _wrap(
    jax.nn.log_sigmoid,
    lambda y: _sigmoid(jnp.negative(y)),
    "log_sigmoid",
    1.0,
    (-math.inf, 0.0),
    "-log(1 + exp(-y))",
    jax_nn=jax.nn.log_sigmoid,
)
"""f(y) = -log(1 + exp(-y)), f' = sigmoid(-y).

Examples:
  >>> float(log_sigmoid.derivative(0.0))
  0.5
"""
