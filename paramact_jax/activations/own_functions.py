"""Checks whether a user's function can be an activation, and finds its steepest slope and its range."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Function = Callable[..., jax.Array]

_GRID = np.sort(np.concatenate([np.sinh(np.linspace(-6, 6, 4001)) * (100 / np.sinh(6)), [0.0]]))
_SOME = slice(701, 3301, 3)  # an elementwise function gives the same values on this part alone
_STILL_GROWING = 1.05  # an unbounded slope is at least this much steeper on twice the interval, or on closer points


class Properties(NamedTuple):
    """The properties of a function that are found numerically.

    Attributes:
      steepest_slope: max |f'(y)|; inf where it has no bound.
      range: smallest and largest value on |y| <= 100.
    """

    steepest_slope: float
    range: tuple[float, float]


def name_of(fn: Any) -> str:
    """Returns the name of a function, of the function in a partial, or of the class of another object.

    Examples:
      >>> name_of(functools.partial(jax.nn.leaky_relu, negative_slope=0.1))
      'leaky_relu'
    """
    if isinstance(fn, functools.partial):
        return name_of(fn.func)
    return str(getattr(fn, "__name__", type(fn).__name__))


def same_dtype(fn: Function) -> Function:
    """Returns fn with its result cast to the dtype of its argument."""

    def values(y: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(fn(y)).astype(jnp.result_type(y))

    return values


def derivative_of(fn: Function, label: str) -> Function:
    """Returns the elementwise derivative: in forward mode, or in reverse mode for a function with a `custom_vjp`.

    Raises:
      TypeError: if JAX can differentiate it in neither mode.
    """

    def forward(y: jax.typing.ArrayLike) -> jax.Array:
        y = jnp.asarray(y)
        return jax.jvp(fn, (y,), (jnp.ones_like(y),))[1]

    def reverse(y: jax.typing.ArrayLike) -> jax.Array:
        z, pull_back = jax.vjp(fn, jnp.asarray(y))
        return pull_back(jnp.ones_like(z))[0]

    for derivative in (forward, reverse):
        try:
            with jax.ensure_compile_time_eval():  # a custom_vjp refuses the forward mode only when it runs
                derivative(jnp.asarray(_GRID, jnp.float32))
        except Exception as caught:
            error = caught
        else:
            return derivative
    raise TypeError(
        f"activation {label!r}: expected a function JAX can differentiate, got {type(error).__name__} from it; "
        f"write it with jax.numpy"
    ) from error


def check(fn: Any, label: str) -> None:
    """Refuses objects that cannot be activations, by their signature and their abstract result alone.

    Raises:
      TypeError: if `fn` is not a function of one array, holds parameters, cannot be traced, or gives anything but one
        array of real numbers.
      ValueError: if the result has another shape than the array.
    """
    if not callable(fn):
        raise TypeError(f"expected an elementwise function of one array, got {type(fn).__name__}")
    if module := _module_in(fn):
        raise TypeError(
            f"activation {label!r}: expected a function, got the Flax module {module}, and its parameters would be "
            f"frozen; pass a pure function, or a record with parameters such as 'prelu'"
        )
    try:
        inspect.signature(fn).bind(None)
    except TypeError as error:
        raise TypeError(
            f"activation {label!r}: expected a function of one array, got one that cannot be called with it ({error}); "
            f"fix its other arguments with functools.partial"
        ) from error
    except ValueError:  # a function written in C has no signature
        pass
    try:
        result = jax.eval_shape(functools.partial(_call, fn), _float32(_GRID.shape))
    except Exception as error:
        raise TypeError(
            f"activation {label!r}: expected a function JAX can trace, got {type(error).__name__} from it "
            f"({(str(error).splitlines() or [''])[0]}); write it with jax.numpy, and jnp.where in place of if"
        ) from error
    if not isinstance(result, jax.ShapeDtypeStruct):
        got = f"{len(result)} outputs" if isinstance(result, (tuple, list)) else type(result).__name__
        raise TypeError(
            f"activation {label!r}: expected a function that gives one array, got {got}; return one of them"
        )
    if not jnp.issubdtype(result.dtype, jnp.floating):
        raise TypeError(
            f"activation {label!r}: expected real numbers of a float dtype, got {result.dtype}; "
            f"take the real part, or cast it to the dtype of y"
        )
    if result.shape != _GRID.shape:
        raise ValueError(_not_elementwise(label, result.shape))


def measure(fn: Function, derivative: Function, label: str) -> Properties | None:
    """Finds the properties numerically, even while JAX traces; returns None if fn depends on a traced value.

    Raises:
      ValueError: if `fn` is not elementwise.
    """
    with jax.ensure_compile_time_eval():
        results = [fn(jnp.asarray(y, jnp.float32)) for y in (_GRID, _GRID[_SOME])]
        if any(isinstance(result, jax.core.Tracer) for result in results):
            return None
        values, alone = map(np.asarray, results)
        if values.shape != _GRID.shape or not np.allclose(values[_SOME], alone, equal_nan=True):
            raise ValueError(_not_elementwise(label, values.shape))
        return Properties(find_steepest_slope(derivative), (float(values.min()), float(values.max())))


def find_steepest_slope(derivative: Function) -> float:
    """Finds max |f'(y)| on |y| <= 100: on a grid that is dense at 0, then by three refinements around its best point.

    Returns inf if the derivative is not finite somewhere on the grid, or if it is still growing: more than 5 % steeper
    on |y| <= 100 than on |y| <= 50, or more than 5 % steeper on points 200 times closer together.

    Examples:
      >>> find_steepest_slope(jnp.cos), find_steepest_slope(lambda y: y), find_steepest_slope(lambda y: 1 / (y - 0.1))
      (1.0, inf, inf)
    """
    grid, best = _GRID, 0.0
    for refinement in range(4):
        slopes = np.abs(np.asarray(derivative(jnp.asarray(grid, jnp.float32)), np.float64))
        if not np.isfinite(slopes).all():
            return math.inf
        if refinement == 0 and slopes.max() > _STILL_GROWING * slopes[np.abs(grid) <= 50].max():
            return math.inf
        if refinement > 1 and slopes.max() > _STILL_GROWING * best:
            return math.inf
        i = int(slopes.argmax())
        best = max(best, float(slopes[i]))
        grid = np.linspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 401)
    return best


def _float32(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _call(fn: Any, y: jax.Array) -> Any:
    """Calls fn. JAX must not hold fn itself: it keeps weak references, and a weak reference to a ufunc crashes it."""
    return fn(y)


def _not_elementwise(label: str, shape: tuple[int, ...]) -> str:
    return (
        f"activation {label!r}: expected an elementwise function, where each value depends only on its own y, "
        f"got one of shape {_GRID.shape} -> {shape} that is not; write it for one y"
    )


def _module_in(fn: Any) -> str | None:
    """Returns the class of the called Flax module, or None; compares names, since this package does not import Flax."""
    if isinstance(fn, functools.partial):
        return next(filter(None, map(_module_in, (fn.func, *fn.args, *fn.keywords.values()))), None)
    owner = getattr(fn, "__self__", fn)
    is_module = any(base.__module__.startswith("flax.") and base.__name__ == "Module" for base in type(owner).__mro__)
    return type(owner).__name__ if is_module else None
