"""Recognises a known activation by its values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.activations import catalogue
from paramact_jax.activations.record import Function

_Y = np.concatenate([np.linspace(-6, 6, 95), [-0.0, -30.0, 30.0, 100.0, -100.0]]).astype(np.float32)
"""Numbers at which functions are compared."""

_TOLERANCE = 1e-4
"""Tolerance relative to 1 or to the value, whichever is larger: formulas for one function round differently."""


def values_of(function: Callable[..., Any], dtype: Any = jnp.float32, y: np.ndarray = _Y) -> np.ndarray:
    """Returns f(y), computed in a dtype, for a function of arrays with one axis."""
    with jax.ensure_compile_time_eval():  # the caller may be traced
        return np.asarray(jax.jit(function)(jnp.asarray(y, dtype)), np.float64)


def known_as(values: np.ndarray, dtype: Any = jnp.float32) -> str | None:
    """Returns the name of the activation with these values, at the numbers where `values_of` computes them; or None.

    The known activations are the functions of `jax.nn` and of the catalogue, sine, cosine, the square of ReLU, and the
    families of leaky ReLU, ELU and CELU with any slope or alpha. Constant and affine functions are not activations.
    """
    return next((name for name, known in _known() if alike(values, known, dtype)), None) or _family(values, dtype)


def known_multiple(values: np.ndarray, dtype: Any = jnp.float32) -> tuple[str, float] | None:
    """Returns the name of an activation that these values are a multiple of, and the factor; or None.

    Args:
      values: the values at the numbers where `values_of` computes them.
      dtype: the dtype in which they were computed.

    Examples:
      >>> known_multiple(values_of(lambda y: 30 * jax.nn.relu(y)))
      ('relu', 30.0)
    """
    if (name := known_as(values, dtype)) is not None:
        return name, 1.0
    for name, known in _known():
        usable = np.isfinite(values) & np.isfinite(known) & (np.abs(known) > 0.1)
        if usable.any():
            factor = float(np.median(values[usable] / known[usable]))
            if np.isfinite(factor) and factor != 0 and alike(values / factor, known, dtype):
                return name, factor
    return None


def is_affine(values: np.ndarray, dtype: Any = jnp.float32) -> bool:
    """Returns whether the values are those of c y + d."""
    y = _Y.astype(np.float64)
    slope = (values[0] - values[94]) / (y[0] - y[94])
    return alike(values, values[95] + slope * y, dtype)


def alike(values: np.ndarray, others: np.ndarray, dtype: Any = jnp.float32) -> bool:
    """Returns whether values that were computed in a dtype equal the others, where they are finite."""
    finite = np.isfinite(values)
    if np.count_nonzero(finite) < 0.9 * len(values):
        return False
    tolerance = max(_TOLERANCE, 8 * float(jnp.finfo(dtype).eps))
    difference = np.abs(values[finite] - others[finite])
    return bool(np.all(difference <= tolerance * np.maximum(1, np.abs(others[finite]))))


def _family(values: np.ndarray, dtype: Any) -> str | None:
    y = _Y.astype(np.float64)
    slope, floor = values[0] / y[0], -values[-1]  # slope of a leaky ReLU; ELU and CELU have -floor at -100
    candidates = {"leaky_relu": np.where(y > 0, y, slope * y)} if 0 < slope < 1 else {}
    if np.isfinite(floor) and floor > 0:
        candidates["elu"] = np.where(y > 0, y, floor * np.expm1(np.minimum(y, 0)))
        candidates["celu"] = np.where(y > 0, y, floor * np.expm1(np.minimum(y, 0) / floor))
    return next((name for name, others in candidates.items() if alike(values, others, dtype)), None)


@functools.cache
def _known() -> list[tuple[str, np.ndarray]]:
    """Returns the known functions by the names that `jax.nn` gives them, each with its values."""
    renamed = {"gelu_tanh": "gelu", "softsign": "soft_sign", "leaky_relu_tenth": "leaky_relu"}
    records = [record for record in map(catalogue.get, catalogue.names()) if not record.params]
    functions: list[tuple[str, Function]] = [
        *((renamed.get(record.name, record.name), record.fn) for record in records if record.name not in _NONE),
        *((name, getattr(jax.nn, name)) for name in ("hard_tanh", "sparse_plus", "sparse_sigmoid")),
        *(("sin", jnp.sin), ("cos", jnp.cos), ("relu_squared", lambda y: jax.nn.relu(y) ** 2)),
    ]
    return [(name, values_of(function)) for name, function in functions]


_NONE = ("identity", "relu_from_right", "step", "sgn")
"""Records of the catalogue that are not activations, or that have the values of another record."""
