"""Checks a record where functions often fail: at infinity and NaN, for whole numbers, under strict promotion.

Two pure functions return rows like those of `verification`, for the tests and for a report:

- `check_edges(record, dtype)`: at +-inf the value, the slope and the partials are their limits, and autodiff has the
  same slope. At NaN the value is NaN, and so is the slope unless the function is made of straight lines; closed form
  and autodiff agree. All this is checked under JAX's strict promotion. A record that mixes dtypes gets one row only,
  "strict promotion".
- `check_whole_numbers(record)`: integers give the same results as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import DTypeLike

from paramact_jax.activations.precision import float32_products
from paramact_jax.activations.record import Activation
from paramact_jax.activations.verification import DTYPES, TOLERANCES, Check, dtype_name

_EDGES = (np.inf, -np.inf, np.nan)
_FAR = np.array([1e30, 1e60, -1e30, -1e60])
_VANISHED = 1e-20  # a value below this at |y| = 1e60 has the limit 0
_WHOLE = np.arange(-8, 9)
_MOST_SLOPES_OF_LINES = 3

Forms = Mapping[str, Callable[[Any, Mapping[str, Any]], jax.Array]]


@float32_products()
def check_edges(record: Activation, dtype: DTypeLike = "float32") -> tuple[Check, ...]:
    """Checks the record at +-inf and NaN, at the start values of its parameters, under strict promotion.

    The expected limits come from the record's values in 64 bits at |y| = 1e30 and 1e60.

    Raises:
      ValueError: if the dtype is not one of `DTYPES`.

    Examples:
      >>> from paramact_jax.activations import silu
      >>> [(check.against, check.quantity, check.error) for check in check_edges(silu)][:2]
      [('infinity', 'z', 0.0), ('NaN', 'z', 0.0)]
    """
    name = dtype_name(dtype, DTYPES)
    with jax.enable_x64(True):
        wide = _at(_closed(record), np.concatenate([_FAR, np.linspace(-7, 7, 57)]), record, "float64")
    straight = len(np.unique(wide["dz/dy"][len(_FAR) :])) <= _MOST_SLOPES_OF_LINES
    rows = []
    with jax.enable_x64(name == "float64"), jax.numpy_dtype_promotion("strict"):
        try:
            found = _at(_forms(record), np.array(_EDGES), record, name)
        except ValueError:  # dtypes are mixed
            return (_row(record, name, "strict promotion", "z", np.inf, np.nan, 0.0),)
    for quantity, (*infinite, at_nan) in found.items():
        far = wide[quantity.partition(" ")[0]][: len(_FAR)]
        limits = [_limit(*pair) for pair in far.reshape(2, 2)]
        eps = float(jnp.finfo(name).eps)
        errors = [_difference(x, limit) / eps for x, limit in zip(infinite, limits, strict=True)]
        worst = int(np.argmax(errors))
        rows.append(_row(record, name, "infinity", quantity, errors[worst], _EDGES[worst], TOLERANCES[name]))
        if quantity == "z" or ("dz/dy" in quantity and not straight):
            expected = np.nan
        else:
            expected = found[quantity.partition(" ")[0]][2]
        is_as_expected = at_nan == expected or (np.isnan(at_nan) and np.isnan(expected))
        rows.append(_row(record, name, "NaN", quantity, 0.0 if is_as_expected else np.inf, np.nan, 0.0))
    return tuple(rows)


@float32_products()
def check_whole_numbers(record: Activation) -> tuple[Check, ...]:
    """Compares the record's value, slope and partials at the integers -8 to 8 with those at the same floats.

    Examples:
      >>> from paramact_jax.activations import leaky_relu
      >>> [check.passed for check in check_whole_numbers(leaky_relu)]
      [True, True]
    """
    params = dict(record.params)

    @jax.jit
    def both(whole: jax.Array, floats: jax.Array) -> dict[str, tuple[jax.Array, ...]]:
        forms = _closed(record)
        return {q: (form(whole, params), form(floats, params), form(3, params)) for q, form in forms.items()}

    rows = []
    results = both(jnp.asarray(_WHOLE, "int32"), jnp.asarray(_WHOLE, "float32"))
    for quantity in _closed(record):
        found = results[quantity]
        whole, floats, three = (np.asarray(x, np.float64) for x in found)
        errors = np.abs(np.append(whole - floats, three - floats[_WHOLE == 3])) / float(jnp.finfo("float32").eps)
        error = float(errors.max()) if len({x.dtype for x in found}) == 1 else np.inf
        at = float(np.append(_WHOLE, 3)[errors.argmax()])
        rows.append(_row(record, "int32", "whole numbers", quantity, error, at, TOLERANCES["float32"]))
    return tuple(rows)


def _closed(record: Activation) -> Forms:
    forms: dict[str, Any] = {"z": record, "dz/dy": record.derivative}
    forms |= {f"dz/d{p}": partial for p, partial in record.partials.items()}

    def called(form: Any) -> Callable[[Any, Mapping[str, Any]], jax.Array]:
        return lambda y, params: form(y, **params)

    return {quantity: called(form) for quantity, form in forms.items()}


def _forms(record: Activation) -> Forms:
    def z(params: Mapping[str, Any]) -> Callable[[jax.Array], jax.Array]:
        return lambda y: record(y, **params)

    def forward(y: jax.Array, params: Mapping[str, Any]) -> jax.Array:
        return jax.jvp(z(params), (y,), (jnp.ones_like(y),))[1]

    def reverse(y: jax.Array, params: Mapping[str, Any]) -> jax.Array:
        return jax.vjp(z(params), y)[1](jnp.ones_like(y))[0]

    return dict(_closed(record)) | {"dz/dy forward": forward, "dz/dy in reverse": reverse}


def _at(forms: Forms, y: npt.NDArray[np.float64], record: Activation, dtype: str) -> dict[str, npt.NDArray[np.float64]]:
    params = {p: jnp.full(y.shape, start, dtype) for p, start in record.params.items()}
    # Compiled as a whole, since JAX needs longer operation by operation.
    found = jax.jit(lambda y, params: {quantity: form(y, params) for quantity, form in forms.items()})(
        jnp.asarray(y, dtype), params
    )
    return {quantity: np.asarray(found[quantity], np.float64) for quantity in forms}


def _limit(at_1e30: float, at_1e60: float) -> float:
    if abs(at_1e60) < _VANISHED:
        return 0.0
    return at_1e60 if np.isclose(at_1e30, at_1e60, rtol=1e-9) else float(np.sign(at_1e60) * np.inf)


def _difference(found: float, limit: float) -> float:
    if np.isinf(limit) or not np.isfinite(found):
        return 0.0 if found == limit else np.inf
    return abs(found - limit) / max(1.0, abs(limit))


def _row(
    record: Activation, dtype: str, against: str, quantity: str, error: float, at: float, tolerance: float
) -> Check:
    points = {"infinity": 2, "NaN": 1}.get(against, len(_WHOLE))
    return Check(record.name, dtype, against, quantity, points, error, at, tolerance)
