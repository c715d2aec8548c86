"""Operations that give the limit at infinity and slopes that keep their digits in the tails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@jax.custom_jvp
def expm1(x: ArrayLike) -> jax.Array:
    """Returns exp(x) - 1, with the slope exp(x) in autodiff.

    Autodiff of `jnp.expm1` has the slope expm1(x) + 1, which rounds to 0 below about x = -17 in float32.

    Examples:
      >>> float(jax.grad(expm1)(-20.0)) > 2e-9
      True
    """
    return jnp.expm1(x)


expm1.defjvps(lambda tangent, _, x: tangent * jnp.exp(x))


def vanishing(factor: ArrayLike, y: ArrayLike) -> jax.Array:
    """Returns factor times y, but 0 wherever the factor is 0, even if y is infinite.

    0 is the limit of products such as y sigmoid(y), where the factor falls faster than y grows. The zero has the sign
    of the product.

    Examples:
      >>> vanishing(jnp.array([0.0, 0.5]), jnp.array([-jnp.inf, 4.0])).tolist()
      [-0.0, 2.0]
    """
    return jnp.multiply(factor, jnp.where(jnp.equal(factor, 0), jnp.sign(y), y))


def with_slope(
    fn: Callable[[jax.Array], jax.Array], slope: Callable[[jax.Array], jax.Array]
) -> Callable[[ArrayLike], jax.Array]:
    """Returns fn with `slope` as its derivative in autodiff, in both modes and every order; its values do not change.

    Examples:
      >>> float(jax.grad(with_slope(jnp.sign, jnp.exp))(0.0))
      1.0
    """

    def values(y: ArrayLike) -> jax.Array:
        return fn(jnp.asarray(y))

    with_rule = jax.custom_jvp(values)
    with_rule.defjvps(lambda tangent, _, y: tangent * slope(y))
    return with_rule


def zero_at_the_left(fn: Callable[[ArrayLike], jax.Array], y: ArrayLike) -> jax.Array:
    """Returns fn(y), but 0 at minus infinity: 0 is the limit there, and the product inside fn gives NaN.

    Examples:
      >>> float(jax.nn.silu(-jnp.inf)), float(zero_at_the_left(jax.nn.silu, -jnp.inf))
      (nan, 0.0)
    """
    return jnp.where(jnp.equal(y, -jnp.inf), 0, fn(y))


def finite(y: ArrayLike) -> jax.Array:
    """Returns y with +-inf replaced by the largest numbers of its dtype; NaN stays NaN.

    Examples:
      >>> finite(jnp.array([1.0, jnp.inf], "float16")).tolist()
      [1.0, 65504.0]
    """
    y = jnp.asarray(y)
    largest = float(jnp.finfo(y.dtype).max)
    return jnp.where(y > largest, largest, jnp.where(y < -largest, -largest, y))


def hypotenuse(y: ArrayLike, c: float) -> jax.Array:
    """Returns sqrt(y^2 + c^2) for c > 0 in the dtype of y; it is |y| where c^2 would round away or y^2 overflow.

    Examples:
      >>> float(hypotenuse(3.0, 4.0)), float(hypotenuse(jnp.float16(1e4), 1.0))
      (5.0, 10000.0)
    """
    y = jnp.asarray(y)
    # c^2 / (2 y^2) is below a quarter of eps from here on.
    drowned = jnp.abs(y) > c * (8 / float(jnp.finfo(y.dtype).eps)) ** 0.5
    return jnp.where(drowned, jnp.abs(y), jnp.sqrt(jnp.where(drowned, 0, y) ** 2 + c**2))


def as_float(y: ArrayLike) -> Any:
    """Returns y; whole numbers and bools become floats of JAX's default dtype.

    Examples:
      >>> as_float(2), as_float(jnp.arange(2)).dtype, as_float(jnp.ones(2, "bfloat16")).dtype
      (2.0, dtype('float32'), dtype(bfloat16))
    """
    if isinstance(y, int):
        return float(y)
    return y if jnp.issubdtype(jnp.result_type(y), jnp.inexact) else jnp.asarray(y, jnp.result_type(float))
