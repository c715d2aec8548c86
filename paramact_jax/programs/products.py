"""Products of many small arrays at once by multiplication and sum, with the trials on the last axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from paramact_jax.programs.program import name_of

UNROLLED = 8
"""Most terms of one sum: XLA's CPU compiler vectorises a sum along the trials only while it is unrolled."""

LARGEST = 16_384
"""Most multiplications of a trial's product that is carried out by multiplication and sum."""

TINY = 32
"""Most multiplications of a trial's product that XLA's CPU compiler may compute together with what it is made of."""


def sum_over(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """Returns the sum over some axes, in chunks of at most `UNROLLED` terms, then over the chunks."""
    for axis in sorted(axes, reverse=True):
        x = _sum_over_one(x, axis)
    return x


def _sum_over_one(x: jax.Array, axis: int) -> jax.Array:
    size = x.shape[axis]
    if size <= UNROLLED:
        return x.sum(axis, dtype=x.dtype)
    if size <= UNROLLED**2:
        chunks = [
            lax.slice_in_dim(x, start, min(start + UNROLLED, size), axis=axis).sum(axis, dtype=x.dtype)
            for start in range(0, size, UNROLLED)
        ]
        return _sum_over_one(jnp.stack(chunks), 0)
    whole = size - size % UNROLLED  # a program with a slice for each chunk would take long to compile
    in_chunks = (*x.shape[:axis], whole // UNROLLED, UNROLLED, *x.shape[axis + 1 :])
    made = _sum_over_one(lax.slice_in_dim(x, 0, whole, axis=axis).reshape(in_chunks).sum(axis + 1, dtype=x.dtype), axis)
    return made if whole == size else made + lax.slice_in_dim(x, whole, size, axis=axis).sum(axis, dtype=x.dtype)


def multiplications(left: Sequence[int], right: Sequence[int], numbers: Any) -> int:
    """Returns the number of multiplications in `jax.lax.dot_general` of arrays of these shapes.

    Args:
      left: shape of an array.
      right: shape of another.
      numbers: dimension numbers of `dot_general`.

    Examples:
      >>> multiplications((4, 2), (2, 3), (((1,), (0,)), ((), ())))
      24
    """
    (_, summed), (_, batch) = numbers
    return math.prod(left) * math.prod(size for i, size in enumerate(right) if i not in (*summed, *batch))


def multiplications_of(equation: Any) -> int:
    """Returns the number of multiplications in an operation that is a product of arrays, 0 for other operations."""
    if name_of(equation) != "dot_general":
        return 0
    left, right = (var.aval.shape for var in equation.invars)
    return multiplications(left, right, equation.params["dimension_numbers"])


def product(left: jax.Array, right: jax.Array, numbers: Any, dtype: Any) -> jax.Array | None:
    """Returns the product of two arrays as `jax.lax.dot_general`, with a last axis of trials, or of size 1, on both.

    Args:
      left: an array.
      right: another.
      numbers: dimension numbers of `dot_general` for the arrays of one trial.
      dtype: dtype of the result; None: that of the arguments.

    Returns:
      The product; None if the arrays are too large for this, or are not floating-point numbers.
    """
    if not jnp.issubdtype(left.dtype, jnp.floating) or not jnp.issubdtype(right.dtype, jnp.floating):
        return None
    if multiplications(left.shape[:-1], right.shape[:-1], numbers) > LARGEST:
        return None
    (left_summed, right_summed), (left_batch, right_batch) = numbers
    with jax.numpy_dtype_promotion("standard"):  # a product's dtypes are its own, whatever the user's setting
        result = jnp.dtype(dtype) if dtype is not None else jnp.promote_types(left.dtype, right.dtype)
    computed = jnp.dtype(jnp.float32) if jnp.finfo(result).bits < 32 else result
    pairs = [*zip(left_batch, right_batch, strict=True), *zip(left_summed, right_summed, strict=True)]
    order, names = _order(left.ndim - 1, right.ndim - 1, pairs)
    both = _laid_out(left.astype(computed), 0, order, names) * _laid_out(right.astype(computed), 1, order, names)
    summed = [order.index(names[0, i]) for i in left_summed]
    made = sum_over(both, summed)
    rest = [axis for axis in order if order.index(axis) not in summed]
    free = [names[0, i] for i in range(left.ndim - 1) if i not in (*left_summed, *left_batch)]
    free += [names[1, i] for i in range(right.ndim - 1) if i not in (*right_summed, *right_batch)]
    wanted = [*(names[0, i] for i in left_batch), *free]
    permutation = [rest.index(axis) for axis in wanted]
    if permutation != sorted(permutation):
        made = lax.transpose(made, (*permutation, len(permutation)))
    return made.astype(result)


def _order(left: int, right: int, pairs: Sequence[tuple[int, int]]) -> tuple[list[int], dict[tuple[int, int], int]]:
    """Returns an order of all axes in which neither array has to be transposed, if there is such an order.

    Args:
      left: number of axes of the left array.
      right: number of axes of the right array.
      pairs: axes of the left and the right array that are the same axis.

    Returns:
      The axes by name, in order, and the names of each array's axes.
    """
    names = {(0, i): i for i in range(left)}
    shared = {second: first for first, second in pairs}
    names |= {(1, i): shared.get(i, left + i) for i in range(right)}
    first, second = [names[0, i] for i in range(left)], [names[1, i] for i in range(right)]
    order: list[int] = []
    while first or second:
        if first and first[0] not in second:
            order.append(first.pop(0))
        elif second and second[0] not in first:
            order.append(second.pop(0))
        else:  # both have the left array's next axis; it is further on in the right one if the orders contradict
            axis = first.pop(0)
            second.remove(axis)
            order.append(axis)
    return order, names


def _laid_out(x: jax.Array, array: int, order: Sequence[int], names: dict[tuple[int, int], int]) -> jax.Array:
    """Returns the array with its axes in this order, and size 1 for axes that it lacks; the trials stay last."""
    own = [names[array, i] for i in range(x.ndim - 1)]
    wanted = [axis for axis in order if axis in own]
    permutation = [own.index(axis) for axis in wanted]
    if permutation != sorted(permutation):
        x = lax.transpose(x, (*permutation, len(permutation)))
    sizes = dict(zip(wanted, x.shape[:-1], strict=True))
    return lax.reshape(x, (*(sizes.get(axis, 1) for axis in order), x.shape[-1]))
