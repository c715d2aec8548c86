"""Arrays scaled to norm 1, along with the logarithm of their norm: their products neither underflow nor overflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def normalised(x: jax.Array, axis: int | None = None) -> tuple[jax.Array, jax.Array]:
    """Returns x scaled to Euclidean norm 1, and the natural logarithm of its norm.

    An x of zeros, or one that is not finite, stays as it is; the logarithm is then -inf, inf or NaN.

    Args:
      x: any array.
      axis: the axis along which norms are taken; None: the norm of the whole array.

    Examples:
      >>> unit, log_norm = normalised(jnp.array([3e-30, 4e-30]))
      >>> [f"{x:.2f}" for x in unit], f"{log_norm / 2.302585:.2f}"
      (['0.60', '0.80'], '-29.30')
    """
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    usual = (largest > 0) & jnp.isfinite(largest)
    safe = jnp.where(usual, largest, 1)
    scaled = x / safe  # its squares neither underflow nor overflow
    norm = jnp.sqrt(jnp.sum(scaled**2, axis=axis, keepdims=True))
    log_norm = jnp.where(usual, jnp.log(jnp.where(usual, norm, 1)) + jnp.log(safe), jnp.log(largest))
    return scaled / jnp.where(usual, norm, 1), jnp.squeeze(log_norm, axis)


def in_full_precision(tree: Tree) -> Tree:
    """Returns the tree with 16-bit floats as float32, which can hold the sums of their squares and the logarithms."""

    def wide(x: jax.Array) -> jax.Array:
        return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(wide, tree)


class Scaled(NamedTuple):
    """An array with numbers that its dtype may not be able to hold: exp(scale) times `unit`.

    Attributes:
      unit: the array divided by its largest entry. An array of zeros, or one that is not finite, stays as it is.
      scale: natural logarithm of that entry; -inf for an array of zeros.
      log_norm: natural logarithm of the array's Euclidean norm; -inf for zeros, inf or NaN if it is not finite.
    """

    unit: jax.Array
    scale: jax.Array
    log_norm: jax.Array


def scaled(x: jax.Array, scale: jax.Array | float = 0.0) -> Scaled:
    """Returns exp(scale) times an array.

    Examples:
      >>> tiny = scaled(jnp.array([3e-30, 4e-30]), -1000.0)
      >>> f"{tiny.log_norm:.2f}", tiny.unit.tolist()
      ('-1067.47', [0.75, 1.0])
    """
    return _scaled(x, scale)


@jax.jit
def _scaled(x: jax.Array, scale: jax.Array | float) -> Scaled:
    real = jnp.finfo(x.dtype).dtype
    dtype = jnp.promote_types(real, jnp.float32)
    largest = jnp.max(jnp.abs(x), initial=0).astype(dtype)
    safe = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1)
    unit = x / safe.astype(real)
    log_safe = jnp.log(safe) + jnp.asarray(scale, dtype)
    squares = jnp.sum(jnp.square(jnp.abs(unit).astype(dtype)))  # 0, infinite or NaN only if x is
    return Scaled(unit, jnp.where(largest == 0, -jnp.inf, log_safe), log_safe + 0.5 * jnp.log(squares))


def added(parts: Sequence[Scaled]) -> Scaled:
    """Returns the sum of arrays of one shape."""
    if len(parts) == 1:
        return parts[0]
    top, units = together(parts)
    return scaled(sum(units[1:], units[0]), top)


def together(parts: Sequence[Scaled]) -> tuple[jax.Array, list[jax.Array]]:
    """Returns one scale for several arrays, and each array divided by it."""
    if len(parts) == 1:
        return parts[0].scale, [parts[0].unit]
    top = jnp.max(jnp.stack([part.scale for part in parts]))
    top = jnp.where(jnp.isneginf(top), 0, top)
    return top, [part.unit * jnp.exp(part.scale - top).astype(part.unit.dtype) for part in parts]


def stacked(parts: Scaled) -> Scaled:
    """Returns arrays along a first axis, each with a scale of its own, as one array with one scale."""
    top = jnp.max(parts.scale, initial=-jnp.inf)
    top = jnp.where(jnp.isneginf(top), 0, top)
    factors = jnp.exp(parts.scale - top).astype(parts.unit.dtype)
    return scaled(parts.unit * factors.reshape(-1, *[1] * (parts.unit.ndim - 1)), top)


def log_sum(log_norms: Sequence[jax.Array]) -> jax.Array:
    """Returns the logarithm of the norm of several arrays together, from the logarithms of their norms."""
    if len(log_norms) == 1:
        return log_norms[0]
    return 0.5 * jax.nn.logsumexp(2 * jnp.stack(log_norms))


@jax.jit
def fractions(log_norms: jax.Array) -> jax.Array:
    """Returns each array's part of the sum of the squares of several, from the logarithms of their norms.

    If all are 0, all have the same part. If some are not finite, they share the whole.

    Examples:
      >>> [f"{part:.2f}" for part in fractions(jnp.log(jnp.array([1e-30, 3e-30])))]
      ['0.10', '0.90']
    """
    endless = ~(log_norms < jnp.inf)
    top = jnp.max(jnp.where(endless, -jnp.inf, log_norms))
    squares = jnp.where(jnp.isneginf(top), 1, jnp.exp(2 * (log_norms - jnp.where(jnp.isneginf(top), 0, top))))
    squares = jnp.where(endless.any(), endless, squares)
    return squares / squares.sum()
