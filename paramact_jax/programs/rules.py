"""Carries out one primitive operation with the trials on the last axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax

from paramact_jax.programs.products import product, sum_over
from paramact_jax.programs.program import apply, name_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trials:
    """A value that every trial has for itself: an array with one more axis, the last."""

    array: Any


_ARITHMETIC = ("add", "add_any", "sub", "mul", "div", "rem", "pow", "integer_pow", "square", "sqrt", "rsqrt", "cbrt")
_SIGNS = ("neg", "abs", "sign", "max", "min", "floor", "ceil", "round", "is_finite", "nextafter")
_COMPARISONS = ("eq", "ne", "ge", "gt", "le", "lt")
_BITS = ("and", "or", "xor", "not", "clz", "population_count")
_SHIFTS = ("shift_left", "shift_right_arithmetic", "shift_right_logical")
_EXPONENTIAL = ("exp", "exp2", "expm1", "log", "log1p", "log2", "logistic", "tanh", "sinh", "cosh")
_TRIGONOMETRIC = ("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh")
_SPECIAL = ("erf", "erfc", "erf_inv", "lgamma", "digamma", "polygamma", "zeta", "bessel_i0e", "bessel_i1e")
_INCOMPLETE = ("igamma", "igammac", "igamma_grad_a", "regularized_incomplete_beta", "one_minus_square")
_KINDS = ("name", "real", "imag", "complex", "conj", "convert_element_type", "copy", "copy_p")

ELEMENTWISE = frozenset[str]().union(
    *(_ARITHMETIC, _SIGNS, _COMPARISONS, _BITS, _SHIFTS),
    *(_EXPONENTIAL, _TRIGONOMETRIC, _SPECIAL, _INCOMPLETE, _KINDS),
)
"""Primitives that work element by element, on inputs with equal ranks or rank 0, and equal sizes or size 1."""

_CUMULATIVE = ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
_REDUCTIONS = ("argmax", "argmin", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor")
AXES_STAY = frozenset((*_CUMULATIVE, *_REDUCTIONS, "expand_dims", "reduce_precision", "rev"))
"""Primitives of one array with params that count axes from the front, so that one more axis at the end is harmless."""


def carry_out(equation: Any, inputs: Sequence[Any], count: int) -> Sequence[Any]:
    """Returns the outputs of an operation with at least one input that is `Trials`.

    Args:
      equation: an operation that is not a call, a loop or a branch.
      inputs: arrays that all trials share, and `Trials`.
      count: number of trials.
    """
    name = name_of(equation)
    if name in ELEMENTWISE:
        return [_elementwise(equation, inputs, count)]
    if name in AXES_STAY:
        return [Trials(apply(equation.primitive, equation.params, [inputs[0].array])[0])]
    rule = _RULES.get(name)
    made = rule(equation.params, inputs, count) if rule else None
    return by_vmap(equation, inputs) if made is None else made


def by_vmap(equation: Any, inputs: Sequence[Any]) -> Sequence[Any]:
    """Returns the outputs of `jax.vmap` of the primitive."""
    # with some generators the bits for an array of keys depend on the order of its axes
    keys = any(jnp.issubdtype(x.array.dtype, dtypes.prng_key) for x in inputs if isinstance(x, Trials))
    (count,) = {x.array.shape[-1] for x in inputs if isinstance(x, Trials)}
    errors: list[Exception] = []
    # some rules take the first axis only, and some of them, as that of `ragged_dot`, need every input along it
    for every, first in ((False, keys), (False, True), (True, True)):
        values = [Trials(full(x, count)) for x in inputs] if every else inputs
        try:
            return _by_vmap(equation, values, first=first)
        except Exception as error:  # other people's rules raise errors of any kind
            errors.append(error)
    raise errors[0]


def _by_vmap(equation: Any, inputs: Sequence[Any], *, first: bool) -> Sequence[Any]:
    """Returns the outputs of `jax.vmap` of the primitive over the first axis or the last."""
    own = [isinstance(x, Trials) for x in inputs]

    def one(*values: Any) -> tuple[Any, ...]:
        return tuple(apply(equation.primitive, equation.params, values))

    arrays = [x.array if isinstance(x, Trials) else x for x in inputs]
    if first:
        arrays = [jnp.moveaxis(x, -1, 0) if is_own else x for x, is_own in zip(arrays, own, strict=True)]
    axes = tuple((0 if first else x.ndim - 1) if is_own else None for x, is_own in zip(arrays, own, strict=True))
    outputs = equation.outvars
    made = jax.vmap(one, in_axes=axes, out_axes=tuple(len(var.aval.shape) for var in outputs))(*arrays)
    return [Trials(x) for x in made]


def full(value: Any, count: int) -> Any:
    """Returns the array of a value with the trials on its last axis; a shared value is copied."""
    if isinstance(value, Trials):
        return value.array
    array = value if isinstance(value, jax.Array) else jnp.asarray(value)
    return jnp.broadcast_to(array[..., None], (*array.shape, count))


def _elementwise(equation: Any, inputs: Sequence[Any], count: int) -> Trials:
    rank = max(np.ndim(x.array) - 1 if isinstance(x, Trials) else np.ndim(x) for x in inputs)
    arrays = [_to_rank(x, rank) for x in inputs]
    if name_of(equation) == "add_any":  # adds without broadcasting
        return Trials(lax.add(*arrays))
    return Trials(apply(equation.primitive, equation.params, arrays)[0])


def _to_rank(x: Any, rank: int) -> Any:
    """Returns an array of `rank` axes and the trials, of size 1 if they share it; a shared number stays a number."""
    if isinstance(x, Trials):
        return _leading(x.array, rank + 1)
    if not np.ndim(x):
        return x
    return _leading(jnp.asarray(x)[..., None], rank + 1)


def _leading(x: Any, rank: int) -> Any:
    """Returns an array with axes of size 1 added in front."""
    return x if x.ndim == rank else lax.reshape(x, (*(1,) * (rank - x.ndim), *x.shape))


def _broadcast_in_dim(params: Any, inputs: Sequence[Any], count: int) -> Any:
    x, *dynamic = inputs
    if dynamic:
        return None
    shape = tuple(params["shape"])
    return [Trials(lax.broadcast_in_dim(x.array, (*shape, count), (*params["broadcast_dimensions"], len(shape))))]


def _reshape(params: Any, inputs: Sequence[Any], count: int) -> Any:
    if params.get("dimensions") is not None or len(inputs) > 1:
        return None
    return [Trials(lax.reshape(inputs[0].array, (*params["new_sizes"], count)))]


def _transpose(params: Any, inputs: Sequence[Any], count: int) -> Any:
    permutation = tuple(params["permutation"])
    return [Trials(lax.transpose(inputs[0].array, (*permutation, len(permutation))))]


def _squeeze(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(lax.squeeze(inputs[0].array, tuple(params["dimensions"])))]


def _reduce_sum(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(sum_over(inputs[0].array, tuple(params["axes"])))]


def _dot_general(params: Any, inputs: Sequence[Any], count: int) -> Any:
    left, right = (x.array if isinstance(x, Trials) else jnp.asarray(x)[..., None] for x in inputs)
    made = product(left, right, params["dimension_numbers"], params["preferred_element_type"])
    return None if made is None else [Trials(made)]


def _select_n(params: Any, inputs: Sequence[Any], count: int) -> Any:
    which, *cases = inputs
    arrays = [full(x, count) for x in cases]
    if isinstance(which, Trials):
        which = jnp.broadcast_to(which.array, arrays[0].shape)
    elif np.ndim(which):
        which = full(which, count)
    return [Trials(lax.select_n(which, *arrays))]


def _clamp(params: Any, inputs: Sequence[Any], count: int) -> Any:
    low, x, high = (full(value, count) if isinstance(value, Trials) or np.ndim(value) else value for value in inputs)
    shape = np.broadcast_shapes(*(np.shape(value) for value in (low, x, high)))
    return [Trials(lax.clamp(*(jnp.broadcast_to(value, shape) for value in (low, x, high))))]


def _concatenate(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(lax.concatenate([full(x, count) for x in inputs], params["dimension"]))]


def _pad(params: Any, inputs: Sequence[Any], count: int) -> Any:
    x, value = inputs
    if isinstance(value, Trials):
        return None
    return [Trials(lax.pad(x.array, value, [*params["padding_config"], (0, 0, 0)]))]


def _stack(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(jnp.stack([full(x, count) for x in inputs], params["axis"]))]


def _unstack(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(x) for x in jnp.unstack(inputs[0].array, axis=params["axis"])]


def _tile(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(jnp.tile(inputs[0].array, (*params["reps"], 1)))]


def _slice(params: Any, inputs: Sequence[Any], count: int) -> Any:
    strides = params["strides"]
    return [
        Trials(
            lax.slice(
                inputs[0].array,
                (*params["start_indices"], 0),
                (*params["limit_indices"], count),
                None if strides is None else (*strides, 1),
            )
        )
    ]


def _split(params: Any, inputs: Sequence[Any], count: int) -> Any:
    return [Trials(x) for x in lax.split(inputs[0].array, params["sizes"], params["axis"])]


def _dynamic_slice(params: Any, inputs: Sequence[Any], count: int) -> Any:
    x, *starts = inputs
    if any(isinstance(start, Trials) for start in starts) or len(starts) != x.array.ndim - 1:
        return None
    zero = jnp.zeros((), starts[0].dtype if starts else jnp.int32)
    sizes = (*params["slice_sizes"], count)  # the primitive takes negative starts for 0
    return [Trials(lax.dynamic_slice(x.array, (*starts, zero), sizes, allow_negative_indices=False))]


def _dynamic_update_slice(params: Any, inputs: Sequence[Any], count: int) -> Any:
    x, update, *starts = inputs
    if any(isinstance(start, Trials) for start in starts):
        return None
    zero = jnp.zeros((), starts[0].dtype if starts else jnp.int32)
    arrays = full(x, count), full(update, count)
    return [Trials(lax.dynamic_update_slice(*arrays, (*starts, zero), allow_negative_indices=False))]


def _sort(params: Any, inputs: Sequence[Any], count: int) -> Any:
    arrays = [full(x, count) for x in inputs]
    sorted_ = lax.sort(
        arrays, dimension=params["dimension"], is_stable=params["is_stable"], num_keys=params["num_keys"]
    )
    return [Trials(x) for x in sorted_]


def _gather(params: Any, inputs: Sequence[Any], count: int) -> Any:
    """Gathers rows of an array that every trial has for itself, at places that all trials share."""
    x, indices = inputs
    numbers = params["dimension_numbers"]
    if isinstance(indices, Trials) or numbers.operand_batching_dims:
        return None
    rank = np.ndim(indices) - 1 + len(numbers.offset_dims)
    return [
        Trials(
            lax.gather(
                x.array,
                indices,
                numbers._replace(offset_dims=(*numbers.offset_dims, rank)),
                (*params["slice_sizes"], count),
                unique_indices=params["unique_indices"],
                indices_are_sorted=params["indices_are_sorted"],
                mode=params["mode"],
                fill_value=params["fill_value"],
            )
        )
    ]


_RULES: dict[str, Callable[[Any, Sequence[Any], int], Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "dot_general": _dot_general,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "pad": _pad,
    "reduce_sum": _reduce_sum,
    "reshape": _reshape,
    "select_n": _select_n,
    "slice": _slice,
    "sort": _sort,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}
"""Rules by name of the primitive; a rule returns None if `jax.vmap` has to do the operation."""
