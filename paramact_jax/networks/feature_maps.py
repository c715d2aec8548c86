"""Convolution and pooling of feature maps laid out as (channels, height, width, images).

With the images last, every operation of a network with few channels runs over a contiguous axis. A convolution is one
product of a small matrix with a long one that has a column for each pixel of each image, and a row of patches is a
copied slice. XLA's own convolution is slow on CPUs inside a compiled loop, such as a training, and under `jax.vmap`.
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp

Padding = Literal["same", "valid"]
Pooling = Literal["max", "average"]


def margins(kernel_size: int, padding: Padding) -> tuple[int, int]:
    """Returns the numbers of zeros before and after each axis of a map: "same" keeps its size, "valid" adds none.

    Examples:
      >>> margins(3, "same"), margins(4, "same"), margins(3, "valid")
      ((1, 1), (1, 2), (0, 0))
    """
    before = (kernel_size - 1) // 2 if padding == "same" else 0
    return before, kernel_size - 1 - before if padding == "same" else 0


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(maps: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Returns M_k(i, j) = sum over u, v, c of P_c(i + u, j + v) F_ck(u, v), the convolution of [A, eq. 3], stride 1.

    It has a reverse-mode rule of its own: dL/dP is a convolution of dL/dM with the turned kernel, where autodiff would
    add up shifted slices. It has no forward-mode derivative.

    Args:
      maps: P, (channels, height, width, images).
      kernel: F, (size, size, channels, filters).
      padding: "same" or "valid".

    Returns:
      M, (filters, height, width, images). For "valid", height and width are smaller by `size - 1`.

    Examples:
      >>> convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), "same")[0, :2, :, 0].tolist()
      [[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0]]
    """
    return _correlate(maps, kernel, margins(kernel.shape[0], padding))


def _convolve_forward(
    maps: jax.Array, kernel: jax.Array, padding: Padding
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(maps, kernel, padding), (maps, kernel)


def _convolve_backward(
    padding: Padding, residuals: tuple[jax.Array, jax.Array], dm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    maps, kernel = residuals
    size = kernel.shape[0]
    before, behind = margins(size, padding)
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    d_maps = _correlate(dm, turned, (size - 1 - before, size - 1 - behind)).astype(maps.dtype)
    d_kernel = _patches(maps, size, (before, behind)) @ dm.reshape(dm.shape[0], -1).T
    return d_maps, d_kernel.reshape(kernel.shape).astype(kernel.dtype)


convolve.defvjp(_convolve_forward, _convolve_backward)


def _correlate(maps: jax.Array, kernel: jax.Array, zeros: tuple[int, int]) -> jax.Array:
    size, _, _, filters = kernel.shape
    height, width = (side + sum(zeros) - size + 1 for side in maps.shape[1:3])
    product = kernel.reshape(-1, filters).T @ _patches(maps, size, zeros)
    return product.reshape(filters, height, width, maps.shape[3])


def _patches(maps: jax.Array, size: int, zeros: tuple[int, int]) -> jax.Array:
    """Returns the pixels under each place of the kernel, of shape (size * size * channels, height * width * images)."""
    channels, height, width, images = maps.shape
    height, width = (side + sum(zeros) - size + 1 for side in (height, width))
    padded = jnp.pad(maps, ((0, 0), zeros, zeros, (0, 0)))
    slices = [padded[:, u : u + height, v : v + width] for u in range(size) for v in range(size)]
    return jnp.concatenate(slices).reshape(size * size * channels, height * width * images)


def pool(maps: jax.Array, size: int, kind: Pooling) -> jax.Array:
    """Returns the largest or the mean value of every window of size x size pixels; windows do not overlap.

    Rows and columns at the end that do not fill a window are dropped. Pixels with the same largest value share the
    gradient in equal parts (PyTorch gives all of it to the first). "max" has no forward-mode derivative.

    Args:
      maps: (channels, height, width, images).
      size: side of a window; 1 changes nothing.
      kind: "max" or "average".

    Returns:
      (channels, height // size, width // size, images).

    Examples:
      >>> maps = jnp.arange(25.0).reshape(1, 5, 5, 1)
      >>> pool(maps, 2, "max")[0, :, :, 0].tolist(), pool(maps, 2, "average")[0, :, :, 0].tolist()
      ([[6.0, 8.0], [16.0, 18.0]], [[3.0, 5.0], [13.0, 15.0]])
    """
    if size == 1:
        return maps
    if kind == "max":
        return _max_pool(maps, size)
    channels, height, width, images = maps.shape
    whole = maps[:, : height // size * size, : width // size * size]
    return whole.reshape(channels, height // size, size, width // size, size, images).mean((2, 4))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(maps: jax.Array, size: int) -> jax.Array:
    """Returns the largest values of windows; its derivative costs half a training step less than that of `jnp.max`."""
    return functools.reduce(jnp.maximum, _corners(maps, size))


def _max_pool_forward(maps: jax.Array, size: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    largest = _max_pool(maps, size)
    return largest, (maps, largest)


def _max_pool_backward(size: int, residuals: tuple[jax.Array, jax.Array], dp: jax.Array) -> tuple[jax.Array]:
    maps, largest = residuals
    # "not below" and not "equal", so that a window with a NaN passes its gradient on and does not drop it
    ties = sum((~(corner < largest)).astype(maps.dtype) for corner in _corners(maps, size))
    shape = (maps.shape[1], maps.shape[2])
    return (jnp.where(maps < _spread(largest, size, shape), 0, _spread(dp / ties, size, shape)),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _corners(maps: jax.Array, size: int) -> list[jax.Array]:
    """Returns for each place in a window the map of the pixels at that place."""
    height, width = (side // size * size for side in maps.shape[1:3])
    return [maps[:, u:height:size, v:width:size] for u in range(size) for v in range(size)]


def _spread(pooled: jax.Array, size: int, shape: tuple[int, int]) -> jax.Array:
    """Returns every value at all pixels of its window, and 0 at pixels outside the windows."""
    channels, height, width, images = pooled.shape
    wide = jnp.broadcast_to(pooled[:, :, None, :, None], (channels, height, size, width, size, images))
    rest = [(0, side - size * windows) for side, windows in zip(shape, (height, width), strict=True)]
    return jnp.pad(wide.reshape(channels, height * size, width * size, images), ((0, 0), *rest, (0, 0)))
