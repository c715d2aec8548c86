"""The affine map y = W z + w0, W = kernel^T, for one trial or for many with the trials on the last axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_UNROLLED = 8  # XLA's CPU compiler vectorises a reduction along the trials only while it is unrolled, up to 8 terms


def affine(z: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """The affine map y = W z + w0, W = kernel^T [P, eq. 4].

    Args:
      z: (points, fan_in), or (points, fan_in, trials).
      kernel: (fan_in, fan_out), or (fan_in, fan_out, trials).
      bias: (fan_out,), or (fan_out, trials).

    Returns:
      (points, fan_out), or (points, fan_out, trials).
    """
    if kernel.ndim == 2:
        return z @ kernel + bias[None]
    return _product(z, kernel) + bias[None]


@jax.custom_vjp
def _product(z: jax.Array, kernel: jax.Array) -> jax.Array:
    """W z of every trial, W = kernel^T.

    Its reverse-mode derivative is written out, because autodiff would sum the long axes in one reduction each. It has
    no forward-mode derivative.
    """
    return _sum(z[:, :, None] * kernel[None], axis=1)


def _product_forward(z: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product(z, kernel), (z, kernel)


def _product_backward(residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    z, kernel = residuals
    return _sum(dy[:, None] * kernel[None], axis=2), _sum(z[:, :, None] * dy[:, None], axis=0)


_product.defvjp(_product_forward, _product_backward)


def _sum(x: jax.Array, axis: int) -> jax.Array:
    """Sum over an axis in chunks of at most 8 terms, then over the chunks."""
    size = x.shape[axis]
    if size <= _UNROLLED:
        return x.sum(axis)
    chunks = [
        jax.lax.slice_in_dim(x, start, min(start + _UNROLLED, size), axis=axis).sum(axis)
        for start in range(0, size, _UNROLLED)
    ]
    return _sum(jnp.stack(chunks), 0)
