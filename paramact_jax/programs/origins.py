"""The origins of a program's values: learned parameters, inputs, or neither, and along which axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from paramact_jax.programs.program import name_of

Axes = tuple[int, ...]


class Origin(NamedTuple):
    """What an array depends on.

    Attributes:
      learned: numbers of the learned parameters.
      inputs: whether it depends on inputs, including integers and random keys.
      smooth: whether it depends on inputs of a float dtype.
      axes: for each axis, whether its entries have different parameters, such as nodes and channels. 2: the last
        product with a kernel made the axis. 1: earlier or added parameters did. 0: the entries are samples, times or
        places of an input.
      nearest: numbers of the parameters that the last operation with parameters had, and of single numbers since then.
        They name a place in a model, whatever was computed before it.
    """

    learned: frozenset[int] = frozenset()
    inputs: bool = False
    smooth: bool = False
    axes: Axes = ()
    nearest: frozenset[int] = frozenset()

    @property
    def of_parameters(self) -> bool:
        """Whether it depends on learned parameters and on no input."""
        return bool(self.learned) and not self.inputs

    @property
    def moves(self) -> bool:
        """Whether a derivative by parameters or inputs can reach it."""
        return self.smooth or bool(self.learned)


def constant(shape: Sequence[int]) -> Origin:
    """Returns the origin of an array that depends on nothing."""
    return Origin(axes=(0,) * len(shape))


def parameter(number: int, shape: Sequence[int]) -> Origin:
    """Returns the origin of a learned parameter."""
    own = frozenset({number})
    return Origin(own, axes=tuple(int(size > 1) for size in shape), nearest=own)


def an_input(shape: Sequence[int], dtype: Any) -> Origin:
    """Returns the origin of an input."""
    return Origin(inputs=True, smooth=bool(jnp.issubdtype(dtype, jnp.inexact)), axes=(0,) * len(shape))


def union(*origins: Origin) -> Origin:
    """Returns the origin of a value that may come from any of these origins, which have equally many axes."""
    return Origin(
        frozenset().union(*(o.learned for o in origins)),
        any(o.inputs for o in origins),
        any(o.smooth for o in origins),
        tuple(map(max, zip(*(o.axes for o in origins), strict=True))),
        frozenset().union(*(o.nearest for o in origins)),
    )


def _nearest(inputs: Sequence[Origin]) -> frozenset[int]:
    """Returns `Origin.nearest` of the result of an operation."""
    parameters = [o for o in inputs if o.of_parameters]
    several = [o for o in parameters if any(o.axes)]  # a single number may be that of many places
    rest = [o for o in inputs if not o.of_parameters]
    # of a sum of branches, those that were computed last
    last = [o for o in rest if not any(o.learned < other.learned for other in rest)]
    return frozenset().union(*(o.nearest for o in several or [*parameters, *last]))


def through(equation: Any, inputs: Sequence[Origin]) -> list[Origin]:
    """Returns the origins of the outputs of an operation that holds no programs."""
    axes = [o.axes for o in inputs]
    if name_of(equation) in _PRODUCTS:
        axes = _near_the_kernel(inputs)
    outputs = []
    for number, variable in enumerate(equation.outvars):
        made = union(*(o._replace(axes=()) for o in inputs)) if inputs else Origin()
        made = made._replace(nearest=_nearest(inputs))
        if name_of(equation) in _PRODUCTS and any(not o.learned for o in inputs):
            made = made._replace(inputs=made.inputs or bool(made.learned))
        if not jnp.issubdtype(variable.aval.dtype, jnp.inexact):  # no derivative passes
            made = made._replace(learned=frozenset(), smooth=False)
        rule = _AXES.get(name_of(equation)) if number == 0 else None
        outputs.append(made._replace(axes=rule(equation, axes) if rule else _same_rank(equation, axes, number)))
    return outputs


def _near_the_kernel(inputs: Sequence[Origin]) -> list[Axes]:
    """Returns the axes of a product's two inputs: 2 for those of a kernel, at most 1 for those of the other input."""
    kernels = [o.of_parameters for o in inputs]
    if not any(kernels):
        return [o.axes for o in inputs]
    return [
        tuple(2 * min(x, 1) if is_kernel else min(x, 1) for x in o.axes)
        for o, is_kernel in zip(inputs, kernels, strict=True)
    ]


_PRODUCTS = ("dot_general", "conv_general_dilated")
"""Products: fixed numbers that multiply parameters in them, such as the points of a grid, count as inputs."""


def _same_rank(equation: Any, axes: Sequence[Axes], output: int = 0) -> Axes:
    """Returns axes that stay in place; if an unknown operation moves them, the last one counts as the features."""
    rank = len(equation.outvars[output].aval.shape)
    alike = [a for a in axes if len(a) == rank]
    if alike:
        return tuple(map(max, zip(*alike, strict=True)))
    return tuple(int(any(map(any, axes)) and axis == rank - 1) for axis in range(rank))


def _of_dot(equation: Any, axes: Sequence[Axes]) -> Axes:
    (contracted_left, contracted_right), (batch_left, batch_right) = equation.params["dimension_numbers"]
    left, right = axes
    shared = tuple(max(left[i], right[j]) for i, j in zip(batch_left, batch_right, strict=True))
    free_left = (x for i, x in enumerate(left) if i not in (*contracted_left, *batch_left))
    free_right = (x for i, x in enumerate(right) if i not in (*contracted_right, *batch_right))
    return (*shared, *free_left, *free_right)


def _of_convolution(equation: Any, axes: Sequence[Axes]) -> Axes:
    numbers = equation.params["dimension_numbers"]
    image, kernel = axes
    made = [0] * len(image)
    for left, out in zip(numbers.lhs_spec, numbers.out_spec, strict=True):
        made[out] = image[left]
    made[numbers.out_spec[1]] = kernel[numbers.rhs_spec[0]]
    return tuple(made)


def _of_broadcast(equation: Any, axes: Sequence[Axes]) -> Axes:
    made = [0] * len(equation.params["shape"])
    sizes = equation.invars[0].aval.shape
    for axis, target in enumerate(equation.params["broadcast_dimensions"]):
        made[target] = axes[0][axis] * (sizes[axis] == equation.params["shape"][target])
    return tuple(made)


def _of_transpose(equation: Any, axes: Sequence[Axes]) -> Axes:
    return tuple(axes[0][axis] for axis in equation.params["permutation"])


def _of_squeeze(equation: Any, axes: Sequence[Axes]) -> Axes:
    return tuple(x for axis, x in enumerate(axes[0]) if axis not in equation.params["dimensions"])


def _of_reduction(equation: Any, axes: Sequence[Axes]) -> Axes:
    return tuple(x for axis, x in enumerate(axes[0]) if axis not in equation.params["axes"])


def _of_reshape(equation: Any, axes: Sequence[Axes]) -> Axes:
    """Returns the axes after a reshape: each gets the largest value of the input's axes that it is made of."""
    before, after = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    made: list[int] = []
    i = 0
    while len(made) < len(after):
        start, size, sizes = i, 1, after[len(made)]
        group = 1
        while size != sizes:
            if size < sizes and i < len(before):
                size, i = size * before[i], i + 1
            elif size > sizes and len(made) + group < len(after):
                sizes, group = sizes * after[len(made) + group], group + 1
            else:  # an array without elements
                return _same_rank(equation, axes)
        nearest = max((x for x, n in zip(axes[0][start:i], before[start:i], strict=True) if n > 1), default=0)
        made += [nearest * (after[len(made) + k] > 1) for k in range(group)]
    return tuple(made)


def _of_gather(equation: Any, axes: Sequence[Axes]) -> Axes:
    numbers = equation.params["dimension_numbers"]
    operand, indices = axes[0], iter(axes[1][:-1])
    kept = iter(
        axis
        for axis in range(len(operand))
        if axis not in (*numbers.collapsed_slice_dims, *getattr(numbers, "operand_batching_dims", ()))
    )
    rank = len(equation.outvars[0].aval.shape)
    return tuple(operand[next(kept)] if axis in numbers.offset_dims else next(indices) for axis in range(rank))


_AXES: dict[str, Callable[..., Axes]] = {
    "dot_general": _of_dot,
    "conv_general_dilated": _of_convolution,
    "broadcast_in_dim": _of_broadcast,
    "transpose": _of_transpose,
    "squeeze": _of_squeeze,
    "reshape": _of_reshape,
    "gather": _of_gather,
    **dict.fromkeys(
        ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin"),
        _of_reduction,
    ),
}
