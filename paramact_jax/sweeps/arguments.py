"""Checks the arguments of a user's function: the names that it takes, and its values as arrays."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_NOTHING: Mapping[str, str] = {}


def check_call(functions: Mapping[str, Any]) -> None:
    """Refuses a sweep of something that is not a function, and a sweep inside another JAX program.

    Args:
      functions: the functions, by the name that an error message gives them.

    Raises:
      ValueError: in one line.
    """
    for name, fn in functions.items():
        if not callable(fn):
            raise ValueError(f"{name}: expected a function, got {fn!r}; pass one of a trial's values")
        if not _takes_one(fn):
            raise ValueError(
                f"{name}: expected a first parameter that takes a trial's key or state by position, got none in "
                f"{inspect.signature(fn)}; add one"
            )
    check_concrete("sweep", jnp.zeros(()))  # within jit even this is a tracer


def check_concrete(name: str, values: Any) -> None:
    """Raises ValueError, in one line, if a leaf of the values is a tracer."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)):
        raise ValueError(
            f"{name}: expected values, got a tracer; a sweep compiles a program of its own and cannot be called inside "
            f"jit, vmap or grad: call it outside of them"
        )


def _takes_one(fn: Callable[..., Any]) -> bool:
    try:
        inspect.signature(fn).bind_partial(None)
    except TypeError:
        return False
    except ValueError:  # a function without a known signature
        return True
    return True


def in_one_line(value: Any) -> str:
    """Returns the text of a value, such as an array, without line breaks."""
    return " ".join(repr(value).split())


def check_names(
    functions: Mapping[str, Callable[..., Any]],
    choices: Sequence[Iterable[str]],
    settings: Iterable[str],
    *,
    provided: Mapping[str, str] = _NOTHING,
    elsewhere: Collection[str] = (),
) -> None:
    """Refuses names that no function takes, and required names that are missing.

    Args:
      functions: the functions, by the name that an error message gives them. The sweep itself passes the first
        parameter of each.
      choices: for each choice of the static settings, the names of the axes and of the points' settings.
      settings: names of the settings.
      provided: by function, the parameter that the sweep itself sets, if the function has one.
      elsewhere: names that the functions take at other choices.

    Raises:
      ValueError: in one line.
    """
    settings = list(settings)
    axes = dict.fromkeys(name for names in choices for name in names)
    given = [*axes, *settings]
    for name in provided.values():
        if name in given:
            raise ValueError(f"{name}: expected an axis or setting that the sweep does not set itself; rename it")
    for name in axes:
        if given.count(name) > 1:
            raise ValueError(f"{name}: expected an axis or a setting, got both; leave one of the two out")
    known = {function: _parameters(fn) for function, fn in functions.items()}
    for function, name in provided.items():
        (known[function] or {}).pop(name, None)
    if all(names is not None for names in known.values()):
        taken = {name for names in known.values() for name in names or {}}
        for name in given:
            if name not in taken and name not in elsewhere:
                near = difflib.get_close_matches(name, taken, n=1)
                raise ValueError(
                    f"{', '.join(functions)}: expected axes and settings among the parameters "
                    f"{', '.join(sorted(taken)) or '(none)'}, got {name!r}"
                    + (f"; did you mean {near[0]!r}?" if near else "")
                )
    for function, names in known.items():
        for name, required in (names or {}).items():
            if required and not all(name in (*own, *settings) for own in choices):
                where = "none at some points" if name in given else "none"
                raise ValueError(
                    f"{function}: expected a value for its parameter {name!r}, got {where}; pass {name}=... or an axis"
                )


def names_of(function: Callable[..., Any]) -> list[str]:
    """Returns the names of all parameters of a function after the first."""
    return list(_parameters(function) or ())


def accepted(fn: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that `fn` has parameters for."""
    names = _parameters(fn)
    return {name: value for name, value in values.items() if names is None or name in names}


def has_parameter(fn: Callable[..., Any], name: str) -> bool:
    """Returns whether `fn` has a parameter of exactly this name after the first; `**names` does not count."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())[1:]
    except (TypeError, ValueError):
        return False
    return any(p.name == name and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)


def as_arrays(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with every number as an array with a dtype, as the compiled program takes them.

    Python's and NumPy's floating-point numbers become JAX's default float, so 0.1 and np.float32(0.1) are one type
    and share one compiled program. Arrays keep their dtype, or get the dtype of JAX's 32-bit mode.

    Raises:
      ValueError: in one line, for a value that is not a number or an array, or that `converted` refuses.
    """
    return {name: jax.tree.map(lambda x, name=name: _as_array(name, x), value) for name, value in settings.items()}


def returned(where: str, leaf: Any) -> jax.Array:
    """Returns a leaf of what a user's function returned as an array.

    Raises:
      ValueError: in one line, for what is not an array of numbers or keys, or does not fit into JAX's integers.
    """
    if getattr(leaf, "dtype", None) == jax.dtypes.float0:
        raise ValueError(
            f"{where}: expected an array, got a derivative by an integer, which has no values; leave it out"
        )
    if isinstance(leaf, int | np.integer) and not isinstance(leaf, bool):
        given = np.asarray(leaf)
        converted(where, given, jnp.asarray(np.empty(0, given.dtype)).dtype)
    try:
        return jnp.asarray(leaf)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected an array, got {leaf!r}; return arrays only") from error


def _as_array(name: str, x: Any) -> Any:
    check_concrete(name, x)
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    try:
        given = np.asarray(x)
        if isinstance(x, float | np.floating):
            dtype = jnp.result_type(float)
        elif isinstance(x, int) and not isinstance(x, bool):
            dtype = jnp.result_type(int)
        else:
            dtype = jnp.asarray(np.empty(0, given.dtype)).dtype
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected numbers or arrays, got {in_one_line(x)}; settings are traced: bind anything else to the "
            f"function, with functools.partial or in a closure"
        ) from error
    return given.copy() if given.dtype == dtype else converted(name, given, dtype)


def converted(name: str, given: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns the numbers in the dtype that trials compute in: perhaps rounded, otherwise unchanged.

    Raises:
      ValueError: in one line, for an integer that does not fit, for a finite number that would become infinite, and
        for a number other than 0 that is so small that XLA computes with 0.

    Examples:
      >>> converted("rate", np.array([0.1, np.inf]), np.float32).tolist()
      [0.10000000149011612, inf]
      >>> converted("steps", np.array(2**40), np.int32)
      Traceback (most recent call last):
        ...
      ValueError: steps: expected integers that fit into int32, got 1099511627776; give another value, or enable \
64-bit numbers: jax.config.update("jax_enable_x64", True)
    """
    inexact = jnp.issubdtype(dtype, jnp.inexact)
    if given.dtype == object:  # integers beyond 64 bits
        lost = np.ones(given.shape, bool)
    else:
        with np.errstate(all="ignore"):
            kept = given.astype(dtype)
        lost = _lost(given, kept) if inexact else np.asarray(kept != given)
        if not lost.any():
            return kept
    raise ValueError(
        f"{name}: expected {'numbers' if inexact else 'integers'} that fit into {np.dtype(dtype)}, got "
        f'{given[lost][0]}; give another value, or enable 64-bit numbers: jax.config.update("jax_enable_x64", True)'
    )


def _lost(given: np.ndarray, kept: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(given):
        return _lost(given.real, kept.real) | _lost(given.imag, kept.imag)
    smallest = jnp.finfo(kept.dtype).smallest_normal
    return np.asarray((np.isfinite(given) & ~np.isfinite(kept)) | ((given != 0) & (abs(kept) < smallest)))


def _parameters(fn: Callable[..., Any]) -> dict[str, bool] | None:
    """Returns by parameter after the first whether it needs a value; None if any name is taken or none is known."""
    try:
        parameters: Sequence[inspect.Parameter] = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {
        parameter.name: parameter.default is inspect.Parameter.empty
        for parameter in parameters[1:]
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
