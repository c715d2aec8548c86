"""What can be measured about a record: do its closed forms agree with autodiff and with float64, and how exactly.

Three pure functions, for the tests and for a report alike. The first two give `Check`s, the third an `Accuracy`:

- `check_against_autodiff(record, dtype)`: the closed forms of dz/dy and of every partial against autodiff, forward and
  reverse, as it is, under jit, under vmap and as `jax.grad` of one number; finite and of the input's dtype.
- `check_against_float64(record)`: the value against NumPy, and the closed forms against central differences, in 64 bits.
- `ulp_error(record, dtype)`: the largest error of the value in units in the last place, beside `jax.nn`'s.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from paramact_jax.activations.record import Activation, Function
from paramact_jax.activations.reference import VALUES

DTYPES = ("float64", "float32", "bfloat16", "float16")
"""The dtypes every record promises to work in."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of a record's closed form over a grid: the row of a table.

    Attributes:
      activation: name of the record.
      dtype: dtype it was computed in.
      against: "forward", "reverse", "jit", "vmap", "grad" (ways of autodiff), "numpy" or "differences".
      quantity: what was compared: "z", "dz/dy", or "dz/d" and the name of a parameter.
      points: number of (y, parameters) compared.
      error: the largest difference, in units of the dtype's eps times max(1, |closed form|); inf where either side
        is not finite or not of the dtype of y.
      at: the y of the largest difference.
      tolerance: the error that is still taken for rounding.
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
    """How exactly a record's value is computed: the row of a table.

    Attributes:
      activation: name of the record.
      dtype: dtype it was computed in.
      points: number of y it was computed at.
      error: largest |z - z64| in units in the last place of z64, where z64 is the record's value in 64 bits.
      at: the y of the largest error.
      jax_nn_error: the same for the `jax.nn` function with these values; None where there is none.
    """

    activation: str
    dtype: str
    points: int
    error: float
    at: float
    jax_nn_error: float | None

    @property
    def passed(self) -> bool:
        """Whether it is no worse than `jax.nn`."""
        return math.isfinite(self.error) and (self.jax_nn_error is None or self.error <= self.jax_nn_error)


def check_against_autodiff(record: Activation, dtype: DTypeLike = "float32") -> tuple[Check, ...]:
    """The record's closed forms of dz/dy and every partial, compared with autodiff in five ways.

    On a grid with kinks, both zeros, the bends, saturation and +-1e4, at the start values of the parameters and at
    values around them. float64 works whether or not 64-bit numbers are switched on.

    Raises:
      ValueError: if the dtype is none of `DTYPES`.

    Examples:
      >>> from paramact_jax.activations import ppns
      >>> checks = check_against_autodiff(ppns, "float32")
      >>> sorted({check.quantity for check in checks})
      ['dz/da', 'dz/db', 'dz/dy']
      >>> all(check.passed for check in checks)
      True
    """
    raise NotImplementedError


def check_against_float64(record: Activation) -> tuple[Check, ...]:
    """The record's value compared with NumPy and its closed forms with central differences, in 64 bits.

    Differences are taken away from the kinks, where the slope exists. A user's record, which NumPy knows nothing of,
    is not compared in value.

    Examples:
      >>> from paramact_jax.activations import ppns
      >>> [(check.against, check.quantity, check.passed) for check in check_against_float64(ppns)]
      [('numpy', 'z', True), ('differences', 'dz/dy', True), ('differences', 'dz/da', True), ('differences', 'dz/db', True)]
    """
    raise NotImplementedError


def ulp_error(record: Activation, dtype: DTypeLike = "float32") -> Accuracy:
    """The record's largest error in units in the last place, for |y| <= 1e4 at the start values of the parameters.

    float16 and bfloat16 are measured at every number there is, float32 on a sample. Results below the smallest normal
    number count as 0, since XLA flushes them. Both functions are jitted, as they are in use.

    Raises:
      ValueError: if the dtype is not float32, bfloat16 or float16: float64 is what they are measured against.

    Examples:
      >>> from paramact_jax.activations import relu
      >>> ulp_error(relu, "float16").error
      0.0
    """
    raise NotImplementedError
