"""Arrays at norm 1 beside the logarithm of their norm: products of them neither underflow nor overflow."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def normalised(x: jax.Array, axis: int | None = None) -> tuple[jax.Array, jax.Array]:
    """X at Euclidean norm 1, and the natural logarithm of its norm.

    What is 0, or not finite, stays as it is; the logarithm is then -inf, inf or NaN.

    Args:
      x: any array.
      axis: to take norms along; None: of the whole array.

    Examples:
      >>> unit, log_norm = normalised(jnp.array([3e-30, 4e-30]))
      >>> [f"{x:.2f}" for x in unit], f"{log_norm / 2.302585:.2f}"
      (['0.60', '0.80'], '-29.30')
    """
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    usual = (largest > 0) & jnp.isfinite(largest)
    safe = jnp.where(usual, largest, 1)
    scaled = x / safe  # whose squares neither underflow nor overflow
    norm = jnp.sqrt(jnp.sum(scaled**2, axis=axis, keepdims=True))
    log_norm = jnp.where(usual, jnp.log(jnp.where(usual, norm, 1)) + jnp.log(safe), jnp.log(largest))
    return scaled / jnp.where(usual, norm, 1), jnp.squeeze(log_norm, axis)


def in_full_precision(tree: Tree) -> Tree:
    """The tree with its 16-bit numbers as float32, in which sums of their squares and logarithms have room."""

    def wide(x: jax.Array) -> jax.Array:
        return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(wide, tree)
