"""Measures whether a record's closed forms agree with autodiff and with float64, and how exact its values are.

There are three pure functions, for the tests and for a report. The first two return `Check`s, the third an `Accuracy`.
`edges` measures the behaviour at NaN and infinity and with whole numbers.

- `check_against_autodiff(record, dtype)`: the closed forms of dz/dy and of every partial against autodiff, forward and
  reverse, plain, under jit and under vmap; finite and of the input's dtype.
- `check_against_float64(record)`: the value against NumPy, the closed forms against central differences, in 64 bits.
- `ulp_error(record, dtype)`: the largest error of the value in units in the last place, and that of `jax.nn`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import ArrayLike, DTypeLike

from paramact_jax.activations.precision import float32_products
from paramact_jax.activations.record import Activation
from paramact_jax.activations.reference import VALUES

DTYPES = ("float64", "float32", "bfloat16", "float16")
"""The dtypes in which every record must work."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of a record's closed form over a grid: one row of a table.

    Attributes:
      activation: name of the record.
      dtype: dtype of the computation.
      against: "forward" (`jax.jvp`, jitted), "grad" (`jax.grad`), "jit" (`jax.grad`, jitted), "vmap" (`jax.grad` of one
        number, vmapped and jitted), "numpy", "differences", or what `edges` compares with: "infinity", "NaN",
        "whole numbers", "strict promotion".
      quantity: what was compared: "z", "dz/dy", or "dz/d" and the name of a parameter; in `edges` also the slopes of
        autodiff, "dz/dy forward" and "dz/dy in reverse".
      points: number of (y, parameters) compared.
      error: the largest difference, in units of the dtype's eps times max(1, |closed form|); inf if either side is not
        finite or does not have the dtype of y.
      at: the y of the largest difference.
      tolerance: the largest error that still counts as rounding.
    """

    activation: str
    dtype: str
    against: str
    quantity: str
    points: int
    error: float
    at: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """How exact a record's value is: one row of a table.

    Attributes:
      activation: name of the record.
      dtype: dtype of the computation.
      points: number of y.
      error: largest |z - z64| in units in the last place of z64, where z64 is the record's value in 64 bits.
      at: the y of the largest error.
      jax_nn_error: the same error for the `jax.nn` function with the same values; None if there is no such function.
    """

    activation: str
    dtype: str
    points: int
    error: float
    at: float
    jax_nn_error: float | None

    @property
    def passed(self) -> bool:
        """Whether the error is finite and not larger than that of `jax.nn`."""
        return math.isfinite(self.error) and (self.jax_nn_error is None or self.error <= self.jax_nn_error)


@float32_products()
def check_against_autodiff(record: Activation, dtype: DTypeLike = "float32") -> tuple[Check, ...]:
    """Compares the record's closed forms of dz/dy and of every partial with autodiff in four ways.

    The grid has kinks, both zeros, the bends, saturation and +-1e4, at the start values of the parameters and at values
    around them. float64 works even if JAX's 64-bit numbers are switched off.

    Raises:
      ValueError: if the dtype is not one of `DTYPES`.

    Examples:
      >>> from paramact_jax.activations import ppns
      >>> checks = check_against_autodiff(ppns, "float32")
      >>> sorted({check.quantity for check in checks})
      ['dz/da', 'dz/db', 'dz/dy']
      >>> all(check.passed for check in checks)
      True
    """
    name = dtype_name(dtype, DTYPES)
    with jax.enable_x64(name == "float64"):
        y, params = grid(record, name)
        args = {"y": y} | params
        closed = {"y": record.derivative(y, **params)} | {p: d(y, **params) for p, d in record.partials.items()}
        rows = []
        for way, slopes in _ways(record, args):
            for variable, slope in slopes.items():
                rows.append(
                    _compare(record, way, f"dz/d{variable}", args["y"], closed[variable], slope, TOLERANCES[name])
                )
    return tuple(rows)


@float32_products()
def check_against_float64(record: Activation) -> tuple[Check, ...]:
    """Compares the record's value with NumPy and its closed forms with central differences, in 64 bits.

    The differences are taken away from the kinks, where the slope exists. The value of a user's record is not compared,
    since `reference` has only the functions of the catalogue.

    Examples:
      >>> from paramact_jax.activations import ppns
      >>> [(check.against, check.quantity) for check in check_against_float64(ppns)]
      [('numpy', 'z'), ('differences', 'dz/dy'), ('differences', 'dz/da'), ('differences', 'dz/db')]
    """
    with jax.enable_x64(True):
        y, params = grid(record, "float64")
        rows = []
        if reference := VALUES.get(record.name):
            expected = reference(np.asarray(y), **{p: np.asarray(value) for p, value in params.items()})
            rows.append(_compare(record, "numpy", "z", y, expected, record(y, **params), TOLERANCES["float64"]))
        closed = {"y": record.derivative} | dict(record.partials)
        for variable, form in closed.items():
            differences, kept = _central_differences(record, {"y": y} | params, variable)
            slope, of = form(y, **params)[kept], f"dz/d{variable}"
            row = _compare(record, "differences", of, y[kept], slope, differences[kept], _DIFFERENCE_TOLERANCE)
            rows.append(row)
    return tuple(rows)


@float32_products()
def ulp_error(record: Activation, dtype: DTypeLike = "float32") -> Accuracy:
    """Measures the record's largest error in units in the last place, for |y| <= 1e4 at its parameters' start values.

    It measures float16 and bfloat16 at every normal number, float32 on a sample. The record and the `jax.nn` function
    are jitted, as they are in use. Results within 128 times the smallest normal number are left out: there XLA flushes
    intermediate results to 0, which is not a rounding error.

    Raises:
      ValueError: if the dtype is not float32, bfloat16 or float16. The errors are measured against float64.

    Examples:
      >>> from paramact_jax.activations import relu
      >>> ulp_error(relu, "float16").error
      0.0
    """
    name = dtype_name(dtype, DTYPES[1:])
    y = numbers(name)
    with jax.enable_x64(True):
        exact = np.asarray(record(jnp.asarray(y, jnp.float64), **record.params))
    errors = _ulps(np.asarray(jax.jit(lambda y: record(y, **record.params))(y)), exact, name)
    worst = int(errors.argmax())
    theirs = None if record.jax_nn is None else _ulps(np.asarray(jax.jit(record.jax_nn)(y)), exact, name)
    return Accuracy(
        activation=record.name,
        dtype=name,
        points=len(errors),
        error=float(errors[worst]),
        at=float(y[worst]),
        jax_nn_error=None if theirs is None else float(theirs.max()),
    )


TOLERANCES = {"float64": 32.0, "float32": 32.0, "bfloat16": 8.0, "float16": 8.0}
"""The largest error, in eps and by dtype, that still counts as rounding."""

_DIFFERENCE_TOLERANCE = 2e7  # a difference quotient of 64-bit numbers keeps 8 to 10 digits

# Both zeros, the region where the functions bend, saturation, and values that overflow an unguarded exp or square.
_POINTS = (0.0, -0.0, *(sign * y for y in (2**-10, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 6, 20, 400, 1e4) for sign in (1, -1)))


def grid(record: Activation, dtype: DTypeLike) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns y and every parameter, all of one shape: the points at which a record is compared.

    Every y is combined with the start values of the parameters, with each parameter moved down or up alone, and with
    all parameters moved together. The moves are binary fractions, so y hits every kink exactly.

    Examples:
      >>> from paramact_jax.activations import parametric_relu
      >>> y, params = grid(parametric_relu, "float32")
      >>> {p: sorted(set(value.tolist())) for p, value in params.items()}
      {'a': [1.125, 1.5, 1.875], 'b': [-0.25, 0.0, 0.25]}
    """
    starts = dict(record.params)
    moved = {sign: {p: x + sign * 0.25 * max(1.0, abs(x)) for p, x in starts.items()} for sign in (-1, 1)}
    alone = [starts | {p: values[p]} for values in moved.values() for p in starts]
    ys: list[float] = []
    rows: list[dict[str, float]] = []
    for setting in [starts, *alone, *(moved.values() if starts else ())]:
        shift = setting.get("b", 0.0)
        special = [kink.at for kink in record.kinks] + [sign * x for x in setting.values() for sign in (1, -1)]
        points = [*_POINTS, *special, *(y + shift for y in _POINTS)]
        ys += points
        rows += [setting] * len(points)
    # Padded to a length that many records share, so JAX compiles each operation once for all of them.
    missing = -len(ys) % 512
    ys += [0.0] * missing
    rows += [starts] * missing
    return jnp.asarray(ys, dtype), {p: jnp.asarray([row[p] for row in rows], dtype) for p in starts}


def dtype_name(dtype: DTypeLike, known: tuple[str, ...]) -> str:
    """Returns the name of a dtype; raises ValueError if it is not in `known`."""
    name = str(jnp.dtype(dtype))
    if name not in known:
        raise ValueError(f"expected one of the dtypes {', '.join(known)}, got {name}")
    return name


def _ways(record: Activation, args: dict[str, jax.Array]) -> Iterator[tuple[str, Mapping[str, jax.Array]]]:
    def z(args: Mapping[str, jax.Array]) -> jax.Array:
        return record(args["y"], **{p: args[p] for p in record.params})

    def total(args: Mapping[str, jax.Array]) -> jax.Array:
        return z(args).sum()

    def forward(args: dict[str, jax.Array]) -> dict[str, jax.Array]:
        ones = jnp.ones_like(args["y"])
        return {x: jax.jvp(lambda v, x=x: z({**args, x: v}), (args[x],), (ones,))[1] for x in args}

    # All but one are compiled as a whole, since JAX needs longer operation by operation.
    yield "forward", jax.jit(forward)(args)
    yield "grad", jax.grad(total)(args)
    yield "jit", jax.jit(jax.grad(total))(args)
    yield "vmap", jax.jit(jax.vmap(jax.grad(z)))(args)


def _compare(
    record: Activation, against: str, quantity: str, y: jax.Array, closed: ArrayLike, other: ArrayLike, tolerance: float
) -> Check:
    at, right, found = (np.asarray(x, np.float64) for x in (y, closed, other))
    errors = np.full(at.shape, np.inf)
    if right.shape == found.shape == at.shape and all(jnp.result_type(x) == y.dtype for x in (closed, other)):
        finite = np.isfinite(right) & np.isfinite(found)
        eps = float(jnp.finfo(y.dtype).eps)
        errors[finite] = (np.abs(right - found)[finite] / np.maximum(1, np.abs(right[finite]))) / eps
    worst = int(errors.argmax())
    return Check(
        activation=record.name,
        dtype=str(y.dtype),
        against=against,
        quantity=quantity,
        points=at.size,
        error=float(errors[worst]),
        at=float(at[worst]),
        tolerance=tolerance,
    )


def _central_differences(
    record: Activation, args: Mapping[str, jax.Array], variable: str
) -> tuple[jax.Array, jax.Array]:
    """Returns the central difference by one variable at every point, and whether it is a derivative there.

    It is no derivative at a kink, and it keeps no digits at a sharp bend of the slope or at a large |y|.
    """
    step = 1e-5

    def z(shift: ArrayLike) -> jax.Array:
        moved = {**args, variable: args[variable] + shift}
        return record(moved.pop("y"), **moved)

    ahead, here, behind = z(step), z(0.0), z(-step)
    right, left, near = (ahead - here) / step, (here - behind) / step, (z(step / 2) - z(-step / 2)) / step
    central = (right + left) / 2
    no_kink = jnp.abs(right - left) <= 1e-3 * (1 + jnp.abs(right))
    # Where the slope bends sharply, or the function jumps, a central difference changes with its step.
    no_bend = jnp.abs(near - central) <= 1e-8 * (1 + jnp.abs(central))
    return central, no_kink & no_bend & (jnp.abs(args["y"]) <= 25)


def numbers(dtype: str) -> npt.NDArray[Any]:
    """Returns all normal numbers of a 16-bit dtype up to 1e4 in size, and 0; or a sample of those of float32.

    Examples:
      >>> len(numbers("float16")), float(numbers("bfloat16").max())
      (55752, 9984.0)
    """
    if dtype == "float32":
        powers = np.logspace(-37, 4, 20_000)
        found = np.concatenate([powers, -powers, np.linspace(-20, 20, 20_001)]).astype(np.float32)
    else:
        found = np.arange(2**16, dtype=np.uint16).view(jnp.dtype(dtype))
        with np.errstate(invalid="ignore"):
            found = found[np.isfinite(found.astype(np.float32))]
    size = np.abs(found.astype(np.float64))
    return found[(size <= 1e4) & ((size >= float(jnp.finfo(dtype).tiny)) | (size == 0))]


def _ulps(z: npt.NDArray[Any], exact: npt.NDArray[np.float64], dtype: str) -> npt.NDArray[np.float64]:
    info = jnp.finfo(dtype)
    floor, found = 128 * float(info.tiny), z.astype(np.float64)
    unit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), floor))) - info.nmant)
    with np.errstate(invalid="ignore"):
        errors = np.abs(found - exact) / unit
    errors[(np.abs(exact) < floor) & (np.abs(found) < 2 * floor)] = 0
    return np.where(np.isfinite(errors), errors, np.inf)
