"""Maxout as a pure function: the only activation of the sources that has weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from paramact_jax.layers.starts import map_value


def maxout(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None, *, dtype: DTypeLike | None = None
) -> jax.Array:
    """Returns z_j = max_k (W_k x + w0_k)_j, W_k = kernel[:, k]^T, the largest of `pieces` affine maps [B1].

    The gradient goes to the largest piece; equal pieces share it in equal parts, as with `jnp.max`.

    Args:
      x: (..., in_features).
      kernel: (in_features, pieces, features).
      bias: (pieces, features), or None.
      dtype: dtype of the computation and the result; by default that of x.

    Returns:
      (..., features).

    Raises:
      ValueError: if the last axis of x is not in_features.
      TypeError: if x does not have a float dtype.

    Examples:
      >>> absolute = jnp.array([1.0, -1.0]).reshape(1, 2, 1)
      >>> maxout(jnp.array([[-3.0], [2.0]]), absolute).tolist()
      [[3.0], [2.0]]
    """
    fan_in, pieces, features = kernel.shape
    if x.ndim == 0 or x.shape[-1] != fan_in:
        raise ValueError(
            f"maxout: expected an input with last axis of size {fan_in}, got shape {x.shape}; "
            f"build the layer for this input"
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"maxout: expected an input of a float dtype, got {x.dtype}; cast it first")
    dtype = dtype or x.dtype
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    y = (x @ kernel.reshape(fan_in, pieces * features)).reshape(*x.shape[:-1], pieces, features)
    if bias is not None:
        y = y + bias.astype(dtype).reshape((1,) * (y.ndim - 2) + bias.shape)
    return jnp.max(y, axis=-2)


def initial_kernel(
    initializer: Initializer, key: jax.Array, in_features: int, pieces: int, features: int, dtype: DTypeLike
) -> Any:
    """Draws a kernel of shape (in_features, pieces, features), so that each piece has the fan_in of an affine map.

    If the initialiser names axes of a mesh, the kernel is in Flax's box with the names of its three axes.
    """
    drawn = initializer(key, (in_features, pieces * features), dtype)
    return map_value(drawn, lambda value: value.reshape(in_features, pieces, features), axes_before=2)


def check_sizes(**sizes: int) -> None:
    """Refuses sizes below 1.

    Raises:
      ValueError: if a size is below 1; the message names it.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"maxout: expected {name} of 1 or more, got {size}")
